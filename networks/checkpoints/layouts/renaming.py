"""Renaming of checkpoint keys by rules. What a rule means is in the layout that owns it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

Value = TypeVar("Value")
Rule = tuple[str, str]  # a pattern for the whole key, and what replaces it


def rename(state: Mapping[str, Value], rules: Sequence[Rule]) -> dict[str, Value]:
    """Each key by the first rule that matches all of it; a key that no rule knows keeps its name, for a report."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(key):
                key = match.expand(replacement)
                break
        renamed[key] = value
    return renamed
