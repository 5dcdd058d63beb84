"""Reads checkpoints of this project: the names are right already, and the config in the file says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Base, Description, Layout, State

PARTS = {"backbone", "network", "pooler", "relations", "neck", "head", "dropout", "segmenter"}  # parts of our methods

ALIASES = {"classify": "clip3d"}  # the original project's names of methods
UNKNOWN = "unknown"  # the method of a file without a config


def _recognises(state: State) -> bool:
    """Accepts a file with some foreign entries as well, so that loading names them."""
    found = {key.partition(".")[0] for key in state}
    return found <= PARTS or {"backbone", "head"} <= found or "network" in found


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    config = others.get("config")
    model = config.get("common", {}).get("model", {}) if isinstance(config, Mapping) else {}
    method = str(model.get("type", UNKNOWN))
    description = Description(ALIASES.get(method, method), backbone=str(model.get("backbone", "")))
    description.arguments = {key: value for key, value in model.items() if key not in ("type", "pretrained")}
    settings = others.get("settings")
    if isinstance(settings, Mapping):  # with the defaults of their time; earlier files have only the config
        description.arguments |= settings
    description.base = _base(others)
    if model:
        description.arguments.setdefault("modality", "rgb")  # absent from configs of the time when RGB was the only one
    else:
        description.notes.append(
            "no config in the file: the method, its clip and its shift come from the config of the run"
        )
    return dict(state), description


def _base(others: Mapping[str, Any]) -> Base | None:
    """Returns what a checkpoint that holds only what was trained stands on."""
    stored = others.get("base")
    if not isinstance(stored, Mapping):
        return None
    network, file, digits = (str(stored.get(name, "")) for name in ("network", "file", "hash"))
    return Base(network, file, digits, keys=tuple(map(str, stored.get("keys", ()))))


LAYOUT = Layout("this project", _recognises, _convert)
