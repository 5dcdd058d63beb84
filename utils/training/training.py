"""Everything that moves while a network trains, in one place, so that a checkpoint can hold all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from utils.config.schema import Common
from utils.run import checkpoint
from utils.scoring.task import task_of
from utils.training.ema import Ema
from utils.training.optimizer import make_optimizer, parameter_groups, split_by_name
from utils.training.precision import Precision
from utils.training.state import TrainState


class Training:
    """Weights, their average, optimizer, loss scale, and the state of the run.

    Attributes:
        model: what is trained.
        scored: what is validated and saved as `state_dict`: the average with ema, else the model.
        optimizer, precision, state: as the engine takes them.
    """

    def __init__(self, model: nn.Module, common: Common, precision: Precision) -> None:
        groups = parameter_groups(model, no_wd=common.no_wd, policy=common.policy, fc_lr5=common.fc_lr5)
        self.model = model
        self.optimizer = make_optimizer(common, split_by_name(groups, model, common.lr_by_name))
        self.precision = precision
        self.state = TrainState.fresh(common.print_freq, task_of(common))
        self._ema = Ema(model, common.ema) if common.ema else None
        self.scored: nn.Module = self._ema.average if self._ema else model

    def updated(self) -> None:
        """After every step of the optimizer."""
        if self._ema:
            self._ema.update(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Upstream's entries of a checkpoint, and ours."""
        entries = {
            "step": self.state.step,
            "best_prec1": self.state.best_prec1,
            "state_dict": checkpoint.with_prefix(self.scored.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.state_dict(),
            "trainer": self.state.state_dict(),
        }
        return entries | (self._ema.checkpoint_entries(self.model) if self._ema else {})

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Everything but `state_dict`, which the model holds already; a checkpoint of upstream lacks our entries."""
        self.optimizer.load_state_dict(saved["optimizer"])
        self.precision.load_state_dict(saved.get("scaler", {}))
        self.state.load_state_dict(saved.get("trainer", {"step": saved["step"], "best_prec1": saved["best_prec1"]}))
        if self._ema:
            self._ema.restore(self.model, saved)
