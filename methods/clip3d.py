"""Runs one network over a clip of consecutive frames: I3D, R3D, R(2+1)D, S3D, CSN, X3D, MViT, Swin, VideoMAE, ..."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import PositiveInt
from torch import Tensor, nn
from torchvision.models.video import SwinTransformer3d

from methods.base import Method, ModalityName, network_defaults, resolve_stack
from networks import CLIP_NETWORKS
from networks.clip.fit_tables import fit_tables
from networks.clip.inflate import inflate
from networks.clip.resnet3d import ResNet3d
from networks.clip.swin import from_image_swin
from networks.clip.table import EXAMPLES, image_architecture
from networks.clip.uniformer_v2 import ADDED, UniFormerV2, from_clip
from networks.first_convolution import replace_first_convolution
from networks.temporal.tpn import TPN
from utils.clip_spec import ClipSpec
from utils.config.build import ArgumentError, call, check_name, checked
from utils.errors import CheckpointError

LENGTHS = ("sample_duration", "temporal_size")  # arguments of networks that are the frames of a clip
SEGMENTS = "segments"  # argument of networks that are the windows of a clip


class ClipMethod(Method):
    """Runs one network over the clip and does nothing else; the classifier is part of the network."""

    clip: ClipSpec
    network: nn.Module
    head_path: str

    def set_network(self, network: nn.Module) -> None:
        """Makes `network` this method's; the classifier is its last linear layer or 1x1x1 convolution."""
        layers = [name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv3d))]
        self.network, self.head_path = network, f"network.{layers[-1]}"

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """Returns the classifier, which is a part of the network."""
        return self.get_submodule(self.head_path)

    @property
    def head_prefix(self) -> str:
        """Returns the prefix of the classifier's entries in the state dict: "network.fc."."""
        return f"{self.head_path}."

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to logits (B, K)."""
        logits: Tensor = self.network(clips)
        return logits

    def resized_tables(self, state: Mapping[str, Tensor], made_for: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns the tables of places in `state` that are for clips of another size, resized to this one's."""
        kwargs = made_for.get("kwargs") or {}
        frames = made_for.get("clip_len") or kwargs.get("temporal_size")
        return fit_tables(self.network, state, "network.", frames=frames, side=kwargs.get("spatial_size"))

    def inflated(self, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """Inflates the weights of an image network to the entries under `prefix` of this method's state dict.

        Raises: CheckpointError if no image network inflates to this one.
        """
        if not self.arch:
            raise CheckpointError(
                f"{self.name}: no image network inflates to it; set pretrained to a checkpoint of this network"
            )
        shapes = {key: value.shape for key, value in self.state_dict().items()}
        inside = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
        return {prefix + key: value for key, value in inflate(state, inside).items()}


class Clip3D(ClipMethod):
    """Runs a 3-D network over `clip_len` frames that are `frame_stride` apart.

    backbone: a name in networks.CLIP_NETWORKS: slow_r50, i3d_r50, r2plus1d_18, ir_csn_152, s3d, x3d_s, ...
    clip_len: frames of a clip; default kwargs.sample_duration or kwargs.temporal_size, which some networks have, or the
        length for which the network's cost is published. With kwargs.segments it is that of all windows together.
    frame_stride: step from one frame to the next.
    modality: what the network sees at each place of a clip: an `rgb` frame, a `flow` field (2 channels), or with
        `rgbdiff` the difference between a frame and the one before.
    stack: consecutive flow fields or differences at each place, as in TSN; 1 by default.
    neck: what stands between a 3-D ResNet and its classifier: `tpn`, as in TSN.
    kwargs: arguments of the network's constructor.
    """

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_class: PositiveInt,
        clip_len: PositiveInt | None = None,
        frame_stride: PositiveInt = 1,
        dropout: float = 0.0,
        modality: ModalityName = "rgb",
        stack: PositiveInt | None = None,
        neck: Literal["tpn"] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_name(CLIP_NETWORKS, backbone, where="backbone")
        builder, example, arguments = CLIP_NETWORKS[backbone], EXAMPLES[backbone], dict(kwargs or {})
        length = next((name for name in LENGTHS if name in inspect.signature(builder).parameters), "")
        segments = arguments.get(SEGMENTS, 1) if SEGMENTS in inspect.signature(builder).parameters else 1
        if not isinstance(segments, int):
            segments = 1  # the network itself says what is wrong
        if clip_len is None:
            clip_len = arguments.get(length, example[0] * segments)
        if length:
            duration = arguments.setdefault(length, clip_len)
            if duration != clip_len:
                raise ValueError(f"kwargs.{length}: {duration} differs from clip_len {clip_len}; give only one")
        try:
            network = build_network(builder, arguments, backbone, num_class=num_class, dropout=dropout)
        except ArgumentError as error:
            named = f"kwargs.{length}: "
            if not length or length in (kwargs or {}) or not str(error).startswith(named):
                raise
            raise ValueError(f"clip_len: {str(error).removeprefix(named)}") from None  # which is where it came from
        if clip_len % segments:
            raise ValueError(
                f"clip_len: {clip_len} is no multiple of kwargs.segments {segments}, the windows of a clip"
            )
        stack = resolve_stack(modality, stack, default=1)
        self.clip = ClipSpec(clip_len, frame_stride, "clip", "clip", modality=modality, stack=stack, segments=segments)
        self.network_defaults = network_defaults(builder)
        self.name = f"clip3d_{backbone}"
        self.arch = image_architecture(backbone)
        side = arguments.get("spatial_size")
        self.example_size = (clip_len, side, side) if side else (clip_len, *example[1:])
        if modality != "rgb":
            replace_first_convolution(network, self.clip.in_channels)
        if neck is not None:
            if not isinstance(network, ResNet3d) or network.data.strides_t[3] > 1:
                raise ValueError(
                    f"neck: {neck} reads the last two stages of a 3-D ResNet that keeps all frames there, which "
                    f"{backbone} is not"
                )
            network.neck = TPN(network.out_channels)
        self.set_network(network)

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inflates the weights of an image network. Raises: CheckpointError if none inflates to this network."""
        if isinstance(self.network, SwinTransformer3d):
            state = from_image_swin(state, self.network.state_dict())
        if isinstance(self.network, UniFormerV2):
            return {f"network.{key}": value for key, value in from_clip(state, self.network.state_dict()).items()}
        return self.inflated(state, "network.")

    def starts_random(self, key: str) -> bool:
        """Tells whether no image network has this entry; UniFormerV2 adds parts to CLIP's."""
        return super().starts_random(key) or (isinstance(self.network, UniFormerV2) and bool(ADDED.fullmatch(key)))


def build_network(
    builder: Callable[..., nn.Module], kwargs: Mapping[str, Any] | None, name: str, **own: Any
) -> nn.Module:
    """Builds a network from the config's `kwargs` and from the arguments that its method takes itself.

    Raises: ValueError that starts with "kwargs." and names the argument.
    """
    for key in own:
        if key in (kwargs or {}):
            raise ValueError(f"kwargs.{key}: is not an argument of kwargs; move it one level up, next to kwargs")
    return call(builder, kwargs or {}, name, "kwargs", **own)
