"""Scores of answers that say when something happens, and of labels over time."""
