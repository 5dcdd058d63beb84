"""Loads a trained network and scores videos with it, from Python."""
