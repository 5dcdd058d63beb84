"""Learning rates as an array, one value per iteration: plain, plottable, and exact after a restart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from utils.config.schema import LRScheduler


def schedule(config: LRScheduler, steps_per_epoch: float, *, scale: float = 1.0) -> np.ndarray:
    """The learning rate of every iteration, float64 (total_steps,).

    steps_per_epoch: iterations in one pass over the training list; it turns the keys given in epochs into iterations.
    scale: factor of all rates; linear scaling with the batch (Goyal et al. 2017, arXiv 1706.02677, sec. 2.1).
    """
    steps = total_steps(config, steps_per_epoch)
    warmup = config.warmup_steps or (config.warmup_epochs or 0) * steps_per_epoch
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
    """Where the epoch of each step begins, in steps: what holds a rate through an epoch. float64 (steps,)."""
    epochs = np.arange(math.ceil(steps / steps_per_epoch) + 1)
    epoch = np.searchsorted(np.round(epochs * steps_per_epoch), np.arange(steps), side="right") - 1
    return epoch * steps_per_epoch


def total_steps(config: LRScheduler, steps_per_epoch: float) -> int:
    """Iterations of the whole run."""
    if config.max_iter is not None:
        return config.max_iter
    assert config.epochs is not None  # the schema wants one of the two
    return max(1, math.ceil(config.epochs * steps_per_epoch))


def warm_up(
    rates: np.ndarray, at: np.ndarray, start_lr: float, peak: float, length: float, *, factor: float | None = None
) -> np.ndarray:
    """`rates` (steps,), those before `length` replaced by a line from `start_lr` to the rate that stands at `length`.

    The line ends at `rates[length]`, so a schedule is continuous there (Goyal et al. 2017, arXiv 1706.02677, sec. 2.2);
    in a run that ends before, it is the beginning of the line to `peak`.
    at: the place on the line of every step, float64 (steps,).
    factor: where given, the rates are multiplied by a line from it to 1 instead (mmengine's LinearLR).
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
    """Half a cosine from `peak` at `start` to `floor` at `end`, at the places `at`, in steps; float64 (steps,).

    Loshchilov and Hutter 2017, arXiv 1608.03983.
    """
    progress = np.clip((at - start) / max(end - start, 1), 0.0, 1.0)
    return floor + (peak - floor) * (1.0 + np.cos(np.pi * progress)) / 2.0


def step(peak: float, steps: int, milestones: Sequence[int], factors: Sequence[float]) -> np.ndarray:
    """`peak`, multiplied by each factor from its milestone (an iteration) on; factors multiply up."""
    changes = np.cumprod([1.0, *factors])
    return peak * changes[np.searchsorted(np.asarray(milestones), np.arange(steps), side="right")]
