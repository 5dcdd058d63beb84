"""Command-line tools, one job each. Each runs as `python tools/x.py` and as `python -m tools.x`.

A file here is a command line: it reads its arguments, then imports what does the work from a folder below and runs it,
so that --help and a wrong argument are answered before torch is imported. tests/test_start.py checks that.
"""
