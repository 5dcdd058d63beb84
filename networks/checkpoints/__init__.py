"""Loads checkpoints of this and of other projects: all weights of a file, or an error and none of them."""
