"""A moving average of the weights, which generalises better than the last ones (Polyak and Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

WEIGHTS, UPDATES = "train_state_dict", "ema_updates"


class Ema:
    """average <- decay * average + (1 - decay) * weights after every step; buffers are copied.

    The average is what is validated and saved as `state_dict`, so that whoever reads a checkpoint gets what was scored;
    the weights that training goes on from stand beside it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    @property
    def average(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._averaged.module

    def update(self, model: nn.Module) -> None:
        """Takes in the weights after a step."""
        self._averaged.update_parameters(model)

    def checkpoint_entries(self, model: nn.Module) -> dict[str, Any]:
        """What a checkpoint holds beside the average."""
        return {WEIGHTS: model.state_dict(), UPDATES: int(self._averaged.n_averaged)}

    def restore(self, model: nn.Module, saved: Mapping[str, Any]) -> None:
        """After `model` was filled with a checkpoint's `state_dict`; one without an average begins it."""
        self.average.load_state_dict(model.state_dict())
        if WEIGHTS in saved:
            model.load_state_dict(saved[WEIGHTS])
            self._averaged.n_averaged.fill_(torch.tensor(saved[UPDATES]))
