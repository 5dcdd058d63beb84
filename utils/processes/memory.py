"""Tells the allocator what to do with freed memory."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGE = 1 << 20  # bytes from which a piece of memory has pages of its own


def keep_freed_memory() -> bool:
    """Lets the allocator reuse freed memory instead of returning it to the system; returns False where it cannot.

    A batch on the CPU is tens of megabytes, allocated and freed at every step. By default glibc returns such a piece to
    the system, and getting it again costs one page fault per 4 KB: more than half of the time that normalising a batch
    takes. The process stays as large as it has been, which a training process soon is again anyway.
    """
    return _mallopt((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> bool:
    """Lets the allocator return every large piece to the system when it is freed; returns False where it cannot.

    By default glibc soon takes pieces of up to 32 MB from one heap. What stays, such as the input of a block that is
    computed again, then lies between what is freed, and the heap grows by the whole block: by a third of the memory of
    a training step of VideoMAE-B. Each piece costs page faults instead.
    """
    return _mallopt((_M_MMAP_THRESHOLD, _LARGE))


def _mallopt(*settings: tuple[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError on Windows
        return False
    return all(mallopt(option, value) for option, value in settings)
