"""Holds a trained network and the steps from views to scores that every way of using it shares."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.protocol import ClipProtocol
from datasets.windows import usual_window
from methods.base import Method
from tools.inference.arguments import TOPK
from tools.inference.prediction import ClassScore
from utils.config.schema import Common
from utils.errors import CheckpointError, UserError
from utils.scoring.metrics import top_classes
from utils.training.folding import Folded, fold_batch_norms


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network in evaluation mode, with all that stands before its input and behind its output.

    path: the checkpoint.
    method: the network, in evaluation mode, on `device`; on a CPU, a faster copy of it computes the answers.
    common: the config it was trained with.
    protocol: how its evaluation turns a video into views, and their logits into scores.
    class_names: names by label; None when the checkpoint does not contain them.
    trained_on: usual length of its training videos, in `frames` and `seconds`, as far as the checkpoint says it.
    notes: where the config of weights of other projects comes from, and what their user has to know.
    saved: what tells a checkpoint of ours from others (utils/run/checkpoint.py); {} in files of other projects.
    """

    path: Path
    method: Method
    common: Common
    protocol: ClipProtocol
    class_names: list[str] | None
    device: torch.device
    trained_on: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    saved: Mapping[str, Any] = field(default_factory=dict)
    _folded: dict[Any, Folded] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def num_class(self) -> int:
        """Number of classes (K)."""
        return self.common.model.num_class

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Returns the shape (C, T, H, W) of a clip by the test protocol."""
        return self.protocol.clip.in_channels, self.protocol.clip.num_frames, *self.protocol.transform.size

    @property
    def folded(self) -> Folded:
        """Returns the network that computes the answers: with folded batch norms on a CPU, else as it is."""
        if self.device.type != "cpu":
            return Folded(self.method, frozenset())
        tensors = itertools.chain(self.method.parameters(), self.method.buffers())
        weights = tuple((one.data_ptr(), 0 if one.is_inference() else one._version) for one in tensors)
        if weights not in self._folded:  # whoever changes the weights gets the answers of the new ones
            self._folded.clear()
            self._folded[weights] = fold_batch_norms(self.method, torch.empty(1, *self.clip_shape))
        return self._folded[weights]

    @property
    def layers(self) -> list[str]:
        """Names of all layers that `features` takes."""
        return [name for name, _ in self.method.named_modules() if name]

    def refuse_whole_videos(self) -> None:
        """Raises: UserError for a network that says nothing of a clip alone, `type: segment`."""
        if self.protocol.clip.whole_videos:
            raise UserError(
                f"{self.path}: labels the moments of whole videos and gives no class to a clip; use tools.segment"
            )

    def describe_windows(self, fps: float, window: float | None) -> str:
        """Says how long a sliding window is, and why where nobody asked for that."""
        if window is not None:
            return f"windows of {window:g} s"
        frames, why = usual_window(self.protocol, self.trained_on, fps)
        return f"windows of {frames / fps:.3g} s, {why}"

    def name(self, label: int) -> str:
        """Returns the name of a class, `class 3` when it has none."""
        names = self.class_names or []
        return names[label] if label < len(names) else f"class {label}"

    def normalise(self, views: np.ndarray) -> Tensor:
        """Turns views into the network's input: (V, T, H, W, C), uint8 or float32 0..255 -> (V, C, T, H, W).

        T and C are those of pictures before, and those of the network after, where stacks lie in the channels.
        """
        clips = torch.from_numpy(views).permute(0, 4, 1, 2, 3)[None]
        return self.protocol.augment.apply(clips.to(self.device))

    @torch.no_grad()
    def logits(self, views: np.ndarray, *, batch_size: int) -> Tensor:
        """Runs the network: (V, T, H, W, C) -> float32 (V, K) on the CPU, `batch_size` views at a time."""
        parts = []
        for start in range(0, len(views), batch_size):
            clips = self.normalise(views[start : start + batch_size])  # may keep tensors that a gradient needs later
            with torch.inference_mode():
                parts.append(self.folded.network(clips).float().cpu())
        return torch.cat(parts)

    def score_views(self, videos: Sequence[np.ndarray], *, batch_size: int) -> np.ndarray:
        """Scores the views (V, T, H, W, C) of each of N videos -> float32 (N, K), averaged as in an evaluation."""
        logits = self.logits(np.concatenate(videos), batch_size=batch_size).split([len(views) for views in videos])
        return torch.stack([self.average_views(part) for part in logits]).numpy()

    def average_views(self, logits: Tensor) -> Tensor:
        """Averages the logits (V, K) of a video's views to its scores (K,). Raises: CheckpointError if one is NaN."""
        return self.finite(self.protocol.average_views(logits), "scores")

    def finite(self, values: Tensor, description: str) -> Tensor:
        """Returns `values`. Raises: CheckpointError when one is NaN or infinite, as after a training that diverged."""
        if not values.isfinite().all():
            raise CheckpointError(f"{self.path}: its {description} are not numbers (NaN); did the training diverge?")
        return values

    def top(self, scores: np.ndarray, topk: int = TOPK) -> list[ClassScore]:
        """Returns the `topk` best classes of scores (K,), best first."""
        labels = top_classes(scores[None], k=topk)[0]
        return [ClassScore(int(label), self.name(int(label)), float(scores[label])) for label in labels]
