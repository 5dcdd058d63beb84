"""Timings against named peers and limits, each a program of its own. No test asserts a time."""
