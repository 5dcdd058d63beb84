"""SlowFast: two pathways over one clip, joined by time-strided lateral convolutions.

The pathways and their stages are in `resnet3d.py`. The network takes the fast clip and picks the slow frames itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from networks.clip.clip_head import average_positions, classify_positions, pool_positions
from networks.clip.resnet3d import Pathway, Stages, check_position_average, init_resnet3d, stages_from
from utils.errors import ConfigError


@functools.cache  # the first call must not be one that is being traced: torch.export cannot read a tensor
def linspace_frames(num_frames: int, alpha: int) -> list[int]:
    """T // alpha frames evenly from the first to the last, truncated: 32 and 8 give 0, 10, 20, 31 (PySlowFast)."""
    indices: list[int] = torch.linspace(0, num_frames - 1, num_frames // alpha).long().tolist()
    return indices


def strided_frames(num_frames: int, alpha: int) -> list[int]:
    """Every alpha-th frame from the first: 32 and 8 give 0, 8, 16, 24 (mmaction2's nearest interpolation)."""
    return list(range(0, num_frames, alpha))[: num_frames // alpha]


SLOW_FRAMES: dict[str, Callable[[int, int], list[int]]] = {"linspace": linspace_frames, "strided": strided_frames}

FAST = {"stem_kernel": (5, 7, 7), "kernels_t": ((3,), (3,), (3,), (3,))}

# name -> depth and, for the slow and the fast pathway, how many first blocks of each stage have temporal kernels
BACKBONES: dict[str, tuple[int, tuple[int, ...] | None, tuple[int, ...] | None]] = {
    "resnet50": (50, None, None),
    "resnet101": (101, None, None),
    "resnet152": (152, None, None),
    "resnet101_50_50": (101, (3, 4, 6, 3), (3, 4, 6, 3)),
    "resnet101_50_101": (101, (3, 4, 6, 3), None),
}


class Lateral(nn.Module):
    """Fast features (B, C, T, H, W) -> (B, ratio * C, T / alpha, H, W), "time-strided convolution" of sec. 3.4.

    mmaction2 leaves out the norm and the ReLU (`norm=False`).
    """

    def __init__(self, channels: int, *, ratio: int, kernel: int, alpha: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            channels, channels * ratio, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False
        )
        self.bn = nn.BatchNorm3d(channels * ratio) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """What the slow pathway gets appended."""
        x = self.relu(self.bn(self.conv(x)))
        return x


class SlowFastNet(nn.Module):
    """SlowFast network (Feichtenhofer et al. 2019, arXiv 1812.03982): a clip (B, 3, T, H, W) -> logits (B, K).

    The fast pathway sees all T frames with 1/beta of the channels; the slow one sees T / alpha of them, chosen by
    `slow_frames` (`linspace` of PySlowFast or `strided` of mmaction2). After the stem and stages 1 to 3 a lateral
    convolution of `fusion_kernel` frames and stride alpha appends fast features behind the slow channels. The
    classifier sees slow channels, then fast ones, averaged over T and `crop_size` / 32 squared; at a larger crop it is
    applied at every position and `position_average` says what is averaged (see `ResNet3d`).

    Raises:
        ConfigError: for an unknown backbone, depth or rule, or a beta that does not divide the width.
        ValueError: in forward, when alpha does not divide T.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        num_class: int = 400,
        alpha: int = 8,
        beta: int = 8,
        fusion_kernel: int = 5,
        fusion_ratio: int = 2,
        lateral_norm: bool = True,
        slow_frames: str = "linspace",
        fast_depth: int | None = None,
        temporal_blocks: Sequence[Sequence[int]] | None = None,
        non_local: Sequence[Sequence[int]] | None = None,
        instantiation: str = "dot_product",
        dropout: float = 0.5,
        crop_size: int | None = 224,
        position_average: str = "logits",
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ConfigError(f"common.model.backbone: {backbone!r} is not one of {', '.join(BACKBONES)}")
        if slow_frames not in SLOW_FRAMES:
            raise ConfigError(f"common.model.slow_frames: {slow_frames!r} is not one of {', '.join(SLOW_FRAMES)}")
        width = 64
        if beta < 1 or width % beta:
            raise ConfigError(
                f"common.model.beta: {beta} does not divide the {width} channels of the stem; take 4, 8 or 16"
            )
        if fusion_kernel % 2 == 0:
            raise ConfigError(
                f"common.model.fusion_kernel: {fusion_kernel} is even; take an odd number of frames, 5 or 7"
            )
        depth, slow_temporal, fast_temporal = BACKBONES[backbone]
        if temporal_blocks is not None:
            if len(temporal_blocks) != 2:
                raise ConfigError(
                    "common.model.kwargs.temporal_blocks: give two lists, for the slow and the fast pathway"
                )
            slow_temporal, fast_temporal = (tuple(blocks) for blocks in temporal_blocks)
        self.alpha, self.slow_frames = alpha, slow_frames
        fast = stages_from(FAST, fast_depth or depth, width=width // beta, temporal_blocks=fast_temporal)
        fused = [fast.channels(stage) for stage in range(-1, 3)]  # what the fast stem and stages 1 to 3 leave
        slow = _slow_stages(depth, fused, fusion_ratio, slow_temporal, non_local, instantiation)
        self.slow, self.fast = Pathway(slow), Pathway(fast)
        self.lateral = nn.ModuleList(
            Lateral(channels, ratio=fusion_ratio, kernel=fusion_kernel, alpha=alpha, norm=lateral_norm)
            for channels in fused
        )
        side = None if crop_size is None else max(1, crop_size // 32)
        self.head_window = (None, side, side)
        self.position_average = check_position_average(position_average)
        self.out_channels = slow.channels(3) + fast.channels(3)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.fc = nn.Linear(self.out_channels, num_class)
        init_resnet3d(self, zero_init_residual=zero_init_residual)

    def forward_features(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, T, H, W) -> slow (B, 2048, T/alpha, H/32, W/32) and fast (B, 2048/beta, T, H/32, W/32) features."""
        num_frames = clip.shape[2]
        if num_frames % self.alpha:
            raise ValueError(f"alpha {self.alpha} does not divide the clip's {num_frames} frames")
        chosen = SLOW_FRAMES[self.slow_frames](num_frames, self.alpha)
        slow, fast = self.slow.stem(clip[:, :, chosen]), self.fast.stem(clip)
        for stage in range(4):
            slow = torch.cat([slow, self.lateral[stage](fast)], dim=1)
            slow, fast = self.slow.stage(stage, slow), self.fast.stage(stage, fast)
        return slow, fast

    def forward(self, clip: Tensor) -> Tensor:
        """Logits of normalised RGB clips."""
        pooled = [pool_positions(features, self.head_window) for features in self.forward_features(clip)]
        logits = classify_positions(self.dropout(torch.cat(pooled, dim=1)), self.fc)
        return average_positions(logits, "logits" if self.training else self.position_average)


def _slow_stages(
    depth: int,
    fused: list[int],
    ratio: int,
    temporal_blocks: tuple[int, ...] | None,
    non_local: Sequence[Sequence[int]] | None,
    instantiation: str,
) -> Stages:
    changes: dict[str, Any] = {"lateral": tuple(ratio * channels for channels in fused), "instantiation": instantiation}
    if temporal_blocks is not None:
        changes["temporal_blocks"] = temporal_blocks
    if non_local is not None:
        changes["non_local"] = non_local
    return stages_from({}, depth, **changes)
