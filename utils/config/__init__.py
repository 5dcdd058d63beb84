"""Reads, checks and explains a config, and builds what it names."""

ROOT_KEY = "common"  # the key at the top of every config.yaml, with everything below it
