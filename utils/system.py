"""Asks the operating system for what Linux, macOS and Windows provide in different ways."""

from __future__ import annotations

import os


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
