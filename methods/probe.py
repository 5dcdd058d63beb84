"""Probes a frozen image network: only a small head learns, from the features of single frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from methods.base import Method, fold_frames, network_defaults, new_head, unfold_frames
from networks import IMAGE_BACKBONES
from networks.image.backbones import ALIASES, architecture, image_backbone
from networks.image.features import FrameFeatures, Pooling
from networks.prepare import freeze_whole
from networks.temporal.attentive_pooler import AttentivePooler, places_in_time
from utils.clip_spec import CLIP_DIMS, ClipSpec
from utils.config.build import checked
from utils.errors import UserError


class Probe(Method):
    """Trains a head on an image network that stays as it is: no gradients, norms and dropout as in evaluation.

    `linear` and `mlp` average the features of the frames, so their order does not matter; `attentive` reads the tokens
    of all frames, which know their places in time. They accept any number of frames, `ordered` only `num_segments`.

    backbone: name of an image network, as in TSN; its weights come from `pretrained`.
    head: `linear`, one linear layer; `ordered`, one linear layer with weights for each place in time; `mlp`, one hidden
        layer in front of it; `attentive`, the pooler of V-JEPA 2.
    num_segments: frames of a training clip, one from each equal part of the video.
    layer: block whose output is taken, from 0, or from the end if negative; None: the last, with all that the network
        does behind it.
    pooling: what stands for a frame, except with `attentive`: `cls`, the class token; `mean`, the mean over the tokens
        or the map of the picture; `both`; None: what the network gives to its own classifier, with `layer` the mean.
    registers: tokens that do not lie in the picture and are left out of the mean, the class token among them; None: as
        many as the network says.
    hidden: width of the hidden layer of `mlp`; None: that of the features.
    sweep: values of weight decay, in place of common.weight_decay, of which `optimizer: LBFGS` takes the best for
        training videos that are held out.
    depth: blocks of the attentive pooler, the last one included, which attends with a learned query; None: 4.
    num_heads: attention heads of the pooler; None: as many as make heads of about 64 channels.
    places: whether tokens know their place in time; without, `attentive` does not see the order of frames either.
    kwargs: arguments of the backbone's constructor.
    """

    frozen_part = "backbone"
    NOT_SETTINGS = Method.NOT_SETTINGS | {"sweep"}

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_class: PositiveInt,
        head: Literal["linear", "ordered", "mlp", "attentive"] = "linear",
        num_segments: PositiveInt = 8,
        layer: int | None = None,
        pooling: Pooling | None = None,
        registers: NonNegativeInt | None = None,
        hidden: PositiveInt | None = None,
        sweep: Annotated[list[NonNegativeFloat], Field(min_length=1)] | None = None,
        depth: PositiveInt | None = None,
        num_heads: PositiveInt | None = None,
        places: bool | None = None,
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _refuse_others(head, {"hidden": hidden}, "mlp")
        _refuse_others(head, {"depth": depth, "num_heads": num_heads, "places": places}, "attentive")
        if head == "attentive" and pooling is not None:
            raise ValueError(f"pooling: {pooling} is for the other heads; attentive reads all tokens")
        self.clip = ClipSpec(num_frames=num_segments)
        self.arch = architecture(backbone)
        self.name = f"probe_{backbone}"
        self.example_size = (num_segments, 224, 224)
        self.network_defaults = network_defaults(IMAGE_BACKBONES.get(backbone))
        self.backbone, width = image_backbone(backbone, kwargs)
        self._reads_tokens = head == "attentive"
        self._features = FrameFeatures(
            self.backbone,
            width,
            backbone,
            reads="tokens" if self._reads_tokens else "vectors",
            layer=layer,
            pooling=pooling,
            registers=registers,
        )
        freeze_whole(self.backbone)
        self._ordered = head == "ordered"
        width = self._features.width * (num_segments if self._ordered else 1)
        self.pooler: nn.Module | None = None
        self._places = head == "attentive" and places is not False
        if head == "mlp":
            self.pooler, width = nn.Sequential(nn.Linear(width, hidden or width), nn.GELU()), hidden or width
        elif head == "attentive":
            self.pooler = AttentivePooler(width, depth=DEPTH if depth is None else depth, num_heads=num_heads)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.head = new_head(width, num_class)
        self.sweep = sweep

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings; a backbone with two names has the one of its published files."""
        found = super().settings_for(given)
        return found | {"backbone": ALIASES.get(str(found["backbone"]), found["backbone"])}

    def starts_random(self, key: str) -> bool:
        """Tells whether image weights leave an entry random: those of the head's own layers."""
        return key.startswith("pooler.")

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W), or the features of their frames (B, T, ...), to logits (B, K)."""
        if clips.dim() != CLIP_DIMS:
            return self.classify(clips)
        return self.classify(unfold_frames(self.frame_features(fold_frames(clips)), clips.shape[2]))

    def frame_features(self, frames: Tensor) -> Tensor:
        """Maps frames (N, C, H, W) to what the head reads of them: vectors (N, D), or tokens (N, L, D)."""
        read = self._features.tokens if self._reads_tokens else self._features.vectors
        if not self.in_groups:
            return read(self.backbone, frames)
        size, found = (1 if frames.device.type == "cpu" else GROUP), []
        for part in frames.contiguous(memory_format=torch.channels_last).split(size):
            whole = torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])]) if len(part) < size else part
            found.append(read(self.backbone, whole)[: len(part)])
        return torch.cat(found)

    @property
    def frozen_settings(self) -> dict[str, Any]:
        """Returns what decides the features of a frame besides the weights."""
        names = ("backbone", "layer", "pooling", "registers", "kwargs")
        return {name: self.settings[name] for name in names} | {"tokens": self._reads_tokens}

    def frozen_state(self) -> dict[str, Tensor]:
        """Returns the weights that decide the features of a frame."""
        return self.backbone.state_dict()

    def classify(self, features: Tensor) -> Tensor:
        """Maps the features of a clip's frames, (B, T, D) or (B, T, L, D), to logits (B, K)."""
        if self._reads_tokens:
            if self._places:
                of = self.clip.num_frames
                places = places_in_time(features.shape[1], features.shape[-1], of=of, like=features)
                features = features + places[:, None]
            rows = features.flatten(1, 2)
        elif self._ordered:
            if features.shape[1] != self.clip.num_frames:
                raise UserError(
                    f"common.test.num_frames: head: ordered has weights for each of its {self.clip.num_frames} frames "
                    f"and cannot see {features.shape[1]}; leave the key out"
                )
            rows = features.flatten(1)
        else:
            rows = features.mean(1)
        for layer in (self.pooler, self.dropout, self.head):
            rows = rows if layer is None else layer(rows)
        return rows


GROUP = 16  # frames that a GPU computes at once; a CPU takes them one by one
DEPTH = 4  # of the attentive pooler, as V-JEPA 2 has it


def _refuse_others(head: str, given: Mapping[str, object], wanted: str) -> None:
    """Raises: ValueError for an argument that only another head has."""
    for name, value in given.items():
        if value is not None and head != wanted:
            raise ValueError(f"{name}: is for head: {wanted}, and head is {head}")
