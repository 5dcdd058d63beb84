"""Computes the learning rates of a run as an array, one per iteration: easy to plot and exact after a restart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from utils.config.sections import MOST_STEPS, LRScheduler
from utils.errors import ConfigError


def schedule(config: LRScheduler, steps_per_epoch: float, *, scale: float = 1.0) -> np.ndarray:
    """Returns the learning rate of every iteration, float64 (total_steps,).

    steps_per_epoch: iterations of one pass over the training list; converts keys in epochs to iterations.
    scale: factor of all rates; scales them linearly with the batch (Goyal et al. 2017, arXiv 1706.02677, sec. 2.1).
    Raises: ConfigError for a warm-up that is longer than the run, which would never reach its highest rate.
    """
    steps = total_steps(config, steps_per_epoch)
    warmup = config.warmup_steps or (config.warmup_epochs or 0) * steps_per_epoch
    if round(warmup) > steps:
        key = "warmup_steps" if config.warmup_steps else "warmup_epochs"
        raise ConfigError(
            f"common.lr_scheduler.{key}: the warm-up takes {round(warmup)} steps and the run only {steps}, so it would "
            f"never reach warmup_lr; train longer, or warm up less (for a short try: common.lr_scheduler.{key}=0)"
        )
    peak = config.warmup_lr if warmup and config.warmup_lr is not None else config.base_lr
    every_step = np.arange(steps, dtype=np.float64)
    every_epoch = epoch_starts(steps, steps_per_epoch)
    if config.type == "COSINE":
        at = every_epoch if "schedule" in config.per_epoch else every_step
        after = cosine(peak, config.min_lr, at, start=warmup if config.cosine_from == "warmup" else 0, end=steps)
    else:
        milestones = [round(epoch * steps_per_epoch) for epoch in config.lr_epochs or []] or config.lr_steps
        after = step(peak, steps, milestones, config.lr_mults or [0.1] * len(milestones))
    at = every_epoch if "warmup" in config.per_epoch else every_step
    if config.warmup == "constant":
        return scale * np.where(at < round(warmup), config.base_lr, after)
    factor = config.base_lr / peak if config.warmup == "factor" else None
    return scale * warm_up(after, at, config.base_lr, peak, warmup, factor=factor)


def epoch_starts(steps: int, steps_per_epoch: float) -> np.ndarray:
    """Returns the position at which the epoch of each step begins, in steps, float64 (steps,).

    A rate that is computed at these positions changes only once per epoch.
    """
    epochs = np.arange(math.ceil(steps / steps_per_epoch) + 1)
    epoch = np.searchsorted(np.round(epochs * steps_per_epoch), np.arange(steps), side="right") - 1
    return epoch * steps_per_epoch


def total_steps(config: LRScheduler, steps_per_epoch: float) -> int:
    """Returns the number of iterations of the whole run. Raises: ConfigError for too many."""
    if config.max_iter is not None:
        return config.max_iter
    assert config.epochs is not None  # the schema demands one of the two
    steps = max(1, math.ceil(config.epochs * steps_per_epoch))
    if steps > MOST_STEPS:
        raise ConfigError(
            f"common.lr_scheduler.epochs: {config.epochs:g} epochs are {steps} steps; {MOST_STEPS} at most"
        )
    return steps


def warm_up(
    rates: np.ndarray, at: np.ndarray, start_lr: float, peak: float, length: float, *, factor: float | None = None
) -> np.ndarray:
    """Returns `rates` (steps,) with those before `length` replaced by a straight line that begins at `start_lr`.

    The line ends at `rates[length]`, so the schedule is continuous there (Goyal et al. 2017, arXiv 1706.02677, sec.
    2.2), or at `peak` if that is where the run ends.

    at: float64 (steps,), the position of every step on the line.
    factor: if given, the rates are instead multiplied by a line from `factor` to 1 (mmengine's LinearLR).
    """
    before = min(round(length), len(rates))
    goal = rates[before] if before < len(rates) else peak
    way = at[:before] / max(length, 1)
    rates = rates.copy()
    if factor is None:
        rates[:before] = start_lr + (goal - start_lr) * way
    else:
        rates[:before] *= factor + (1.0 - factor) * way
    return rates


def cosine(peak: float, floor: float, at: np.ndarray, *, start: float, end: float) -> np.ndarray:
    """Returns half a cosine from `peak` at `start` to `floor` at `end`, at the positions `at`, float64 (steps,).

    All positions are in steps. The source is Loshchilov and Hutter 2017, arXiv 1608.03983.
    """
    progress = np.clip((at - start) / max(end - start, 1), 0.0, 1.0)
    return floor + (peak - floor) * (1.0 + np.cos(np.pi * progress)) / 2.0


def step(peak: float, steps: int, milestones: Sequence[int], factors: Sequence[float]) -> np.ndarray:
    """Returns `peak` times every factor whose milestone (an iteration) has been reached, float64 (steps,)."""
    changes = np.cumprod([1.0, *factors])
    return peak * changes[np.searchsorted(np.asarray(milestones), np.arange(steps), side="right")]
