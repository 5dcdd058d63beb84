"""Probes a frozen network of images or of videos: only a small head learns, from the features of frames or clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from methods.base import Method, fold_frames, network_defaults, new_head, unfold_frames
from methods.clip3d import Clip3D
from methods.trunk import NUM_SEGMENTS, ClipFeatures, make_trunk
from networks import IMAGE_BACKBONES
from networks.checkpoints.load import TRUNK
from networks.clip.attentive_pooler import AttentivePooler, places_in_time
from networks.image.backbones import ALIASES, architecture, image_backbone
from networks.image.features import FrameFeatures, Pooling
from networks.prepare import CHANNELS_LAST, freeze_whole
from utils.clip_spec import CLIP_DIMS, ClipSpec
from utils.config.build import checked
from utils.errors import UserError


class Probe(Method):
    """Trains a head on a network that stays as it is: no gradients, norms and dropout as in evaluation.

    Of an image network, `linear` and `mlp` average the features of the frames, so their order does not matter;
    `attentive` reads the tokens of all frames, which know their places in time. They accept any number of frames,
    `ordered` only `num_segments`. Of a video network, which sees the order itself, they read the features of a clip.

    backbone: name of an image network, as in TSN; or of a network of clip3d; or slowfast/, tsm/ or tsn/ in front of the
        backbone of that method. Its weights come from `pretrained`.
    head: `linear`, one linear layer; `ordered`, one linear layer with weights for each place in time, for image
        networks; `mlp`, one hidden layer in front of it; `attentive`, the pooler of V-JEPA 2.
    num_segments: frames of a training clip, one from each equal part of the video, 8 by default, for image networks,
        tsm/ and tsn/.
    clip_len: frames of a training clip, for networks of clip3d and slowfast; None: as in these methods.
    frame_stride: step from one frame to the next, for networks of clip3d and slowfast; None: as in these methods.
    layer: block whose output is taken, counted from 0, or from the end if negative, for image networks; None: the last
        block, with all that the network does behind it.
    pooling: what stands for a frame, except with `attentive`: `cls`, the class token; `mean`, the mean over the tokens
        or the map of the picture; `both`. For image networks; None: what the network gives to its own classifier, with
        `layer` the mean.
    registers: number of tokens that do not lie in the picture and are left out of the mean, the class token among
        them, for image networks; None: as many as the network says.
    hidden: width of the hidden layer of `mlp`; None: that of the features.
    sweep: values of weight decay, in place of common.weight_decay, of which `optimizer: LBFGS` takes the best for
        training videos that are held out.
    depth: blocks of the attentive pooler, the last one included, which attends with a learned query; None: 4.
    num_heads: attention heads of the pooler; None: as many as make heads of about 64 channels.
    places: True: the pooler of `attentive` knows the place of each token in time; False: it does not see the order of
        frames; None: True.
    kwargs: arguments of the backbone's constructor; those of the method, if one stands in front of it.
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
        num_segments: PositiveInt | None = None,
        clip_len: PositiveInt | None = None,
        frame_stride: PositiveInt | None = None,
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
        self.name = f"probe_{backbone}"
        self._reads_tokens = head == "attentive"
        self._ordered = head == "ordered"
        trunk = make_trunk(backbone, kwargs, num_segments=num_segments, clip_len=clip_len, frame_stride=frame_stride)
        taken: dict[str, Any] = {"layer": layer, "pooling": pooling, "registers": registers}
        if trunk is None:
            self._set_image_network(backbone, kwargs, num_segments or NUM_SEGMENTS, taken)
        else:
            self._set_trunk(trunk, backbone, taken)
        freeze_whole(self.backbone)
        width = self._features.width * (self.clip.num_frames if self._ordered else 1)
        self.pooler: nn.Module | None = None
        self._places = head == "attentive" and places is not False
        if head == "mlp":
            self.pooler, width = nn.Sequential(nn.Linear(width, hidden or width), nn.GELU()), hidden or width
        elif head == "attentive":
            self.pooler = AttentivePooler(width, depth=DEPTH if depth is None else depth, num_heads=num_heads)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.head = new_head(width, num_class)
        self.sweep = sweep

    def _set_image_network(
        self, backbone: str, kwargs: Mapping[str, Any] | None, num_segments: int, taken: Mapping[str, Any]
    ) -> None:
        self.clip = ClipSpec(num_frames=num_segments)
        self.arch = architecture(backbone)
        self.example_size = (num_segments, 224, 224)
        self.network_defaults = network_defaults(IMAGE_BACKBONES.get(backbone))
        self.backbone, width = image_backbone(backbone, kwargs)
        reads: Any = "tokens" if self._reads_tokens else "vectors"
        self._features: FrameFeatures | ClipFeatures = FrameFeatures(
            self.backbone, width, backbone, reads=reads, **taken
        )

    def _set_trunk(self, trunk: Method, backbone: str, taken: Mapping[str, Any]) -> None:
        for name, value in taken.items():
            if value is not None:
                raise ValueError(f"{name}: is for image networks, and {backbone} is a video network")
        if self._ordered:
            raise ValueError(f"head: ordered is for image networks; {backbone} sees the order of frames itself")
        self.clip, self.arch, self.example_size = trunk.clip, trunk.arch, trunk.example_size
        # `kwargs` are those of the network of a clip3d, and of any other method as a whole
        self.network_defaults = trunk.network_defaults if type(trunk) is Clip3D else network_defaults(type(trunk))
        self.backbone, self._features = trunk, ClipFeatures(trunk, "tokens" if self._reads_tokens else "vectors")

    @property
    def trunk(self) -> Method | None:
        """Returns the video network that is kept as it is; None for an image network."""
        return self.backbone if isinstance(self.backbone, Method) else None

    @property
    def by_clip(self) -> bool:
        """Returns whether the frames of a clip are computed together, and not each alone."""
        return self.trunk is not None

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings; a backbone with two names has the one of its published files."""
        found = super().settings_for(given)
        return found | {"backbone": ALIASES.get(str(found["backbone"]), found["backbone"])}

    def starts_random(self, key: str) -> bool:
        """Tells whether image weights leave an entry random: of the head's own layers, or of a video network."""
        if self.trunk is not None and key.startswith(TRUNK):
            return self.trunk.starts_random(key.removeprefix(TRUNK))
        return key.startswith("pooler.")

    def resized_tables(self, state: Mapping[str, Tensor], made_for: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns the tables of places in `state` that the video network's clips need in another size."""
        if self.trunk is None:
            return {}
        inside = {key.removeprefix(TRUNK): value for key, value in state.items() if key.startswith(TRUNK)}
        return {f"{TRUNK}{key}": value for key, value in self.trunk.resized_tables(inside, made_for).items()}

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turns the state dict of an image network, without its classifier, into entries of this method's."""
        whole = state if self.trunk is None else self.trunk.from_image_weights(state)
        return super().from_image_weights(whole)

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W), or their features (B, T', ...), to logits (B, K)."""
        return self.classify(self.features(clips) if clips.dim() == CLIP_DIMS else clips)

    def features(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to what the head reads of them: vectors (B, T', D), or tokens (B, T', L, D).

        An image network has T' = T. What a video network tells of a clip is one vector, or tokens of fewer moments.
        """
        if self.trunk is not None:
            return self._in_groups(clips, CLIPS_OF_A_GROUP)
        return unfold_frames(self._in_groups(fold_frames(clips), FRAMES_OF_A_GROUP), clips.shape[2])

    def _in_groups(self, given: Tensor, of_a_gpu: int) -> Tensor:
        """Computes the features of frames or clips, in groups of one size if that is asked for."""
        read = self._features.tokens if self._reads_tokens else self._features.vectors
        if not self.in_groups:
            return read(self.backbone, given)
        size, found = (of_a_gpu if given.device.type == "cuda" else 1), []  # on meta, MACs of a clip are counted
        for part in given.split(size):
            # new memory, because the strides of a single frame or clip depend on where it comes from, and bits on them
            whole = torch.empty(
                (size, *given.shape[1:]),
                dtype=given.dtype,
                device=given.device,
                memory_format=CHANNELS_LAST[given.dim()],
            )
            whole[: len(part)] = part
            whole[len(part) :] = 0
            found.append(read(self.backbone, whole)[: len(part)])
        return torch.cat(found)

    @property
    def frozen_settings(self) -> dict[str, Any]:
        """Returns what decides the features besides the weights."""
        names = ("backbone", "layer", "pooling", "registers", "kwargs")
        return {name: self.settings[name] for name in names} | {"tokens": self._reads_tokens}

    def frozen_state(self) -> dict[str, Tensor]:
        """Returns the weights that decide the features."""
        return self.backbone.state_dict()

    def classify(self, features: Tensor) -> Tensor:
        """Maps the features of clips, (B, T', D) or (B, T', L, D), to logits (B, K)."""
        if self._reads_tokens:
            if self._places:
                # a clip with more frames from the same video covers the same time, and a longer window more
                of = self.clip.num_frames if self.clip.sampling == "segments" else features.shape[1]
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


FRAMES_OF_A_GROUP, CLIPS_OF_A_GROUP = 16, 4  # that a GPU computes at once; a CPU takes them one by one
DEPTH = 4  # of the attentive pooler, as V-JEPA 2 has it


def _refuse_others(head: str, given: Mapping[str, object], wanted: str) -> None:
    """Raises: ValueError for an argument that only another head has."""
    for name, value in given.items():
        if value is not None and head != wanted:
            raise ValueError(f"{name}: is for head: {wanted}, and head is {head}")
