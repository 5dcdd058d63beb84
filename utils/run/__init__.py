"""Writes and shows what a run produces: checkpoints, log lines, pictures, progress; stops it and measures it."""
