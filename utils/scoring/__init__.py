"""Turns scores and labels into losses, accuracies and result files."""
