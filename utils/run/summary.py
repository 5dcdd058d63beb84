"""What a run would do, in words: every value in force, effective batch, learning rate, size of the network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from utils.clip_spec import ClipSpec
from utils.config.file import ConfigFile
from utils.config.schema import Common
from utils.run.flops import multiply_adds, num_parameters
from utils.transforms.presets import find_preset


def explain(config: ConfigFile, defaults: Mapping[str, Any], in_force: Mapping[str, Any]) -> str:
    """A table of every key with its value and where it came from.

    defaults: further arguments of the method that the file may set below `common.model`, with their defaults.
    in_force: by dotted path, what stands for a key that is left open.
    """
    rows = [
        (key, in_force.get(key, value) if value is None or value == {} else value, origin)
        for key, value, origin in config.explain()
    ]
    named = {key for key, _, _ in rows}
    place = next(i for i, (key, _, _) in enumerate(rows) if not key.startswith("common.model"))
    rows[place:place] = [(key, value, "default") for key, value in defaults.items() if key not in named]
    texts = [(key, _plain(value), origin) for key, value, origin in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(2)]
    widths[1] = min(widths[1], 60)
    return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in texts)


def learning_rate_trace(rates: np.ndarray) -> str:
    """The rate at telling steps: `step:rate`, six decimals."""
    total = len(rates)
    steps = sorted({0, *(total * part // 10 for part in range(1, 10)), total - 1, int(rates.argmax())})
    return " ".join(f"{step}:{rates[step]:.6f}" for step in steps)


def summary(
    common: Common,
    method: nn.Module,
    clip: ClipSpec,
    *,
    rates: np.ndarray,
    num_train: int | None,
    world_size: int,
) -> str:
    """The run in a few lines: effective batch, schedule, size and cost of the network.

    method: on any device; clip: what it wants to see. num_train: None when the training list is missing.
    """
    effective = common.effective_batch(world_size)
    accumulated = f" x {common.accumulate} accumulated" if common.accumulate > 1 else ""
    epochs = f", {len(rates) * effective / num_train:.1f} epochs of {num_train} videos" if num_train else ""
    if num_train is None and common.lr_scheduler.epochs is not None:
        epochs = " as if an epoch were one step, because the training list is missing"
    scale = common.lr_scale(world_size)
    scaling = [
        f"learning rates x {scale:g}: {effective} videos per step, not the {common.reference_batch} they are for"
    ]
    scaling = scaling if scale != 1 else []
    frames = clip.num_frames
    size = common.augmentation.input_size or find_preset(common.augmentation.preset).input_size
    cost = multiply_adds(copy.deepcopy(method).to("meta"), (1, clip.in_channels, frames, size, size))
    views = (common.test.num_clips or 1) * common.crops
    return "\n".join(
        [
            f"effective batch: {common.batch_size} per process x {world_size} process(es){accumulated} = "
            f"{effective} videos per step",
            *scaling,
            f"steps: {len(rates)}{epochs}",
            f"learning rate at step: {learning_rate_trace(rates)}",
            f"parameters: {num_parameters(method):,}",
            f"GMACs per view: {cost / 1e9:.3f} at {frames} x {size} x {size} (frames x height x width)",
            f"GMACs per video at test: {views * cost / 1e9:.3f} over {views} view(s)",
        ]
    )


def _plain(value: Any) -> str:
    return str(dict(value)) if isinstance(value, Mapping) else str(value)
