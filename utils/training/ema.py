"""Keeps a moving average of the weights, which generalises better than the last weights (Polyak and Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils.processes.sharded import load_whole

WEIGHTS, UPDATES = "train_state_dict", "ema_updates"


class Ema:
    """Updates average = decay * average + (1 - decay) * weights after every step, and copies the buffers.

    The average is validated and saved as `state_dict`, so that every reader of a checkpoint gets the weights that were
    scored. The weights that training continues from are further entries of the checkpoint.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    @property
    def average(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._averaged.module

    def update(self, model: nn.Module) -> None:
        """Adds the weights after a step to the average."""
        self._averaged.update_parameters(model)

    def checkpoint_entries(self, model: nn.Module) -> dict[str, Any]:
        """Returns the entries that a checkpoint needs in addition to the average."""
        return {WEIGHTS: model.state_dict(), UPDATES: int(self._averaged.n_averaged)}

    def restore(self, model: nn.Module, saved: Mapping[str, Any]) -> None:
        """Restores the average and the weights, after `model` has loaded the `state_dict` of the checkpoint `saved`.

        A checkpoint that was trained without an average starts one at its weights.
        """
        self.average.load_state_dict(model.state_dict())
        if WEIGHTS in saved:
            load_whole(model, saved[WEIGHTS])
            self._averaged.n_averaged.fill_(torch.tensor(saved[UPDATES]))
