"""Implements SlowFast: a light pathway sees a clip at the full frame rate, a heavy one sees 1/alpha of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import PositiveInt
from torch import Tensor

from methods.base import network_defaults
from methods.clip3d import ClipMethod, build_network
from networks.clip.clip_head import PositionAverage
from networks.clip.slowfast import Backbone, Beta, SlowFastNet, SlowFrames
from utils.clip_spec import ClipSpec
from utils.config.build import checked


class SlowFast(ClipMethod):
    """Runs SlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982) over `clip_len` frames that are `frame_stride` apart.

    "8x8" names the slow pathway: 8 frames with a step of 8, out of 32 frames with a step of 2, with alpha 4; "4x16" has
    alpha 8.

    backbone: resnet50, resnet101, resnet152, or resnet101_50_50 / resnet101_50_101, whose third stage has temporal
        kernels in its first six blocks only, in both pathways or in the slow one.
    clip_len: frames of the fast pathway.
    frame_stride: step from one frame of the fast pathway to the next.
    alpha: frames of the fast pathway for each frame of the slow one; divides clip_len.
    beta: channels of the slow pathway for each channel of the fast one.
    fusion_kernel: frames that a lateral convolution sees: 5 in 4x16 and in the R101 models, 7 in R50 8x8.
    lateral_norm: norm and ReLU behind the lateral convolutions; mmaction2 has neither.
    slow_frames: `linspace` (PySlowFast: 0, 10, 20, 31 of 32 frames) or `strided` (mmaction2: 0, 8, 16, 24).
    position_average: what evaluation averages if the crop is larger than crop_size: `logits` or `scores` (PySlowFast).
    kwargs: further arguments of networks.clip.slowfast.SlowFastNet: crop_size, fast_depth, non_local, ...
    """

    @checked
    def __init__(
        self,
        *,
        num_class: PositiveInt,
        backbone: Backbone = "resnet50",
        clip_len: PositiveInt = 32,
        frame_stride: PositiveInt = 2,
        alpha: PositiveInt = 8,
        beta: Beta = 8,
        fusion_kernel: PositiveInt = 5,
        lateral_norm: bool = True,
        slow_frames: SlowFrames = "linspace",
        position_average: PositionAverage = "logits",
        dropout: float = 0.5,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if clip_len % alpha:
            fits = ", ".join(str(value) for value in (2, 4, 8, 16) if clip_len % value == 0) or "1"
            raise ValueError(
                f"alpha: {alpha} does not divide clip_len {clip_len}; take an alpha of {fits}, "
                f"or a clip_len that is a multiple of {alpha}"
            )
        self.clip = ClipSpec(num_frames=clip_len, frame_stride=frame_stride, sampling="clip", dataset="clip")
        self.name = f"slowfast_{backbone}"
        self.arch = backbone.split("_")[0]
        self.example_size = (clip_len, 256, 256)
        self.network_defaults = network_defaults(SlowFastNet)
        network = build_network(
            SlowFastNet,
            kwargs,
            "slowfast",
            backbone=backbone,
            num_class=num_class,
            alpha=alpha,
            beta=beta,
            fusion_kernel=fusion_kernel,
            lateral_norm=lateral_norm,
            slow_frames=slow_frames,
            position_average=position_average,
            dropout=dropout,
        )
        self.set_network(network)

    def starts_random(self, key: str) -> bool:
        """Tells whether image weights leave an entry random: the fast pathway and the lateral connections."""
        return key.startswith(("network.fast.", "network.lateral.")) or super().starts_random(key)

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inflates image weights into the slow pathway; the fast one has too few channels and starts at random."""
        return self.inflated(state, "network.slow.")
