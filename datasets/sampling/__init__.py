"""Chooses which frames of a video become a clip: our rules, and those of published projects."""
