"""Implements TSN: an image network runs on each frame, and the scores of the frames are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import PositiveInt
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from methods.base import (
    Method,
    ModalityName,
    fold_frames,
    mean_over_frames,
    network_defaults,
    new_head,
    resolve_stack,
    unfold_frames,
)
from networks import IMAGE_BACKBONES
from networks.image.backbones import ALIASES, architecture, image_backbone
from networks.temporal import TEMPORAL_MODULES
from networks.temporal.insert import insert_temporal, leaves_one_row, temporal_parts
from networks.temporal.module import OF_THE_PLACE, TemporalModule
from networks.temporal.relation import Relations
from networks.temporal.shift import TemporalPool, pooled_length
from networks.temporal.tdn import ResNetOfDifferences
from networks.temporal.tpn import TPN, last_stages
from utils.clip_spec import ClipSpec
from utils.config.build import check_name, checked, parameters_of

RANDOM = (".temporal.", "relations.", "backbone.motion.bn1.")  # parts that no image network has
STACK = 5  # flow fields or differences at one place (Simonyan and Zisserman 2014 take 10, TSN takes 5)


class TSN(Method):
    """Runs Temporal Segment Networks (Wang et al. 2016, arXiv 1608.00859), also with a temporal module inside.

    The features of each frame pass dropout (no module if it is 0) and the classifier. The logits of a clip are the
    average over its frames, so without a temporal module their order does not matter. Any number of frames is accepted,
    except by modules that mix all frames. Training uses `num_segments`, the paper tests with 25.

    backbone: name of an image network, see networks/image/backbones.py.
    kwargs: arguments of the backbone's constructor.
    num_segments: frames of a training clip, one from each equal part of the video.
    frame_stride: step from one frame to the next, for clips that are windows of a video; None: one frame of each part.
    consensus: how the frames become a clip: `avg` averages their logits; `trn` and `trn_multiscale` classify relations
        of frames (Zhou et al. 2018, arXiv 1711.08496) and take clips of `num_segments` frames only.
    modality: what the network sees at each place of a clip: an `rgb` frame; `flow`, the 2 * stack channels of
        consecutive flow fields, x and y in turn; `rgbdiff`, the 3 * stack channels of differences between frames.
    stack: consecutive flow fields or differences at each place, 5 by default.
    init_std: standard deviation of the classifier's initial weights.
    temporal: what lets frames see each other inside the image network: `name`, a module of docs/temporal.md (`tam`,
        `gsf`, `mvf`, ...); `stages`, prefixes of the parts of the network that get it; and the module's own arguments.
    neck: what stands between a ResNet and the classifier and makes one prediction of all frames: `tpn`, the Temporal
        Pyramid Network, which reads the last two stages (Yang et al. 2020, arXiv 2004.03548).
    """

    traced = False  # whether the graph of the image network is looked at, which fixes the size of a vision transformer

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_class: PositiveInt,
        num_segments: PositiveInt = 3,
        frame_stride: PositiveInt | None = None,
        dropout: float = 0.0,
        consensus: Literal["avg", "trn", "trn_multiscale"] = "avg",
        modality: ModalityName = "rgb",
        stack: PositiveInt | None = None,
        init_std: float = 0.01,
        temporal: Mapping[str, Any] | None = None,
        neck: Literal["tpn"] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        kind = None if temporal is None else _kind_of(temporal)
        own_stack = 1 if kind is None else kind.stack
        stack = resolve_stack(modality, stack, default=STACK, own=own_stack)
        self._trained = tuple(f"backbone.{part}." for part in kind.trains) if kind else ()
        self.clip = ClipSpec(num_segments, modality=modality, stack=stack)
        if frame_stride is not None:
            self.clip = ClipSpec(num_segments, frame_stride, "clip", "clip", modality=modality, stack=stack)
        self.arch = architecture(backbone)
        self.name = f"tsn_{backbone}"
        self.network_defaults = network_defaults(IMAGE_BACKBONES.get(backbone))
        self.backbone, width = image_backbone(
            backbone,
            kwargs,
            in_channels=self.clip.in_channels // own_stack,
            any_size=(kind is None or kind.spot == "transformer") and not self.traced,
        )
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.relations = None
        if consensus != "avg":
            self.relations = Relations(width, num_frames=num_segments, multiscale=consensus == "trn_multiscale")
            width = self.relations.out_features
        self.head = new_head(width, num_class, std=init_std)
        self.example_size = (num_segments, 224, 224)
        if temporal is not None and kind is not None:
            arguments = {key: value for key, value in temporal.items() if key != "name"}
            try:
                insert_temporal(self.backbone, backbone, kind, num_frames=num_segments, **arguments)
            except ValueError as error:
                raise ValueError(f"temporal.{error}") from None
            self.name = f"tsn_{temporal['name']}_{backbone}"
            if consensus != "avg" and leaves_one_row(self.backbone):
                raise ValueError(f"consensus: {temporal['name']} averages the frames; {consensus} finds none to relate")
        self.neck: TPN | None = None
        if neck is not None:
            if type(self.backbone) is not ResNet:
                raise ValueError(
                    f"neck: {neck} reads the last two stages of a plain ResNet of torchvision, which {self.name} does "
                    "not have"
                )
            if self.relations is not None:
                raise ValueError(f"neck: {neck} leaves no frames for consensus {consensus}; take only one of them")
            self.neck = TPN(width)
        self._find_parts()

    def _find_parts(self) -> None:
        """Notes the parts of the image network that have to know how many frames a clip has."""
        self._parts = temporal_parts(self.backbone)
        self._is_pooled = any(isinstance(part, TemporalPool) for part, _ in self._parts)
        self._leaves_one = leaves_one_row(self.backbone)
        self._num_frames = 0
        self.set_num_frames(self.clip.num_frames)

    def set_num_frames(self, num_frames: int) -> int:
        """Tells the parts how many frames the next clips have; returns how many of them the last layers see."""
        if num_frames != self._num_frames:
            self._set_parts(num_frames)
        return self._after_pool(num_frames)

    def _set_parts(self, num_frames: int) -> None:
        if self.relations is not None:
            self._refuse_length(num_frames)
        for part, is_pooled in self._parts:
            if isinstance(part, TemporalModule) and not part.any_length:
                self._refuse_length(num_frames)
            part.num_frames = self._after_pool(num_frames) if is_pooled else num_frames
        self._num_frames = num_frames

    def _refuse_length(self, num_frames: int) -> None:
        built_for = self.clip.num_frames
        if num_frames != built_for:
            raise ValueError(f"{self.name} mixes all {built_for} frames of a clip, and takes no clip of {num_frames}")

    def _after_pool(self, num_frames: int) -> int:
        """Returns how many frames of a clip the last layers see."""
        if self._leaves_one:
            return 1
        return pooled_length(num_frames) if self._is_pooled else num_frames

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings; a backbone with two names has the one of its published files."""
        found = super().settings_for(given)
        if temporal := found.get("temporal"):
            known = parameters_of(TEMPORAL_MODULES[temporal["name"]]).values()
            defaults = {one.name: one.default for one in known if one.default is not one.empty}
            found["temporal"] = {key: defaults[key] for key in defaults if key not in OF_THE_PLACE} | temporal
        return found | {"backbone": ALIASES.get(str(found["backbone"]), found["backbone"])}

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turns the state dict of an image network, without its classifier, into entries of this method's."""
        whole = self.backbone.from_image(state) if isinstance(self.backbone, ResNetOfDifferences) else state
        return super().from_image_weights(whole)

    def starts_random(self, key: str) -> bool:
        """Tells whether no image network has this entry: temporal modules, relations and the like."""
        return any(part in key for part in RANDOM) or super().starts_random(key)

    def is_base(self, name: str) -> bool:
        """Tells whether a part or an entry is of the image network, not of a temporal module or what it trains."""
        inside = f"{name}."
        return inside.startswith("backbone.") and not (self.starts_random(inside) or inside.startswith(self._trained))

    @property
    def averages_frames(self) -> bool:
        """Tells whether no frame of a clip sees another; a method with a forward of its own may do anything."""
        alone = not self._parts and self.relations is None and self.neck is None
        return alone and type(self).forward is TSN.forward

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to logits (B, K)."""
        num_frames = self.set_num_frames(clips.shape[2])
        if self.neck is not None:
            return self.head(self._pyramid(fold_frames(clips), num_frames))
        if self.relations is None:
            return mean_over_frames(self.frame_logits(fold_frames(clips)), num_frames)
        features = unfold_frames(self._features(fold_frames(clips)), num_frames)
        return self.head(self.relations(features))

    def frame_logits(self, frames: Tensor) -> Tensor:
        """Maps frames (B*T, C, H, W) to logits (B*T, K)."""
        logits: Tensor = self.head(self._features(frames))
        return logits

    def _features(self, frames: Tensor) -> Tensor:
        features: Tensor = self.backbone(frames)
        return features if self.dropout is None else self.dropout(features)

    def _pyramid(self, frames: Tensor, num_frames: int) -> Tensor:
        """Maps frames (B*T, C, H, W), of which `num_frames` reach the last stages, to features of clips (B, width)."""
        assert self.neck is not None and isinstance(self.backbone, ResNet)
        early, late = last_stages(self.backbone, frames)
        clips = (unfold_frames(level, num_frames).transpose(1, 2) for level in (early, late))  # B, C, T, H, W
        features: Tensor = self.neck(*clips).mean((2, 3, 4))
        return features if self.dropout is None else self.dropout(features)


def _kind_of(temporal: Mapping[str, Any]) -> type[TemporalModule]:
    """Returns the module that `temporal` names. Raises: ValueError for a name that is missing or unknown."""
    name = temporal.get("name")
    if name is None:
        raise ValueError(f"temporal.name: missing; one of {', '.join(TEMPORAL_MODULES)}")
    check_name(TEMPORAL_MODULES, name, where="temporal.name")
    return TEMPORAL_MODULES[name]
