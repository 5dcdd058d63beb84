"""Lets a test read from far away as a process of its own would."""

from __future__ import annotations

from datasets.places import files, remote
from datasets.stores import disk
from datasets.videos import tar_times


def forget() -> None:
    """Lets this process ask servers anew."""
    remote._known.clear()
    remote._said = -remote._QUIET
    files._source.cache_clear()
    disk._sums_from_afar.cache_clear()
    tar_times._open.cache_clear()
