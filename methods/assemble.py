"""From the config's `common.model` to a method: the one place where its names become networks."""

from __future__ import annotations

from typing import Any

from methods import METHODS
from methods.base import Method
from utils.build import build
from utils.config import Model

# keys of model.kwargs that say how batch norm is synchronised; they are not arguments of a backbone
SYNC_BN = ("bn_group_size", "bn_sync_stats", "bn_var_mode")


def build_method(model: Model) -> Method:
    """The method with its backbone and classifier, weights random.

    Raises: ConfigError with the dotted path for an unknown name, argument, type or combination.
    """
    arguments: dict[str, Any] = {
        "backbone": model.backbone,
        "num_class": model.num_class,
        "dropout": model.dropout,
        "kwargs": {key: value for key, value in model.kwargs.items() if key not in SYNC_BN},
        **(model.model_extra or {}),
    }
    return build(METHODS, model.type, arguments, where="common.model")


def sync_bn_arguments(model: Model) -> dict[str, Any]:
    """What model.kwargs says of batch norm: group_size, sync_stats, var_mode, each only if given."""
    return {key.removeprefix("bn_"): model.kwargs[key] for key in SYNC_BN if key in model.kwargs}
