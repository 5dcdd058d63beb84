"""Adds to the loss what a teacher says about the clips: a network that runs along, or scores that it gave before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from utils.config.sections import Teacher as Settings
from utils.training.mixup import Mix


class Teacher(ABC):
    """Knows a score of each class for every training clip.

    Attributes:
        settings: weight, temperature and kind of its loss.
        about: its path and a checksum, which checkpoints keep.
    """

    def __init__(self, settings: Settings, about: dict[str, Any]) -> None:
        self.settings, self.about = settings, about

    @abstractmethod
    def scores(self, clips: Tensor, indices: Tensor, mix: Mix | None) -> Tensor:
        """Returns what it says about a batch, softened by the temperature: float32 (B, K), each row sums to one.

        clips: (B, C, T, H, W), normalised, and mixed by `mix` already. indices: int64 (B,), places in the list.
        """

    def loss(self, logits: Tensor, scores: Tensor) -> Tensor:
        """Maps the network's logits (B, K) of any floating type and the teacher's scores to losses float32 (B,)."""
        temperature = self.settings.temperature
        own = (logits.float() / temperature).log_softmax(-1)
        theirs = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
        loss = F.kl_div(own, theirs, reduction="none", log_target=True).sum(-1)
        if self.settings.loss == "symmetric":
            loss = (loss + F.kl_div(theirs, own, reduction="none", log_target=True).sum(-1)) / 2
        return self.settings.weight * temperature**2 * loss


class NetworkTeacher(Teacher):
    """Runs a network on the clips that the student sees. It learns nothing and works as in evaluation."""

    def __init__(self, network: nn.Module, settings: Settings, about: dict[str, Any]) -> None:
        super().__init__(settings, about)
        self.network = network.eval().requires_grad_(False)

    @override
    @torch.no_grad()  # inference mode would make tensors that the student's loss cannot keep
    def scores(self, clips: Tensor, indices: Tensor, mix: Mix | None) -> Tensor:
        return (self.network(clips).float() / self.settings.temperature).softmax(-1)


class KeptTeacher(Teacher):
    """Looks up what a network has said about each video, whatever a step shows of it.

    logits: float32 (N, K), of all training videos in the order of their list, on the device that trains.
    """

    def __init__(self, logits: Tensor, settings: Settings, about: dict[str, Any]) -> None:
        super().__init__(settings, about)
        self.logits = logits

    @override
    @torch.no_grad()
    def scores(self, clips: Tensor, indices: Tensor, mix: Mix | None) -> Tensor:
        found = (self.logits[indices] / self.settings.temperature).softmax(-1)
        return found if mix is None else mix.average(found, mix.partners(found))
