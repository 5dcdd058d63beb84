"""Our own checkpoints: the names are right already, and the config in the file tells the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Facts, Layout, State

PARTS = {"backbone", "network", "head", "dropout"}  # what our methods are made of

UNKNOWN = "unknown"  # the method, in a file without a config


def _recognises(state: State) -> bool:
    """A foreign entry among them leaves the file ours, so that loading names the entry."""
    found = {key.partition(".")[0] for key in state}
    return found <= PARTS or {"backbone", "head"} <= found or "network" in found


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Facts]:
    config = others.get("config")
    model = config.get("common", {}).get("model", {}) if isinstance(config, Mapping) else {}
    facts = Facts(method=str(model.get("type", UNKNOWN)), backbone=str(model.get("backbone", "")))
    facts.arguments = {key: value for key, value in model.items() if key not in ("type", "backbone", "pretrained")}
    if model:
        facts.arguments.setdefault("modality", "rgb")  # written before there were others
    else:
        facts.notes.append("no config in the file: the method, its clip and its shift come from the config given")
    return dict(state), facts


LAYOUT = Layout("this project", _recognises, _convert)
