"""Says what a run would do: every value in force, effective batch, learning rates, size and cost of the network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from utils.config.file import ConfigFile
from utils.config.schema import Common
from utils.processes.launch import expected_world_size
from utils.run.about import rows_in_force
from utils.run.flops import multiply_adds, num_parameters
from utils.training.schedule import schedule
from utils.training.trainer import save_every


def explain(
    config: ConfigFile,
    method: nn.Module,
    protocols: Mapping[str, Any],
    in_force: Mapping[str, Any],
    lists: Mapping[str, tuple[str | None, int | None]],
    warnings: Sequence[str],
) -> str:
    """Returns what --dry-run prints: every key with its value and where it was set, warnings, and a summary of the run.

    method: as it would train, on the meta device.
    protocols: of the lists "train" and "val".
    in_force: by dotted path, the values of keys that the config leaves open, those of the method's own arguments
        included.
    lists: for "train" and "val", what is missing there, or None, and how many videos the list has, or None.
    warnings: about the method.
    """
    common, world_size, num_train = config.common, expected_world_size(), lists["train"][1]
    effective = common.effective_batch(world_size)
    steps_per_epoch = (num_train or effective) / effective
    rates = schedule(common.lr_scheduler, steps_per_epoch, scale=common.lr_scale(world_size))
    table = _table(config, dict(in_force) | {"common.ckpt_freq": save_every(common, steps_per_epoch)})
    warnings = [*warnings, *(lacking for lacking, _ in lists.values() if lacking)]
    run = summary(common, rates, num_train, world_size, network_cost(method, **protocols))
    return "\n".join([table, "", *(f"warning: {text}" for text in warnings), run])


def _table(config: ConfigFile, in_force: Mapping[str, Any]) -> str:
    texts = [(key, str(value), origin) for key, value, origin in rows_in_force(config, in_force)]
    widths = [max(len(row[column]) for row in texts) for column in range(2)]
    widths[1] = min(widths[1], 60)
    return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in texts)


def learning_rate_trace(rates: np.ndarray) -> str:
    """Returns the rate at characteristic steps as `step:rate`, with six decimals."""
    total = len(rates)
    steps = sorted({0, *(total * part // 10 for part in range(1, 10)), total - 1, int(rates.argmax())})
    return " ".join(f"{step}:{rates[step]:.6f}" for step in steps)


def network_cost(method: Any, train: Any, val: Any) -> dict[str, Any]:
    """Returns size and cost of a network: parameters, and GMACs of a clip (frames, height, width) of either list.

    method: a methods.base.Method, on any device.
    train, val: protocols of the lists, each a datasets.protocol.ClipProtocol.
    """
    on_meta = copy.deepcopy(method).to("meta")
    clips = {"gmacs_clip": train, "gmacs_test_clip": val}
    shapes = {key: (protocol.clip.num_frames, *protocol.transform.size) for key, protocol in clips.items()}
    counts = {shape: multiply_adds(on_meta, (1, method.clip.in_channels, *shape)) / 1e9 for shape in {*shapes.values()}}
    return {
        "parameters": num_parameters(method),
        "gmacs": counts[shapes["gmacs_clip"]],
        "gmacs_test": counts[shapes["gmacs_test_clip"]],
        **{key: list(shape) for key, shape in shapes.items()},
        "views": val.num_views,
    }


def summary(common: Common, rates: np.ndarray, num_train: int | None, world_size: int, cost: Mapping[str, Any]) -> str:
    """Returns a few lines about a run: effective batch, schedule, size and cost of the network.

    num_train: videos of the training list; None if the list is missing.
    cost: what `network_cost` returns.
    """
    effective = common.effective_batch(world_size)
    clip, tested = (" x ".join(map(str, cost[key])) for key in ("gmacs_clip", "gmacs_test_clip"))
    network = [
        f"parameters: {cost['parameters']:,}",
        f"GMACs per view: {cost['gmacs']:.3f} at {clip} (frames x height x width)",
        f"GMACs per video at test: {cost['views'] * cost['gmacs_test']:.3f} over {cost['views']} view(s) at {tested}",
    ]
    if common.solves:
        of = "the training list" if num_train is None else f"{num_train} videos"
        return "\n".join([f"steps: 1, which sees all of {of} and finds the best head", *network])
    accumulated = f" x {common.accumulate} accumulated" if common.accumulate > 1 else ""
    epochs = f", {len(rates) * effective / num_train:.1f} epochs of {num_train} videos" if num_train else ""
    if num_train is None and common.lr_scheduler.epochs is not None:
        epochs = " as if an epoch were one step, because the training list is missing"
    scale = common.lr_scale(world_size)
    scaling = [
        f"learning rates x {scale:g}: {effective} videos per step, not the {common.reference_batch} they are for"
    ]
    scaling = scaling if scale != 1 else []
    return "\n".join(
        [
            f"effective batch: {common.batch_size} per process x {world_size} process(es){accumulated} = "
            f"{effective} videos per step",
            *scaling,
            f"steps: {len(rates)}{epochs}",
            f"learning rate at step: {learning_rate_trace(rates)}",
            f"validations: {_validations(common, len(rates), num_train / effective if num_train else 1.0)}",
            *network,
        ]
    )


def _validations(common: Common, steps: int, steps_per_epoch: float) -> str:
    """Returns in words when a run of that many steps is validated."""
    if common.val_source is None:
        return "never, because there is no val_source"
    every = common.validate_every(steps_per_epoch)
    return f"every {every} steps" if every < steps else f"once, after the last step; every {every} are set"
