"""Builds SlowFast: two pathways over one clip, joined by time-strided lateral convolutions.

The pathways and their stages are in resnet3d.py. The network takes the fast clip and picks the slow frames itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from networks.clip.clip_head import PositionAverage, average_positions, classify_positions, pool_positions
from networks.clip.resnet3d import Depth, Pathway, Stages, init_resnet3d, stages_from
from networks.temporal.non_local import Instantiation
from utils.config.build import checked

Backbone = Literal["resnet50", "resnet101", "resnet152", "resnet101_50_50", "resnet101_50_101"]
Beta = Literal[1, 2, 4, 8, 16, 32, 64]  # the divisors of WIDTH
SlowFrames = Literal["linspace", "strided"]
WIDTH = 64  # channels of the slow stem


@functools.cache  # torch.export cannot read a tensor while it traces, so the result must be known before
def linspace_frames(num_frames: int, alpha: int) -> list[int]:
    """Picks T // alpha frames evenly from first to last, rounded down: 32 and 8 give 0, 10, 20, 31 (PySlowFast)."""
    indices: list[int] = torch.linspace(0, num_frames - 1, num_frames // alpha).long().tolist()
    return indices


def strided_frames(num_frames: int, alpha: int) -> list[int]:
    """Picks every alpha-th frame from the first on: 32 and 8 give 0, 8, 16, 24 (mmaction2's nearest interpolation)."""
    return list(range(0, num_frames, alpha))[: num_frames // alpha]


SLOW_FRAMES: dict[str, Callable[[int, int], list[int]]] = {
    "linspace": linspace_frames,
    "strided": strided_frames,
}

FAST = {"stem_kernel": (5, 7, 7), "kernels_t": ((3,), (3,), (3,), (3,))}

# name -> depth, and for the slow and the fast pathway the number of first blocks of each stage with a temporal kernel
BACKBONES: dict[Backbone, tuple[int, tuple[int, ...] | None, tuple[int, ...] | None]] = {
    "resnet50": (50, None, None),
    "resnet101": (101, None, None),
    "resnet152": (152, None, None),
    "resnet101_50_50": (101, (3, 4, 6, 3), (3, 4, 6, 3)),
    "resnet101_50_101": (101, (3, 4, 6, 3), None),
}


class Lateral(nn.Module):
    """Turns fast features into input of the slow pathway by the "time-strided convolution" of sec. 3.4.

    ratio: output channels divided by input channels.
    norm: add a norm and a ReLU; mmaction2 has neither.
    """

    def __init__(self, channels: int, *, ratio: int, kernel: int, alpha: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            channels, channels * ratio, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False
        )
        self.bn = nn.BatchNorm3d(channels * ratio) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps fast features (B, C, T, H, W) to (B, ratio * C, T / alpha, H, W)."""
        x = self.relu(self.bn(self.conv(x)))
        return x


class SlowFastNet(nn.Module):
    """Classifies clips (B, 3, T, H, W) with SlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982): logits (B, K).

    The fast pathway sees all T frames with 1/beta of the channels; the slow one sees T / alpha of them. After the stem
    and after stages 1 to 3, a lateral convolution with stride alpha appends fast features behind the slow channels. The
    classifier sees slow channels, then fast ones, averaged over T and over crop_size / 32 squared. At a larger crop it
    is applied at every position.

    slow_frames: rule that picks the slow frames, `linspace` (PySlowFast) or `strided` (mmaction2).
    fusion_kernel: frames that a lateral convolution sees; odd.
    fusion_ratio: output channels of a lateral convolution divided by its input channels.
    lateral_norm: norm and ReLU behind the lateral convolutions; mmaction2 has neither.
    fast_depth: depth of the fast pathway; default: that of the backbone.
    temporal_blocks: for the slow and the fast pathway, the number of first blocks of each stage with a temporal kernel.
    non_local, instantiation: non-local blocks of the slow pathway, see `Stages`.
    crop_size, position_average, zero_init_residual: see `ResNet3d`.

    Raises: ValueError for arguments that do not fit; in forward, if alpha does not divide T.
    """

    @checked
    def __init__(
        self,
        backbone: Backbone = "resnet50",
        *,
        num_class: PositiveInt = 400,
        alpha: PositiveInt = 8,
        beta: Beta = 8,
        fusion_kernel: PositiveInt = 5,
        fusion_ratio: PositiveInt = 2,
        lateral_norm: bool = True,
        slow_frames: SlowFrames = "linspace",
        fast_depth: Depth | None = None,
        temporal_blocks: Sequence[Sequence[int]] | None = None,
        non_local: Sequence[Sequence[int]] | None = None,
        instantiation: Instantiation = "dot_product",
        dropout: float = 0.5,
        crop_size: PositiveInt | None = 224,
        position_average: PositionAverage = "logits",
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__()
        if fusion_kernel % 2 == 0:
            raise ValueError(f"fusion_kernel: {fusion_kernel} is even; take an odd number of frames, 5 or 7")
        depth, slow_temporal, fast_temporal = BACKBONES[backbone]
        if temporal_blocks is not None:
            if len(temporal_blocks) != 2:
                raise ValueError("temporal_blocks: give two lists, for the slow and for the fast pathway")
            slow_temporal, fast_temporal = (tuple(blocks) for blocks in temporal_blocks)
        self.alpha = alpha
        self.slow_frames: SlowFrames = slow_frames
        fast = stages_from(FAST, fast_depth or depth, width=WIDTH // beta, temporal_blocks=fast_temporal)
        fused = [fast.channels(stage) for stage in range(-1, 3)]  # of the fast stem and stages 1 to 3
        slow = _slow_stages(depth, fused, fusion_ratio, slow_temporal, non_local, instantiation)
        self.slow, self.fast = Pathway(slow), Pathway(fast)
        self.lateral = nn.ModuleList(
            Lateral(channels, ratio=fusion_ratio, kernel=fusion_kernel, alpha=alpha, norm=lateral_norm)
            for channels in fused
        )
        side = None if crop_size is None else max(1, crop_size // 32)
        self.head_window = (None, side, side)
        self.position_average: PositionAverage = position_average
        self.out_channels = slow.channels(3) + fast.channels(3)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.fc = nn.Linear(self.out_channels, num_class)
        init_resnet3d(self, zero_init_residual=zero_init_residual)

    def forward_features(self, clip: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps clips (B, 3, T, H, W) to slow and fast features.

        The slow ones are (B, 2048, T / alpha, H / 32, W / 32), the fast ones (B, 2048 / beta, T, H / 32, W / 32).
        """
        if isinstance(clip, Tensor):
            slow_clip, fast_clip = self.slow_clip(clip), clip
        else:
            slow_clip, fast_clip = clip
        slow, fast = self.slow.stem(slow_clip), self.fast.stem(fast_clip)
        for stage in range(4):
            slow = torch.cat([slow, self.lateral[stage](fast)], dim=1)
            slow, fast = self.slow.stage(stage, slow), self.fast.stage(stage, fast)
        return slow, fast

    def slow_clip(self, clip: Tensor) -> Tensor:
        """Picks the slow frames of a clip. Raises: ValueError if alpha does not divide its length."""
        num_frames = clip.shape[2]
        if num_frames % self.alpha:
            raise ValueError(f"alpha {self.alpha} does not divide the clip's {num_frames} frames")
        return clip[:, :, SLOW_FRAMES[self.slow_frames](num_frames, self.alpha)]

    def forward(self, clip: Tensor | Sequence[Tensor]) -> Tensor:
        """Maps normalised RGB clips (B, 3, T, H, W), or a pair of slow and fast clips, to logits (B, K)."""
        pooled = [pool_positions(features, self.head_window) for features in self.forward_features(clip)]
        logits = classify_positions(self.dropout(torch.cat(pooled, dim=1)), self.fc)
        return average_positions(logits, "logits" if self.training else self.position_average)


def _slow_stages(
    depth: int,
    fused: list[int],
    ratio: int,
    temporal_blocks: tuple[int, ...] | None,
    non_local: Sequence[Sequence[int]] | None,
    instantiation: Instantiation,
) -> Stages:
    changes: dict[str, Any] = {"lateral": tuple(ratio * channels for channels in fused), "instantiation": instantiation}
    if temporal_blocks is not None:
        changes["temporal_blocks"] = temporal_blocks
    if non_local is not None:
        changes["non_local"] = non_local
    return stages_from({}, depth, **changes)
