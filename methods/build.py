"""From the config's `common.model` to a method: the one place where its names become networks."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from methods import METHODS
from methods.base import Method
from networks.checkpoints.load import PRETRAINED, find_pretrained
from networks.freeze import freeze_bn, freeze_parts
from networks.group_sync_bn import convert_group_sync_bn, resolve_group_size
from utils.config.build import build
from utils.config.schema import Common, Model
from utils.processes.launch import expected_world_size
from utils.run.context import Run
from utils.training.precision import Precision

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


def method_on_meta(common: Common) -> Method:
    """Builds the method as it trains, without memory, and so makes every check of `common.model`."""
    with torch.device("meta"):
        method, _ = prepared_method(common)
    _group_size(common.model)
    return method


def _group_size(model: Model) -> tuple[int, str]:
    """Returns the size of the groups that share batch norm statistics, and a warning or ""."""
    return resolve_group_size(sync_bn_arguments(model).get("group_size", 1), expected_world_size())


def prepare_method(run: Run) -> tuple[Method, Precision]:
    """Builds the method of a run, with the same random weights in every process, and decides its arithmetic."""
    common, folder = run.common, run.folder
    torch.manual_seed(common.seed)
    method, warnings = prepared_method(common)
    for warning in warnings:
        folder.warn(warning)
    precision = Precision(common.amp, run.rank.device, run.args.static_loss_scale, model=method)
    if common.amp == "bf16" and precision.unsafe_in_bf16:
        folder.warn("bf16 on a CPU can give wrong gradients of convolutions over time: amp: auto avoids it")
    if common.amp != "off":
        folder.log(f"mixed precision: {precision.name}")
    if run.args.static_loss_scale and precision.name != "fp16":
        folder.warn("--static-loss-scale does nothing without fp16")
    return method, precision


def method_defaults(model: Model) -> dict[str, Any]:
    """The method's own arguments that the config may set below `common.model`, by dotted path, with their defaults."""
    parameters = inspect.signature(METHODS[model.type]).parameters.values()
    return {
        f"common.model.{parameter.name}": parameter.default
        for parameter in parameters
        if parameter.name not in type(model).model_fields and parameter.default is not parameter.empty
    }


def method_warnings(method: Method, model: Model) -> list[str]:
    """Returns for a dry run what a run would warn about: group size of batch norm, weights that are not there."""
    return [text for text in (_group_size(model)[1], _missing_pretrained(method, model)) if text]


def _missing_pretrained(method: Method, model: Model) -> str | None:
    """Returns which weights `pretrained` asks for that are not there; None when nothing is missing."""
    if isinstance(model.pretrained, str):
        return None if Path(model.pretrained).exists() else f"common.model.pretrained: {model.pretrained} is not there"
    if model.pretrained and find_pretrained(method.arch) is None:
        return f"no weights for {method.arch} in {PRETRAINED}/: training would start from random weights"
    return None
