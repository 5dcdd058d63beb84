"""What a training run is besides its weights: the numbers it started from, where it stands, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from utils.config.schema import Common
from utils.scoring.task import SINGLE_LABEL, Task
from utils.training.batch import Batch
from utils.training.meters import WindowMeter
from utils.training.mixup import Mix


@dataclass
class TrainState:
    """What a run is besides its weights; everything in it goes into the checkpoint."""

    step: int = 0  # iterations done
    best_prec1: float = 0.0  # of the number that chooses the best checkpoint: mAP with multi_label
    best_step: int = 0  # iterations done when it was reached, 0 before the first validation
    last_validation: int = 0  # iterations done when validation last ran
    bad_videos: int = 0
    bad_losses: int = 0  # steps that were skipped
    meters: dict[str, WindowMeter] = field(default_factory=dict)

    @classmethod
    def fresh(cls, print_freq: int, task: Task = SINGLE_LABEL) -> TrainState:
        """The state before the first step; meters average over print_freq steps."""
        names = ("time", "data", "loss", *task.train_numbers)
        return cls(meters={name: WindowMeter(print_freq) for name in names})

    def note_best(self, prec1: float) -> bool:
        """Remembers a validation's top-1 or mAP (percent); True when it is the best so far."""
        best = self.best_step == 0 or prec1 > self.best_prec1
        if best:
            self.best_prec1, self.best_step = prec1, self.step
        return best

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "step": self.step,
            "best_prec1": self.best_prec1,
            "best_step": self.best_step,
            "last_validation": self.last_validation,
            "bad_videos": self.bad_videos,
            "bad_losses": self.bad_losses,
            "meters": {name: meter.state_dict() for name, meter in self.meters.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`'s values; upstream's checkpoints only have step and best_prec1."""
        self.step = state["step"]
        self.best_prec1 = float(state["best_prec1"])
        self.best_step = state.get("best_step", self.step)
        self.last_validation = state.get("last_validation", self.step)
        self.bad_videos = state.get("bad_videos", 0)
        self.bad_losses = state.get("bad_losses", 0)
        for name, meter in self.meters.items():
            meter.load_state_dict(state.get("meters", {}).get(name, []))


@dataclass(frozen=True)
class TrainPlan:
    """The numbers of a training run."""

    learning_rates: np.ndarray  # float64 (total steps,)
    print_freq: int
    val_freq: int
    checkpoint_every: int
    bad_frame_budget: int
    bad_loss_budget: int
    clip_gradient: float | None
    seed: int
    accumulate: int = 1  # batches per step

    @classmethod
    def of(cls, common: Common, learning_rates: np.ndarray, steps_per_epoch: float) -> TrainPlan:
        """What a config says."""
        val_freq = common.validate_every(steps_per_epoch)
        return cls(
            learning_rates=learning_rates,
            print_freq=common.print_freq,
            val_freq=val_freq,
            checkpoint_every=common.ckpt_freq or min(val_freq, 500),
            bad_frame_budget=common.bad_frame_budget,
            bad_loss_budget=common.bad_loss_budget,
            clip_gradient=common.clip_gradient,
            seed=common.seed,
            accumulate=common.accumulate,
        )


@dataclass(frozen=True)
class Listeners:
    """What the loop calls; each may do nothing."""

    printed: Callable[[dict[str, float]], None]  # every print_freq steps, with means and newest values
    validate: Callable[[], bool]  # runs a validation, says whether it was the best
    save: Callable[[bool], None]  # writes a checkpoint, and marks it when it is the best
    fault: Callable[[str], None]  # a video, or a step, that was left out
    stop: Callable[[], bool]  # whether to end early
    path: Callable[[int], str] = str  # what a message calls the video at a place of the list
    updated: Sequence[Callable[[], None]] = ()  # all of them, after every step's update, gradients still there
    # the clips (B, C, T, H, W) as the network gets them, their batch, and how they were mixed
    seen: Callable[[Tensor, Batch, Mix | None], None] = lambda clips, batch, mix: None
