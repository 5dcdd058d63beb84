"""Finds when something happens: a small network over time reads the features of a whole video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from methods.probe import Probe
from networks.image.features import Pooling
from networks.temporal.mstcn import MSTCN
from networks.temporal.span_pyramid import BESIDES, SpanPyramid
from utils.clip_spec import CLIP_DIMS
from utils.config.build import checked

Seconds = Annotated[float, Field(gt=0.0)]
PART = "segmenter"


class Segment(Probe):
    """Trains a network over time on the features that a frozen network has of a whole video.

    Windows slide over the video. The frozen network, that of a probe, turns each window into one vector, and the
    network over time reads the vectors of all windows at once and labels each of them.

    backbone, kwargs: as in a probe.
    num_segments: frames of the clip that a window becomes, one from each equal part of it, 8 by default, for image
        networks, tsm/ and tsn/.
    clip_len: frames of the clip that a window becomes, for networks of clip3d and slowfast; None: as in these methods.
    frame_stride: step from one frame of that clip to the next, for networks of clip3d and slowfast; None: as in these
        methods.
    layer: block whose output is taken, for image networks, as in a probe.
    pooling: what stands for a frame, for image networks, as in a probe.
    registers: number of tokens that do not lie in the picture, for image networks, as in a probe.
    head: `mstcn`, which gives each moment one class or the background; `actionformer`, which finds spans by their ends,
        even if they overlap.
    window: seconds of a window.
    step: seconds from one window to the next.
    stages: number of networks in a row, each of which corrects the one before it, with mstcn; None: 4.
    layers: number of convolutions in a stage, with mstcn; n of them see 2 ** (n + 1) - 1 windows; None: 10.
    levels: number of time scales, each half as fine as the one before it, with actionformer; None: 6.
    channels: width of the network over time; None: 64 with mstcn, 256 with actionformer.
    dropout: share of the values that each convolution loses in training; MS-TCN's own is 0.5.
    """

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_class: PositiveInt,
        head: Literal["mstcn", "actionformer"] = "mstcn",
        window: Seconds = 1.0,
        step: Seconds = 0.25,
        num_segments: PositiveInt | None = None,
        clip_len: PositiveInt | None = None,
        frame_stride: PositiveInt | None = None,
        layer: int | None = None,
        pooling: Pooling | None = None,
        registers: NonNegativeInt | None = None,
        stages: Annotated[PositiveInt, Field(le=16)] | None = None,
        layers: Annotated[PositiveInt, Field(le=16)] | None = None,
        levels: Annotated[PositiveInt, Field(le=16)] | None = None,
        channels: PositiveInt | None = None,
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            num_class=num_class,
            num_segments=num_segments,
            clip_len=clip_len,
            frame_stride=frame_stride,
            layer=layer,
            pooling=pooling,
            registers=registers,
            kwargs=kwargs,
        )
        self.name = f"segment_{backbone}"
        self.clip = replace(self.clip, window=window, step=step)
        del self._modules["head"]  # a probe's
        sizes = {"stages": stages, "layers": layers, "levels": levels, "channels": channels}
        for name, value in sizes.items():
            if value is not None and name != "channels" and (name == "levels") != (head == "actionformer"):
                raise ValueError(f"{name}: is for the other head, and head is {head}")
        given = {name: value for name, value in sizes.items() if value is not None}
        kind: Any = {"mstcn": MSTCN, "actionformer": SpanPyramid}[head]
        self.segmenter: Any = kind(self._features.width, num_class, dropout=dropout, **given)

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """Returns the classifier, of the last stage with mstcn."""
        classifier: nn.Module = self.segmenter.head
        return classifier

    def starts_random(self, key: str) -> bool:
        """Tells whether image weights leave an entry random: of the network over time, or of a video network."""
        return key.startswith(f"{PART}.") or super().starts_random(key)

    def forward(self, seen: Tensor) -> Tensor:
        """Maps the features of whole videos (B, T, D) to what `label` returns.

        A single clip, (B, C, T, H, W), is a video of one moment, and its logits are (B, K).
        """
        if seen.dim() != CLIP_DIMS:
            return self.label(seen)
        said = self.label(self.features(seen).mean(1, keepdim=True))
        if isinstance(self.segmenter, MSTCN):
            return said[:, -1, 0].log_softmax(-1)[:, :-1]
        # the finest level; the factor of 0 lets its other columns have a gradient, as all that learns must have one
        return said[:, 0, :-BESIDES] + 0 * said.sum((1, 2))[:, None]

    def label(self, features: Tensor) -> Tensor:
        """Maps features (B, T, D), nan behind the end of a video, to what the head says of the moments.

        mstcn: logits of every stage (B, stages, T, K + 1), the last class being the background.
        actionformer: points (B, P, K + 4), see networks.temporal.span_pyramid.
        """
        there = ~features[..., 0].isnan()
        found: Tensor = self.segmenter(features.nan_to_num(nan=0.0), there)
        return found
