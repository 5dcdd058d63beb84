"""Builds a whole video network as the frozen backbone of a probe, and takes the features of clips out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from methods.base import Method, fold_frames, unfold_frames
from methods.clip3d import Clip3D, ClipMethod
from methods.slowfast import SlowFast
from methods.tsm import TSM
from methods.tsn import TSN
from networks import CLIP_NETWORKS
from networks.clip.features import clip_tokens, token_width
from networks.image.backbones import TIMM, image_networks
from networks.image.features import FrameFeatures, caught
from utils.config.build import call, check_name

NUM_SEGMENTS = 8  # frames of a probe's clip where nobody says how many
METHODS: Mapping[str, Callable[..., Method]] = {"slowfast": SlowFast, "tsm": TSM, "tsn": TSN}  # of METHOD/BACKBONE


def make_trunk(
    backbone: str,
    kwargs: Mapping[str, Any] | None,
    *,
    num_segments: int | None,
    clip_len: int | None,
    frame_stride: int | None,
) -> Method | None:
    """Builds the video network that `backbone` names, without its classifier; None if the name is an image network's.

    backbone: a name in networks.CLIP_NETWORKS; or slowfast/, tsm/ or tsn/ in front of that method's own backbone.
    kwargs: arguments of the network's constructor; with a method in front, those of the method.
    num_segments, clip_len, frame_stride: the clip, as the method has it; None: NUM_SEGMENTS, or what the method has.

    Raises: ValueError that begins with an argument's name.
    """
    kind, _, inner = backbone.partition("/")
    window = {"clip_len": clip_len, "frame_stride": frame_stride}
    segments = {"num_segments": num_segments}
    if backbone in CLIP_NETWORKS:
        _refuse(segments, f"{backbone} sees clip_len frames that are frame_stride apart")
        trunk: Method = Clip3D(backbone=backbone, num_class=1, kwargs=kwargs, **_given(window))
        trunk.kind = "clip3d"
    elif kind in METHODS:
        if not inner:
            raise ValueError(f"backbone: {kind} is a method; put its own backbone behind it: {kind}/resnet50")
        if kind == "slowfast":
            _refuse(segments, f"{backbone} sees clip_len frames that are frame_stride apart")
        else:
            _refuse(window, f"{backbone} sees num_segments frames, one from each equal part of the video")
            segments = {"num_segments": num_segments or NUM_SEGMENTS}
        for name in window if kind == "slowfast" else segments:
            if name in (kwargs or {}):
                raise ValueError(f"kwargs.{name}: {backbone} does not take it here; it is a key of the probe: {name}")
        if "modality" in (kwargs or {}):
            raise ValueError(f"kwargs.modality: a probe sees rgb; for others take type: {kind} and freeze: [all]")
        own = {"backbone": inner, "num_class": 1, "dropout": 0.0, **_given(window | segments)}
        trunk = call(METHODS[kind], kwargs or {}, backbone, "kwargs", **own)
        trunk.kind = kind
    else:
        if not backbone.startswith(TIMM):
            check_name([*image_networks(), *CLIP_NETWORKS], backbone, where="backbone")
        _refuse(window, f"{backbone} is an image network, which sees num_segments frames")
        return None
    return trunk


class ClipFeatures:
    """Says which features of a video network are taken. It holds no weights: whoever uses it owns the network.

    trunk: the network; it loses its classifier here.
    reads: whether `vectors` will be called, or `tokens`.

    Attributes:
        width: channels of a clip's vector, or of a token.
    """

    def __init__(self, trunk: Method, reads: Literal["vectors", "tokens"]) -> None:
        head: Any = trunk.head
        self.width = int(head.in_features if isinstance(head, nn.Linear) else head.in_channels)
        self._head = trunk.head_prefix.removesuffix(".")
        parent, _, name = self._head.rpartition(".")
        setattr(trunk.get_submodule(parent), name, nn.Identity())
        self._frames: FrameFeatures | None = None
        if reads == "tokens" and isinstance(trunk, ClipMethod):
            self.width = token_width(trunk.network, self.width)
        elif reads == "tokens" and isinstance(trunk, TSN):
            trial = trunk.clip.num_frames, trunk.clip.in_channels
            backbone, name = trunk.backbone, str(trunk.settings["backbone"])
            self._frames = FrameFeatures(backbone, self.width, name, reads="tokens", trial=trial)
            self.width = self._frames.width

    def vectors(self, trunk: nn.Module, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to vectors (B, 1, width): the mean of what the classifier would see."""
        seen = caught(trunk, self._head, clips)
        if seen.dim() == clips.dim():  # of a convolution
            seen = seen.flatten(2).transpose(1, 2)
        return seen.reshape(clips.shape[0], -1, self.width).mean(1, keepdim=True)  # over positions, or frames

    def tokens(self, trunk: Any, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to tokens (B, T', L, width): L places in the picture at each of T' moments."""
        if self._frames is None:
            return clip_tokens(trunk.network, clips)
        moments = trunk.set_num_frames(clips.shape[2])
        return unfold_frames(self._frames.tokens(trunk.backbone, fold_frames(clips)), moments)


def _given(arguments: Mapping[str, int | None]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _refuse(arguments: Mapping[str, int | None], why: str) -> None:
    for name in _given(arguments):
        raise ValueError(f"{name}: {why}")
