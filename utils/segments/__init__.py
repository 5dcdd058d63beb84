"""Segments of videos as arrays: how they follow from scores over time, overlap, and repeat each other."""
