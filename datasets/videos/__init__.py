"""Reads encoded videos: what they contain, when each frame is shown, and the frames themselves."""
