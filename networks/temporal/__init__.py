"""Puts modules over time into image networks: the temporal shift, pooling, non-local blocks."""
