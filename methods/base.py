"""Defines what every method is: a network over clips that describes itself to data, optimizer and checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from networks.group_sync_bn import SYNC_BN
from utils.clip_spec import ClipSpec
from utils.config.build import parameters_of
from utils.config.file import plain

Self = TypeVar("Self", bound="Method")
ModalityName = Literal["rgb", "flow", "rgbdiff"]  # the keys of utils.clip_spec.MODALITIES

_ONLY_IN_TRAINING = re.compile("|".join(("drop", "init", *SYNC_BN)))  # dropout, zero_init_residual, ...


class Method(nn.Module):
    """Maps normalised float clips (B, C, T, H, W) to logits (B, K).

    Attributes:
        clip: the clip that the method wants to see.
        name: method and architecture in one word, as checkpoints store it: tsm_resnet50.
        arch: architecture whose image weights `pretrained: True` takes, timm's with timm/; "" if no such weights exist.
        head: the classifier, a linear layer or a 1x1x1 convolution; fine-tuning replaces it, `fc_lr5` speeds it up.
        example_size: (T, H, W) for which the published cost is counted.
        kind: the key of methods.METHODS that it was built by.
        given: the arguments that the constructor was called with.
        frozen_part: the part that never learns, so that random weights there would stay; "" if every part can learn.
        in_groups: whether frames of that part are computed in groups of one size, so that none changes another's bits.
        base: of the file that the frozen image network is from, where checkpoints do not hold it; else empty.
        network_defaults: what the arguments in `kwargs` are by default, as far as the network's constructor tells it.
    """

    clip: ClipSpec
    name: str
    arch: str
    head: nn.Module
    example_size: tuple[int, int, int]
    kind: str = ""
    frozen_part: ClassVar[str] = ""
    in_groups: bool = False
    given: Mapping[str, Any]
    network_defaults: Mapping[str, Any] = {}
    base: Mapping[str, Any] = {}
    # what the shapes of the weights or the clip show
    NOT_SETTINGS: ClassVar = {
        "num_class", "num_segments", "clip_len", "frame_stride", "stack", "sample_duration", "temporal_size",
    }  # fmt: skip

    def __new__(cls: type[Self], *_: Any, **given: Any) -> Self:
        """Notes the arguments, so that no constructor has to, and none can be forgotten."""
        method = super().__new__(cls)
        method.__dict__["given"] = given
        return method

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips (B, C, T, H, W) to logits (B, K)."""
        raise NotImplementedError

    @property
    def averages_frames(self) -> bool:
        """Tells whether the logits of a clip are the mean of those of its frames, each as if it were a clip alone."""
        return False

    @property
    def trunk(self) -> Method | None:
        """Returns the whole video network inside of a probe, which stays as it is; None in other methods."""
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """Returns all arguments that change the scores without changing which weights fit; checkpoints keep them."""
        return self.settings_for(self.given)

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings, defaults included, that a method of this kind has when it is built with `given`."""
        known = parameters_of(type(self))
        values = {name: parameter.default for name, parameter in known.items()} | dict(given)
        kwargs = {name: value for name, value in self.network_defaults.items() if name not in known}
        kwargs |= values.pop("kwargs", None) or {}
        found = {name: plain(value) for name, value in values.items() if name in known and self._is_setting(name)}
        return found | {"kwargs": {name: plain(value) for name, value in kwargs.items() if self._is_setting(name)}}

    def _is_setting(self, name: str) -> bool:
        return name not in self.NOT_SETTINGS and not _ONLY_IN_TRAINING.search(name)

    def is_base(self, name: str) -> bool:
        """Tells whether a part or an entry is of the image network that the method adds parts to; False without one.

        `freeze: [base]` keeps it as it is.
        """
        return False

    @property
    def head_prefix(self) -> str:
        """Returns the prefix of the classifier's entries in the state dict: "head."."""
        head = self.head
        return next(f"{name}." for name, module in self.named_modules() if module is head)

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turns the state dict of an image network, without its classifier, into entries of this method's state dict.

        Raises: CheckpointError if the method cannot start from image weights.
        """
        return {f"backbone.{key}": value for key, value in state.items()}

    def starts_random(self, key: str) -> bool:
        """Tells whether no image network has this entry, so that it stays random under image weights."""
        return ".non_local." in key or "neck" in key.split(".")

    def resized_tables(self, state: Mapping[str, Tensor], made_for: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns the entries of `state` that are tables of places for clips of another size, resized to this one.

        made_for: arguments of the network that they come from, as far as they are known.
        """
        return {}

    def train(self: Self, mode: bool = True) -> Self:
        """Sets the training mode of all modules except those that networks/prepare.py has frozen."""
        super().train(mode and not getattr(self, "frozen", False))  # a method may be the frozen part of another
        for module in self.modules():
            if module is not self and getattr(module, "frozen", False):
                module.eval()
        return self


def resolve_stack(modality: ModalityName, stack: int | None, *, default: int, own: int = 1) -> int:
    """Returns how many flow fields, differences or frames are the channels of one place of a clip; 1 for most RGB.

    stack: the configured number; None means `default`.
    own: consecutive RGB frames that the network takes at each place.
    Raises: ValueError if a stack is asked for that the network does not take.
    """
    if own > 1:
        if modality != "rgb":
            raise ValueError(f"modality: this network takes differences of rgb frames itself, so not {modality}")
        if stack not in (None, own):
            raise ValueError(f"stack: this network takes {own} frames at each place of a clip, not {stack}")
        return own
    if modality == "rgb":
        if stack not in (None, 1):
            raise ValueError(f"stack: {stack} is for flow and rgbdiff; RGB frames are seen one by one")
        return 1
    return default if stack is None else stack


def network_defaults(builder: Callable[..., Any] | None) -> dict[str, Any]:
    """Returns the plain values that the arguments of a network's constructor have by default."""
    known = parameters_of(builder) if builder else {}
    return {
        name: parameter.default
        for name, parameter in known.items()
        if parameter.default is None or isinstance(parameter.default, (bool, int, float, str, tuple))
    }


def new_head(features: int, num_class: int, *, std: float = 0.01) -> nn.Linear:
    """Makes a classifier that is initialised as in TSN: weights N(0, std), bias 0."""
    head = nn.Linear(features, num_class)
    nn.init.normal_(head.weight, 0.0, std)
    nn.init.zeros_(head.bias)
    return head


def fold_frames(clips: Tensor) -> Tensor:
    """Turns clips (B, C, T, H, W) into frames (B*T, C, H, W), the frames of a clip in a row.

    No copy is made if memory is ordered frame by frame: (B, T, C, H, W), or (B, T, H, W, C), which becomes
    channels_last.
    """
    return clips.transpose(1, 2).flatten(0, 1)


def unfold_frames(rows: Tensor, num_frames: int) -> Tensor:
    """Turns rows (B*T, ...) into (B, T, ...)."""
    return rows.unflatten(0, (-1, num_frames))


def mean_over_frames(logits: Tensor, num_frames: int) -> Tensor:
    """Averages the logits of frames (B*T, K) into logits of clips (B, K), which is TSN's average consensus."""
    return torch.mean(unfold_frames(logits, num_frames), dim=1)
