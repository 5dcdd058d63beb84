"""Lets the slow pathway of PyTorchVideo's SlowFast see the fast one (Feichtenhofer et al. 2019, arXiv 1812.03982)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from networks.pytorchvideo.arguments import Build, Triple, apply, halves, make, make_norm
from utils.config.build import checked


class FuseFastToSlow(nn.Module):
    """Appends what a convolution makes of the fast features to the channels of the slow ones.

    norm, activation: behind the convolution; None leaves them out.
    """

    def __init__(
        self, conv_fast_to_slow: nn.Module, norm: nn.Module | None = None, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv_fast_to_slow = conv_fast_to_slow
        self.norm = norm
        self.activation = activation

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Maps slow and fast features to wider slow ones and the same fast ones."""
        slow, fast = x
        return [torch.cat([slow, apply(fast, self.conv_fast_to_slow, self.norm, self.activation)], 1), fast]


class FastToSlowFusionBuilder:
    """Builds the fusion behind each stage but the last one.

    slowfast_channel_reduction_ratio: channels of the slow pathway by those of the fast one.
    conv_fusion_channel_ratio: channels that are appended by those of the fast pathway.
    conv_kernel_size, conv_stride: of the convolution over the fast features.
    max_stage_idx: the last stage with a fusion; the stem is 0.
    """

    @checked
    def __init__(
        self,
        slowfast_channel_reduction_ratio: PositiveInt,
        conv_fusion_channel_ratio: PositiveFloat,
        conv_kernel_size: Triple,
        conv_stride: Triple,
        norm: Build | None = nn.BatchNorm3d,
        norm_eps: PositiveFloat = 1e-5,
        norm_momentum: NonNegativeFloat = 0.1,
        activation: Build | None = nn.ReLU,
        max_stage_idx: int = 3,
    ) -> None:
        self.slowfast_channel_reduction_ratio = slowfast_channel_reduction_ratio
        self.conv_fusion_channel_ratio = conv_fusion_channel_ratio
        self.conv_kernel_size = conv_kernel_size
        self.conv_stride = conv_stride
        self.norm = norm
        self.norm_eps = norm_eps
        self.norm_momentum = norm_momentum
        self.activation = activation
        self.max_stage_idx = max_stage_idx

    def create_module(self, fusion_dim_in: int, stage_idx: int) -> nn.Module:
        """Makes the fusion behind stage `stage_idx`, whose slow features have fusion_dim_in channels."""
        if stage_idx > self.max_stage_idx:
            return nn.Identity()
        inputs = fusion_dim_in // self.slowfast_channel_reduction_ratio
        outputs = int(inputs * self.conv_fusion_channel_ratio)
        padding = halves(self.conv_kernel_size)
        return FuseFastToSlow(
            nn.Conv3d(inputs, outputs, self.conv_kernel_size, self.conv_stride, padding, bias=False),
            make_norm(self.norm, outputs, self.norm_eps, self.norm_momentum),
            make(self.activation),
        )
