"""Holds what a run writes and shows: its folder, checkpoints, log lines, pictures, progress."""
