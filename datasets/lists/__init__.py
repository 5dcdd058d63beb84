"""Reads the lists that name a data set's videos: lines, tables, labels, class names."""
