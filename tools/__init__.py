"""Command-line tools, one job each; each runs as `python tools/x.py` and as `python -m tools.x`."""
