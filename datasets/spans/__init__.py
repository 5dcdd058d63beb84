"""Reads and writes which action is where in a video, in the formats of the tools that people label with."""
