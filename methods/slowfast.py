"""SlowFast: one clip, seen at full rate by a light pathway and at 1/alpha of it by a heavy one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from methods.clip3d import WHERE, ClipMethod, check_clip, check_kwargs
from networks.clip.slowfast import SlowFastNet
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError

_OWN = (
    "backbone",
    "num_class",
    "alpha",
    "beta",
    "fusion_kernel",
    "lateral_norm",
    "slow_frames",
    "position_average",
    "dropout",
)


class SlowFast(ClipMethod):
    """SlowFast (Feichtenhofer et al. 2019, arXiv 1812.03982) over `clip_len` frames, `frame_stride` apart.

    "8x8" names the slow pathway: 8 frames 8 apart, out of 32 frames 2 apart with alpha 4; "4x16" has alpha 8.

    backbone: resnet50, resnet101, resnet152, or resnet101_50_50 / resnet101_50_101, whose third stage has temporal
        kernels in its first six blocks only, in both pathways or in the slow one.
    clip_len, frame_stride: frames of the fast pathway, and the step from one to the next.
    alpha: frames of the fast pathway for one of the slow; divides clip_len.
    beta: channels of the slow pathway for one of the fast.
    fusion_kernel: frames that a lateral convolution sees: 5 in 4x16 and in the R101 models, 7 in R50 8x8.
    lateral_norm: norm and ReLU behind the lateral convolutions; mmaction2 has none.
    slow_frames: `linspace` (PySlowFast: 0, 10, 20, 31 of 32 frames) or `strided` (mmaction2: 0, 8, 16, 24).
    position_average: in evaluation at a crop above crop_size, `logits` or `scores` (PySlowFast).
    kwargs: further arguments of networks.clip.slowfast.SlowFastNet: crop_size, fast_depth, temporal_blocks, non_local, ...
    """

    def __init__(
        self,
        *,
        num_class: int,
        backbone: str = "resnet50",
        clip_len: int = 32,
        frame_stride: int = 2,
        alpha: int = 8,
        beta: int = 8,
        fusion_kernel: int = 5,
        lateral_norm: bool = True,
        slow_frames: str = "linspace",
        position_average: str = "logits",
        dropout: float = 0.5,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_clip(clip_len, frame_stride)
        if alpha < 1 or clip_len % alpha:
            fits = ", ".join(str(value) for value in (2, 4, 8, 16) if clip_len % value == 0) or "1"
            raise ConfigError(
                f"{WHERE}.alpha: {alpha} does not divide clip_len {clip_len}; take an alpha of {fits}, "
                f"or a clip_len that is a multiple of {max(alpha, 1)}"
            )
        arguments = check_kwargs(SlowFastNet, kwargs, name="slowfast", reserved=_OWN)
        self.clip = ClipSpec(num_frames=clip_len, frame_stride=frame_stride, sampling="clip", dataset="clip")
        self.name = f"slowfast_{backbone}"
        self.arch = backbone.split("_")[0]
        self.example_size = (clip_len, 256, 256)
        self.settings = {"alpha": alpha, "slow_frames": slow_frames}
        network = SlowFastNet(
            backbone,
            num_class=num_class,
            alpha=alpha,
            beta=beta,
            fusion_kernel=fusion_kernel,
            lateral_norm=lateral_norm,
            slow_frames=slow_frames,
            position_average=position_average,
            dropout=dropout,
            **arguments,
        )
        self.hold(network)

    def starts_random(self, key: str) -> bool:
        """Image weights leave the fast pathway and the lateral connections as they are."""
        return key.startswith(("network.fast.", "network.lateral.")) or super().starts_random(key)

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inflates them into the slow pathway; the fast one has too few channels and starts at random."""
        return self.inflated(state, "network.slow.")
