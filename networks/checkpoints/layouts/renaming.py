"""Renames the keys of a checkpoint by rules, and joins tensors. The rules of a project are in its layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from utils.errors import CheckpointError

Value = TypeVar("Value")
Rule = tuple[str, str]  # a pattern for the whole key, and its replacement


def rename(state: Mapping[str, Value], rules: Sequence[Rule]) -> dict[str, Value]:
    """Renames each key by the first rule that matches all of it; a key that no rule matches keeps its name.

    Raises: CheckpointError for two keys that become one, of which only the last would count.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, Value] = {}
    for name, value in state.items():
        key = name
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(key):
                key = match.expand(replacement)
                break
        if key in renamed:
            raise CheckpointError(f"{name}: another entry of the file is the same part of the network")
        renamed[key] = value
    return renamed


def join(state: Mapping[str, Tensor], keys: Sequence[str], dim: int = 0) -> Tensor:
    """Joins tensors that are one in our network along an axis.

    Raises: CheckpointError for a part that looks changed, which nobody could see any more in the whole: numbers of
    another type than the others, or a matrix of zeros.
    """
    parts = [state[key] for key in keys]
    for key, part in zip(keys, parts, strict=True):
        if part.dtype != parts[0].dtype:
            raise CheckpointError(f"{key}: is {_type(part)}, but {keys[0]}, which belongs to it, is {_type(parts[0])}")
        if part.dim() > 1 and not part.is_meta and not part.any():
            raise CheckpointError(f"{key}: is all zero, as in a file that has lost it")
    return torch.cat(parts, dim)


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
