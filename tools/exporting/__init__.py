"""Exports models to ONNX and .pt2, and tabulates their cost."""
