"""Temporal Segment Networks: an image network on each frame, the average of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from methods.base import Method, fold_frames, mean_over_frames, new_head, stack_of
from networks.image.backbones import architecture, image_backbone
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError

CONSENSUS = ("avg",)
STACK = 5  # flow fields, or differences, of one place (Simonyan and Zisserman 2014 took 10, TSN 5)


class TSN(Method):
    """Temporal Segment Networks (Wang et al. 2016, arXiv 1608.00859).

    Each frame's features pass dropout (no module when it is 0) and the classifier; the clip's logits are the average
    over its frames, so their order does not matter. Any number of frames is accepted: training sees `num_segments`,
    the paper's test 25.

    backbone: see networks/image/backbones.py. kwargs: for its constructor.
    num_segments: places of a training clip, one in each equal part of the video.
    consensus: how their logits become one: `avg`.
    modality: what each place of a segment is: an `rgb` frame; `flow`, the 2 * stack channels of consecutive fields, x
        and y in turn; `rgbdiff`, the 3 * stack of differences between consecutive frames.
    stack: consecutive fields or differences at each place, 5 by default.
    init_std: of the classifier's weights.
    """

    def __init__(
        self,
        *,
        backbone: str,
        num_class: int,
        num_segments: int = 3,
        dropout: float = 0.0,
        consensus: str = "avg",
        modality: str = "rgb",
        stack: int | None = None,
        init_std: float = 0.01,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_segments(num_segments, consensus)
        stack = stack_of(modality, stack, default=STACK)
        self.clip = ClipSpec(num_frames=num_segments, modality=modality, stack=stack)
        self.settings = {"modality": modality}
        self.arch = architecture(backbone)
        self.name = f"tsn_{backbone}"
        self.backbone, width = image_backbone(backbone, kwargs, in_channels=self.clip.in_channels)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.head = new_head(width, num_class, std=init_std)
        self.example_size = (num_segments, 224, 224)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) -> logits (B, K)."""
        return mean_over_frames(self.frame_logits(fold_frames(clips)), clips.shape[2])

    def frame_logits(self, frames: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T, K)."""
        features = self.backbone(frames)
        if self.dropout is not None:
            features = self.dropout(features)
        logits: Tensor = self.head(features)
        return logits


def check_segments(num_segments: int, consensus: str) -> None:
    """Raises: ConfigError for a clip without frames or a consensus that is not built."""
    if num_segments < 1:
        raise ConfigError(f"common.model.num_segments: should be at least 1, but is {num_segments}")
    if consensus not in CONSENSUS:
        raise ConfigError(f"common.model.consensus: {consensus!r} is not one of {', '.join(CONSENSUS)}")
