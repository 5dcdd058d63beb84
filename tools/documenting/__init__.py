"""Reads and runs the code blocks of the documentation for tools/check_docs.py."""
