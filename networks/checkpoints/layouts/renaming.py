"""Renames the keys of a checkpoint by rules. The rules of a project are in its layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

Value = TypeVar("Value")
Rule = tuple[str, str]  # a pattern for the whole key, and its replacement


def rename(state: Mapping[str, Value], rules: Sequence[Rule]) -> dict[str, Value]:
    """Renames each key by the first rule that matches all of it; a key that no rule matches keeps its name."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(key):
                key = match.expand(replacement)
                break
        renamed[key] = value
    return renamed
