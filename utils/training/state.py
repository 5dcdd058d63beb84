"""Holds how far a training run is, and what is due after each of its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from utils.training.batch import Batch, Sums
from utils.training.meters import WindowMeter
from utils.training.mixup import Mix


@dataclass
class TrainState:
    """Says how far a run is. Everything in it goes into the checkpoint.

    step: optimizer steps done.
    best_prec1: the best number so far that chooses a checkpoint: top-1, or mAP with multi_label.
    best_loss: the loss of the same validation, which decides between equal numbers.
    best_step: steps done when it was reached; 0 before the first validation.
    since_best: validations since the best one.
    seconds: how long training has taken, with the validations between its steps and over all restarts.
    last_validation: steps done when validation last ran; 0 if none ran whose score counts.
    bad_videos: videos that could not be read.
    bad_losses: steps that were skipped because their loss was not finite.
    meters: means over the last print_freq steps.
    """

    step: int = 0
    best_prec1: float = 0.0
    best_loss: float = math.inf
    best_step: int = 0
    since_best: int = 0
    seconds: float = 0.0
    last_validation: int = 0
    bad_videos: int = 0
    bad_losses: int = 0
    meters: dict[str, WindowMeter] = field(default_factory=dict)

    def note_best(self, score: float, loss: float) -> bool:
        """Remembers a validation if it is the best so far, and returns whether it is.

        score: top-1 or mAP in percent. loss: decides between equal scores, the lower one is better.
        """
        best = self.best_step == 0 or (score, -loss) > (self.best_prec1, -self.best_loss)
        if best:
            self.best_prec1, self.best_loss, self.best_step = score, loss, self.step
        self.since_best = 0 if best else self.since_best + 1
        return best

    def forget_best(self) -> None:
        """Lets the next validation count as the best, and the run be validated at its end if not before."""
        self.best_prec1, self.best_loss, self.best_step, self.since_best = 0.0, math.inf, 0, 0
        self.last_validation = 0

    def state_dict(self) -> dict[str, Any]:
        """Returns plain values."""
        return vars(self) | {"meters": {name: meter.state_dict() for name, meter in self.meters.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`'s values; checkpoints of the original project have only step and best_prec1."""
        self.step = state["step"]
        self.best_prec1 = float(state["best_prec1"])
        self.best_loss = float(state.get("best_loss", math.inf))
        self.best_step = state.get("best_step", self.step)
        self.since_best = state.get("since_best", 0)
        self.seconds = float(state.get("seconds", 0.0))
        self.last_validation = state.get("last_validation", self.step)
        self.bad_videos = state.get("bad_videos", 0)
        self.bad_losses = state.get("bad_losses", 0)
        for name, meter in self.meters.items():
            meter.load_state_dict(state.get("meters", {}).get(name, []))


@dataclass
class Step:
    """One step that is done: what the loop has to do now, and what it needs for that.

    number: steps done before it, as log.txt counts.
    lr: its learning rate.
    prints, validates, saves: what is due after it.
    stops: whether the run ends after it, early or because it was the last one.
    is_best: whether its validation is the best so far; the loop decides it.
    skipped: whether its loss was not finite, so that the weights stayed as they were.
    clips, batch, mix: the first batch as the network saw it, where pictures are due; else None.
    left_out: texts about videos and steps that were left out and not reported yet.
    notes: what else the log has to say about it.
    """

    number: int
    lr: float
    prints: bool = False
    validates: bool = False
    saves: bool = False
    stops: bool = False
    is_best: bool = False
    skipped: bool = False
    clips: Tensor | None = None
    batch: Batch | None = None
    mix: Mix | None = None
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # the rest is the trainer's: numbers stay on the device until they are needed, so that it never waits for the host
    indices: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    waited: float = 0.0
    seconds: float = 0.0
    asks_to_stop: bool = False  # whether this process does
    numbers: Tensor | None = None  # float32 (2 + k,): sum of the losses, k numbers of hits, clips
    sums: Sums | None = None  # of numbers, faults and asks_to_stop over all processes, until they are in the meters
