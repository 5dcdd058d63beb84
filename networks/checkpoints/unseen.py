"""Compares what decides the scores of a network over clips, and leaves no trace in names and shapes of its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from networks.checkpoints.layouts.base import Description
from networks.clip.table import CLIP_BUILDERS

HEADS = ("num_heads", "pool_heads")


@runtime_checkable
class HasUnseen(Protocol):
    """A network whose weights do not show all that it computes."""

    def unseen(self) -> Mapping[str, Any]:
        """Returns what they do not show, by name."""
        ...


def unseen_differences(network: object, description: Description) -> list[str]:
    """Says in what a network differs from the published one that a file is of; [] where nobody knows it.

    Heads are known for published widths alone: of another network, the description only assumes its `kwargs`.
    """
    if not isinstance(network, HasUnseen) or description.backbone not in CLIP_BUILDERS:
        return []
    theirs: Mapping[str, Any] = {}
    with contextlib.suppress(ValueError), torch.device("meta"):  # arguments that do not fit are an error elsewhere
        published = CLIP_BUILDERS[description.backbone](num_class=1, **description.arguments.get("kwargs", {}))
        theirs = published.unseen() if isinstance(published, HasUnseen) else {}
    ours, found = network.unseen(), []
    for name in ours.keys() & theirs.keys():
        if ours[name] == theirs[name] or (name in HEADS and "kwargs" in description.assumed):
            continue
        if name == "pool_heads" and "network.pooler." in description.fresh:
            continue  # the file holds no pooler: it begins anew, with the heads of the config
        what = f"kwargs.{name}" if name in HEADS else f"{name} ({description.backbone})"
        found.append(f"{what} is {theirs[name]} in the file and {ours[name]} here")
    return sorted(found)
