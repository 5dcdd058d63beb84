"""Turns other projects' configs and checkpoints into experiment folders."""
