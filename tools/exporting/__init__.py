"""Exports models to ONNX and .pt2, and tabulates their cost."""

SUFFIXES = (".onnx", ".pt2")
TOLERANCE = 1e-4  # largest difference from PyTorch of a logit, relative to the largest logit if that is above 1
