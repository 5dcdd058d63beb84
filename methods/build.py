"""From the config's `common.model` to a method: the one place where its names become networks."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from methods import METHODS
from methods.base import Method
from networks.checkpoints.load import PRETRAINED, find_pretrained
from networks.freeze import freeze_bn, freeze_parts
from networks.group_sync_bn import convert_group_sync_bn
from utils.config.build import build
from utils.config.schema import Common, Model

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
    if model.modality != "rgb" or model.stack is not None:  # methods that see RGB alone need not know of others
        arguments |= {"modality": model.modality, "stack": model.stack}
    return build(METHODS, model.type, arguments, where="common.model")


def sync_bn_arguments(model: Model) -> dict[str, Any]:
    """What model.kwargs says of batch norm: group_size, sync_stats, var_mode, each only if given."""
    return {key.removeprefix("bn_"): model.kwargs[key] for key in SYNC_BN if key in model.kwargs}


def prepared_method(common: Common) -> tuple[Method, list[str]]:
    """The method as it trains, batch norms synchronised and parts frozen, its weights random; and warnings."""
    method = build_method(common.model)
    warnings = convert_group_sync_bn(method, **sync_bn_arguments(common.model))
    if common.frozen_bn or common.partial_bn:
        freeze_bn(method, keep_first=not common.frozen_bn)
    freeze_parts(method, common.freeze)
    return method, warnings


def method_defaults(model: Model) -> dict[str, Any]:
    """The method's own arguments that the config may set below `common.model`, by dotted path, with their defaults."""
    parameters = inspect.signature(METHODS[model.type]).parameters.values()
    return {
        f"common.model.{parameter.name}": parameter.default
        for parameter in parameters
        if parameter.name not in type(model).model_fields and parameter.default is not parameter.empty
    }


def missing_pretrained(method: Method, model: Model) -> str | None:
    """For a dry run: which weights `pretrained` asks for that are not there; None when nothing is missing."""
    if isinstance(model.pretrained, str):
        return None if Path(model.pretrained).exists() else f"common.model.pretrained: {model.pretrained} is not there"
    if model.pretrained and find_pretrained(method.arch) is None:
        return f"no weights for {method.arch} in {PRETRAINED}/: training would start from random weights"
    return None
