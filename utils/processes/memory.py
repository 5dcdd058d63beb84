"""Tells the allocator what to do with freed memory."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Lets the allocator reuse freed memory instead of returning it to the system; returns False where it cannot.

    A batch on the CPU is tens of megabytes, allocated and freed at every step. By default glibc returns such a piece to
    the system, and getting it again costs one page fault per 4 KB: more than half of the time that normalising a batch
    takes. The process stays as large as it has been, which a training process soon is again anyway.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError on Windows
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
