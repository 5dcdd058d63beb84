"""Turns encoded frames into the pixels that a network sees, on the CPU or on a GPU."""
