"""Trains and evaluates a model on batches; imports no dataset and no network."""
