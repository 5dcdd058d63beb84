"""One clip of consecutive frames through one 3-D network: Slow, I3D, C2D, R3D, MCx, R(2+1)D, S3D, CSN, MViT, Swin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from methods.base import Method, stack_of
from networks import CLIP_NETWORKS
from networks.clip.inflate import inflate
from networks.clip.table import EXAMPLES, image_architecture
from networks.first_convolution import replace_first_convolution
from utils.clip_spec import ClipSpec
from utils.config.build import check_arguments
from utils.config.file import nearest
from utils.errors import CheckpointError, ConfigError

WHERE = "common.model"


class ClipMethod(Method):
    """A method whose whole work is one network over the clip; the network owns the classifier."""

    clip: ClipSpec
    network: nn.Module
    head_path: str

    def hold(self, network: nn.Module) -> None:
        """Makes `network` this method's; its classifier is its last linear layer or 1x1x1 convolution."""
        layers = [name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv3d))]
        self.network, self.head_path = network, f"network.{layers[-1]}"

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """The classifier, where the network has it."""
        return self.get_submodule(self.head_path)

    @property
    def head_prefix(self) -> str:
        """Where the classifier's entries stand in the state dict: "network.fc."."""
        return f"{self.head_path}."

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) -> logits (B, K)."""
        logits: Tensor = self.network(clips)
        return logits

    def inflated(self, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """An image network's weights for the entries under `prefix` of this method's state dict.

        Raises: CheckpointError when the network does not grow out of an image network.
        """
        if not self.arch:
            raise CheckpointError(f"{self.name}: no image network inflates to it; set pretrained to a file of its own")
        shapes = {key: value.shape for key, value in self.state_dict().items()}
        inside = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
        return {prefix + key: value for key, value in inflate(state, inside).items()}


class Clip3D(ClipMethod):
    """A 3-D network over `clip_len` frames, `frame_stride` apart.

    backbone: a name of networks.CLIP_NETWORKS: slow_r50, i3d_r50, r2plus1d_18, ir_csn_152, s3d, resnet50_3d, ...
    clip_len: T; by default kwargs.sample_duration where the network takes one, else the length its cost is quoted at.
    frame_stride: the step from one frame to the next.
    modality: what each of the T places is: an `rgb` frame, a `flow` field (2 channels), or with `rgbdiff` a frame less
        the one before.
    stack: so many consecutive fields or differences at each place, as TSN has them; 1 by default.
    kwargs: for the network's constructor.
    """

    def __init__(
        self,
        *,
        backbone: str,
        num_class: int,
        clip_len: int | None = None,
        frame_stride: int = 1,
        dropout: float = 0.0,
        modality: str = "rgb",
        stack: int | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if backbone not in CLIP_NETWORKS:
            raise ConfigError(f"{WHERE}.backbone: {backbone!r} is no clip network{nearest(backbone, [*CLIP_NETWORKS])}")
        builder = CLIP_NETWORKS[backbone]
        arguments = check_kwargs(builder, kwargs, name=backbone, reserved=("num_class", "dropout"))
        example = EXAMPLES[backbone]
        if clip_len is None:
            clip_len = int(arguments.get("sample_duration", example[0]))
        check_clip(clip_len, frame_stride)
        if "sample_duration" in inspect.signature(builder).parameters:
            duration = arguments.setdefault("sample_duration", clip_len)
            if duration != clip_len:
                where = f"{WHERE}.kwargs.sample_duration"
                raise ConfigError(f"{where}: {duration} differs from clip_len {clip_len}; leave one of them out")
        stack = stack_of(modality, stack, default=1)
        self.clip = ClipSpec(clip_len, frame_stride, "clip", "clip", modality=modality, stack=stack)
        self.settings = {"modality": modality}
        self.name = f"clip3d_{backbone}"
        self.arch = image_architecture(backbone)
        self.example_size = (clip_len, *example[1:])
        network = builder(num_class=num_class, dropout=dropout, **arguments)
        if modality != "rgb":
            replace_first_convolution(network, self.clip.in_channels)
        self.hold(network)

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inflates them. Raises: CheckpointError for a network that does not grow out of an image network."""
        return self.inflated(state, "network.")


def check_clip(clip_len: int, frame_stride: int) -> None:
    """Raises: ConfigError for a clip without frames or a step that stands still."""
    if clip_len < 1:
        raise ConfigError(f"{WHERE}.clip_len: should be at least 1, but is {clip_len}")
    if frame_stride < 1:
        raise ConfigError(f"{WHERE}.frame_stride: should be at least 1, but is {frame_stride}")


def check_kwargs(
    builder: Callable[..., nn.Module], kwargs: Mapping[str, Any] | None, *, name: str, reserved: tuple[str, ...]
) -> dict[str, Any]:
    """`kwargs`, checked against a constructor; the reserved arguments belong to the method and stand in common.model.

    Raises: ConfigError with the dotted path, for an unknown one naming what the constructor takes.
    """
    given = dict(kwargs or {})
    accepted = sorted(set(inspect.signature(builder).parameters) - set(reserved))
    for key in given:
        if key in reserved:
            raise ConfigError(f"{WHERE}.kwargs.{key}: belongs beside kwargs, as {WHERE}.{key}")
        if key not in accepted:
            takes = f"it takes {', '.join(accepted)}" if accepted else "it takes no arguments"
            raise ConfigError(f"{WHERE}.kwargs.{key}: {name} does not take it; {takes}")
    return check_arguments(builder, given, name=name, where=f"{WHERE}.kwargs")
