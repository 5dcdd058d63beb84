"""Finds videos and their labels, and writes lists, for tools/make_lists.py and tools/prepare.py."""
