"""Implements TSN: an image network runs on each frame, and the scores of the frames are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from methods.base import (
    Method,
    ModalityName,
    fold_frames,
    mean_over_frames,
    network_defaults,
    new_head,
    resolve_stack,
)
from networks import IMAGE_BACKBONES
from networks.image.backbones import ALIASES, architecture, image_backbone
from utils.clip_spec import ClipSpec
from utils.config.build import checked

STACK = 5  # flow fields or differences at one place (Simonyan and Zisserman 2014 take 10, TSN takes 5)


class TSN(Method):
    """Runs Temporal Segment Networks (Wang et al. 2016, arXiv 1608.00859).

    The features of each frame pass dropout (no module if it is 0) and the classifier. The logits of a clip are the
    average over its frames, so the order of the frames does not matter. Any number of frames is accepted: training
    uses `num_segments`, the paper tests with 25.

    backbone: name of an image network, see networks/image/backbones.py.
    kwargs: arguments of the backbone's constructor.
    num_segments: frames of a training clip, one from each equal part of the video.
    consensus: how the logits of the frames become those of the clip; `avg` averages them.
    modality: what the network sees at each place of a clip: an `rgb` frame; `flow`, the 2 * stack channels of
        consecutive flow fields, x and y in turn; `rgbdiff`, the 3 * stack channels of differences between frames.
    stack: consecutive flow fields or differences at each place, 5 by default.
    init_std: standard deviation of the classifier's initial weights.
    """

    any_size = True  # whether vision transformers take frames of another size than their own

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_class: PositiveInt,
        num_segments: PositiveInt = 3,
        dropout: float = 0.0,
        consensus: Literal["avg"] = "avg",
        modality: ModalityName = "rgb",
        stack: PositiveInt | None = None,
        init_std: float = 0.01,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        stack = resolve_stack(modality, stack, default=STACK)
        self.clip = ClipSpec(num_frames=num_segments, modality=modality, stack=stack)
        self.arch = architecture(backbone)
        self.name = f"tsn_{backbone}"
        self.network_defaults = network_defaults(IMAGE_BACKBONES.get(backbone))
        self.backbone, width = image_backbone(
            backbone, kwargs, in_channels=self.clip.in_channels, any_size=self.any_size
        )
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.head = new_head(width, num_class, std=init_std)
        self.example_size = (num_segments, 224, 224)

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings; a backbone with two names has the one of its published files."""
        found = super().settings_for(given)
        return found | {"backbone": ALIASES.get(str(found["backbone"]), found["backbone"])}

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to logits (B, K)."""
        return mean_over_frames(self.frame_logits(fold_frames(clips)), clips.shape[2])

    def frame_logits(self, frames: Tensor) -> Tensor:
        """Maps frames (B*T, C, H, W) to logits (B*T, K)."""
        features = self.backbone(frames)
        if self.dropout is not None:
            features = self.dropout(features)
        logits: Tensor = self.head(features)
        return logits
