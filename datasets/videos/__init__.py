"""Reads encoded videos: what they hold, when each frame is shown, and the frames themselves."""
