"""Serves a trained network over HTTP for tools/predict.py --serve."""
