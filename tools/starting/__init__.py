"""Holds the steps of tools/start.py: looks at videos, chooses how to go on, trains probes and writes experiments."""
