"""Keeps JSON files from naming a thing twice in one object, of which Python's reader would take the last in silence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from utils.errors import ListError


def each_once(path: str | os.PathLike[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Makes the object_pairs_hook of json.loads for a file, which raises ListError for a name that comes twice."""

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ListError(f"{path}: {twice!r} is there twice in one object; join the two, or remove one")
        return found

    return make
