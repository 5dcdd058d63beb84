"""Finds the config by which each path of --fusion-list is scored, and checks it before anything is scored."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from methods.base import Method
from methods.build import here, not_here
from methods.weights import score_from
from networks.checkpoints.layouts import ours
from networks.checkpoints.load import load_checkpoint_file
from utils.config.file import ConfigFile
from utils.config.schema import Common
from utils.run import checkpoint
from utils.scoring.fusion import kept_evaluation


def as_member(config: ConfigFile, path: Path, args: argparse.Namespace) -> ConfigFile:
    """Returns the config by which one path of --fusion-list is scored.

    It is the one stored in a checkpoint of ours. The run's own holds for weights of other projects, which have none.
    """
    file = here(str(path))
    if not isinstance(file, Path) or kept_evaluation(file) is not None:
        return config
    loaded = load_checkpoint_file(file, trust_pickle=args.trust_pickle)
    if loaded.layout != ours.LAYOUT.name:
        return config
    return replace(config, common=checkpoint.config_here(loaded.path, config.common))


def about_member(
    path: Path,
    args: argparse.Namespace,
    common: Common,
    method: Method,
    warnings: list[str],
    protocols: Mapping[str, Any],
) -> list[str]:
    """Returns what is wrong with one path of --fusion-list, as `about_weights` does for other weights.

    common: that of `as_member`; its check gave the method on the meta device, the warnings and the protocols.
    """
    file = here(str(path))
    if not isinstance(file, Path):
        return [f"--fusion-list: {not_here(file)}"]
    if kept_evaluation(file) is not None:
        return []
    return warnings + score_from(method, file, args, common, None, protocols["val"].as_dict()).warnings
