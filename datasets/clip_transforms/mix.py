"""Mixes the clips and labels of a batch under PyTorchVideo's names: clip i with clip B-1-i.

The arithmetic is that of utils/training/mixup.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from datasets.clip_transforms.functional import convert_to_one_hot
from datasets.clip_transforms.modules import Share
from datasets.sampling.draws import from_torch
from utils.config.build import ArgumentError, checked
from utils.training import mixup

Smoothing = Annotated[float, Field(ge=0, lt=1)]
Mixed = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]


class _Mixing(nn.Module):
    """Mixes a batch as a subclass draws; labels become rows over the classes."""

    @checked
    def __init__(
        self,
        alpha: PositiveFloat = 1.0,
        label_smoothing: Smoothing = 0.0,
        num_classes: PositiveInt = 400,
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        self.draws = self._draws(alpha)
        self.label_smoothing, self.num_classes, self.one_hot = label_smoothing, num_classes, one_hot

    @staticmethod
    def _draws(alpha: float) -> mixup.MixUp:
        raise NotImplementedError

    def forward(self, x_video: Tensor, labels: Tensor, *, x_audio: Tensor | None = None) -> Mixed:
        """Returns mixed (B, C, T, H, W) or (B, C, H, W), and labels (B, K); with x_audio that as well, in between.

        The inputs are not changed. Raises: ArgumentError for a single clip.
        """
        if len(x_video) < 2:
            raise ArgumentError("x_video: a single clip has none to be mixed with; the batch needs two")
        drawn = self.draws.draw(from_torch(), *_size(x_video))
        assert drawn is not None  # alphas are above 0
        mix = replace(drawn, permutation=torch.arange(len(x_video)).flip(0))
        rows = labels if self.one_hot else convert_to_one_hot(labels, self.num_classes, self.label_smoothing)
        rows = rows.float()
        mixed_labels = torch.lerp(mix.partners(rows), rows, mix.lam)
        if x_audio is None:
            return mix.clips(x_video), mixed_labels
        return mix.clips(x_video), _like(mix, x_video, x_audio).clips(x_audio), mixed_labels


class MixUp(_Mixing):
    """Blends pairs of clips (Zhang et al. 2017, arXiv 1710.09412), with a share from Beta(alpha, alpha).

    label_smoothing: share of each label that is spread over all classes. one_hot: labels are rows (B, K) already.
    """

    @staticmethod
    def _draws(alpha: float) -> mixup.MixUp:
        return mixup.MixUp(alpha)


class CutMix(_Mixing):
    """Replaces a rectangle of each clip (Yun et al. 2019, arXiv 1905.04899); its area is drawn from Beta(alpha, alpha).

    label_smoothing: share of each label that is spread over all classes. one_hot: labels are rows (B, K) already.
    """

    @staticmethod
    def _draws(alpha: float) -> mixup.MixUp:
        return mixup.MixUp(cutmix_alpha=alpha)


class MixVideo(nn.Module):
    """Applies cut-mix to a share `cutmix_prob` of the batches, and mix-up to the others."""

    @checked
    def __init__(
        self,
        cutmix_prob: Share = 0.5,
        mixup_alpha: PositiveFloat = 1.0,
        cutmix_alpha: PositiveFloat = 1.0,
        label_smoothing: Smoothing = 0.0,
        num_classes: PositiveInt = 400,
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        self.cutmix_prob = cutmix_prob
        self.mixup = MixUp(mixup_alpha, label_smoothing, num_classes, one_hot)
        self.cutmix = CutMix(cutmix_alpha, label_smoothing, num_classes, one_hot)

    def forward(self, x_video: Tensor, labels: Tensor, *, x_audio: Tensor | None = None) -> Mixed:
        """Returns the batch and its labels, mixed by the one of the two that is drawn."""
        chosen = self.cutmix if float(torch.rand(())) < self.cutmix_prob else self.mixup
        return chosen(x_video, labels, x_audio=x_audio)


def _size(batch: Tensor) -> tuple[int, int, int]:
    return len(batch), *batch.shape[-2:]


def _like(mix: mixup.Mix, video: Tensor, audio: Tensor) -> mixup.Mix:
    """Returns the same draw for a spectrogram: a box covers the same part of its two last axes."""
    if mix.box is None:
        return mix
    scales = [a / v for a, v in zip(audio.shape[-2:], video.shape[-2:], strict=True)]
    top, left, height, width = (round(side * scale) for side, scale in zip(mix.box, scales * 2, strict=True))
    return replace(mix, box=(top, left, height, width))
