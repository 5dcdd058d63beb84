"""Trains and evaluates a model on batches; knows no dataset and no network."""
