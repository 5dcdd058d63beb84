"""Command-line tools, one job each. Each runs as `python tools/x.py` and as `python -m tools.x`.

A file here is a command line: it reads its arguments, then imports what does the work from a folder below and runs it,
so that --help and a wrong argument are answered before torch is imported. tests/test_start.py checks that.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path


def _check_neighbours() -> None:
    """Raises an ImportError that says what to do where another package has the name of one of ours.

    Hugging Face's `datasets` is such a package. Code that imports `tools.inference` from elsewhere would use it.
    """
    root = Path(__file__).resolve().parents[1]
    for name in ("datasets", "methods", "networks", "utils"):
        found = importlib.util.find_spec(name)
        place = Path(found.origin).resolve() if found and found.origin else None
        if place is not None and place.parents[1] != root:
            raise ImportError(
                f"`{name}` is {place}, and not the project's in {root}: work in that folder, or put it "
                f"first with PYTHONPATH={root}"
            )


_check_neighbours()
