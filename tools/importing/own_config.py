"""Finds the config for a checkpoint when nobody names one: its own, its recipe's, or one made from what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from networks.checkpoints.file import RawCheckpoint
from networks.checkpoints.layouts.ours import LAYOUT
from tools.importing.convert_checkpoint import config_for
from utils.config.file import load_config
from utils.errors import CheckpointError, UserError
from utils.files import ROOT
from utils.published.registry import published_as


def config_of(file: RawCheckpoint) -> tuple[Mapping[str, Any], list[str]]:
    """Returns the config that decides how a file's network is built and tested, and notes about where it comes from.

    Raises: CheckpointError for a file that does not show its network.
    """
    if "config" in file.others and file.layout == LAYOUT.name:
        return file.others["config"], []
    published = published_as(file.path)
    if published is not None and published.relation == "published":
        recipe = load_config(ROOT / "exps" / published.recipe / "config.yaml")
        return recipe.raw, [f"network and test protocol are those of exps/{published.recipe}"]
    try:
        raw = config_for(file)
        if not raw["common"]["model"]["backbone"]:
            raise UserError(f"{file.path}: does not say which network it is")
    except UserError as error:
        raise CheckpointError(
            f"{error}; name the config of its network: --config exps/<dataset>/<experiment>/config.yaml, or config=... "
            "in Python"
        ) from None
    return raw, [f"network as the file shows it, test protocol of {file.layout}", *file.description.notes]
