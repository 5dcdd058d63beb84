"""Reads, checks and explains a config, and builds what it names."""

ROOT_KEY = "common"  # everything in a config stands below it
