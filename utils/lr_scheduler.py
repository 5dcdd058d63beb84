"""Learning rates as an array, one value per iteration: plain, plottable, and exact after a restart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from utils.config import LRScheduler


def schedule(config: LRScheduler, steps_per_epoch: float) -> np.ndarray:
    """The learning rate of every iteration, float64 (total_steps,).

    steps_per_epoch: iterations in one pass over the training list; it turns the keys given in epochs into iterations.
    """
    steps = total_steps(config, steps_per_epoch)
    warmup = config.warmup_steps or round((config.warmup_epochs or 0) * steps_per_epoch)
    peak = config.warmup_lr if warmup and config.warmup_lr is not None else config.base_lr
    if config.type == "COSINE":
        after = cosine(peak, config.min_lr, steps, start=warmup if config.cosine_from == "warmup" else 0)
    else:
        milestones = [round(epoch * steps_per_epoch) for epoch in config.lr_epochs or []] or config.lr_steps
        after = step(peak, steps, milestones, config.lr_mults or [0.1] * len(milestones))
    return warm_up(after, config.base_lr, warmup)


def total_steps(config: LRScheduler, steps_per_epoch: float) -> int:
    """Iterations of the whole run."""
    if config.max_iter is not None:
        return config.max_iter
    assert config.epochs is not None  # the schema wants one of the two
    return max(1, math.ceil(config.epochs * steps_per_epoch))


def warm_up(rates: np.ndarray, start_lr: float, steps: int) -> np.ndarray:
    """`rates` with its first `steps` values replaced by a line from `start_lr` to the value that stands at `steps`.

    The line ends at `rates[steps]`, so a schedule is continuous there (Goyal et al. 2017, arXiv 1706.02677, sec. 2.2).
    """
    steps = min(steps, len(rates) - 1)
    rates = rates.copy()
    rates[:steps] = start_lr + (rates[steps] - start_lr) * np.arange(steps) / max(steps, 1)
    return rates


def cosine(peak: float, floor: float, steps: int, start: int = 0) -> np.ndarray:
    """Half a cosine from `peak` at `start` towards `floor` at `steps` (Loshchilov and Hutter 2017, arXiv 1608.03983)."""
    progress = np.clip((np.arange(steps) - start) / max(steps - start, 1), 0.0, 1.0)
    return floor + (peak - floor) * (1.0 + np.cos(np.pi * progress)) / 2.0


def step(peak: float, steps: int, milestones: Sequence[int], factors: Sequence[float]) -> np.ndarray:
    """`peak`, multiplied by each factor from its milestone (an iteration) on; factors multiply up."""
    changes = np.cumprod([1.0, *factors])
    return peak * changes[np.searchsorted(np.asarray(milestones), np.arange(steps), side="right")]
