"""Reads weights from files of ours and of other projects, all of them or none."""
