"""Reads, checks and explains a config, and builds what it names."""
