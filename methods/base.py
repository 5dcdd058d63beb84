"""What every method is: a network over clips, and what it tells data, optimizer and checkpoint about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from utils.clip_spec import MODALITIES, ClipSpec
from utils.errors import ConfigError

Self = TypeVar("Self", bound="Method")


class Method(nn.Module):
    """Clips (B, C, T, H, W), float, normalised -> logits (B, K).

    Attributes:
        clip: the clip it wants to see.
        name: method and architecture in one word, as checkpoints store it: tsm_resnet50.
        arch: architecture whose image weights `pretrained: True` looks for in pretrained/; "" if there are none.
        head: the classifier, a linear layer or a 1x1x1 convolution; fine-tuning replaces it, `fc_lr5` speeds it up.
        example_size: (T, H, W) at which its published cost is counted.
        settings: constructor arguments that change the scores and that weights do not show, for a check when loading.
    """

    clip: ClipSpec
    name: str
    arch: str
    head: nn.Module
    example_size: tuple[int, int, int]
    settings: Mapping[str, Any] = {}

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) -> logits (B, K)."""
        raise NotImplementedError

    @property
    def head_prefix(self) -> str:
        """Where the classifier's entries stand in the state dict: "head."."""
        head = self.head
        return next(f"{name}." for name, module in self.named_modules() if module is head)

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """An image network's state dict without its classifier -> entries of this method's state dict.

        Raises: CheckpointError when the method has no use for one.
        """
        return {f"backbone.{key}": value for key, value in state.items()}

    def starts_random(self, key: str) -> bool:
        """Whether an entry has no counterpart in an image network, so that it stays random under image weights."""
        return ".non_local." in key

    def train(self: Self, mode: bool = True) -> Self:
        """Training mode for all but the norms that networks/freeze.py has fixed."""
        super().train(mode)
        for module in self.modules():
            if getattr(module, "frozen", False):
                module.eval()
        return self


def stack_of(modality: str, stack: int | None, *, default: int) -> int:
    """How many flow fields or differences make the channels of one place; 1 for RGB.

    stack: what the config says; None: `default`.
    Raises: ConfigError for a modality that is not known, or a stack where there is nothing to put on top of another.
    """
    if modality not in MODALITIES:
        raise ConfigError(f"common.model.modality: {modality!r} is not one of {', '.join(MODALITIES)}")
    if modality == "rgb":
        if stack not in (None, 1):
            raise ConfigError(f"common.model.stack: {stack} is for flow and rgbdiff; RGB frames are seen one by one")
        return 1
    if stack is not None and stack < 1:
        raise ConfigError(f"common.model.stack: should be at least 1, but is {stack}")
    return default if stack is None else stack


def new_head(features: int, num_class: int, *, std: float = 0.01) -> nn.Linear:
    """A classifier as TSN initialises it: weights N(0, std), bias 0."""
    head = nn.Linear(features, num_class)
    nn.init.normal_(head.weight, 0.0, std)
    nn.init.zeros_(head.bias)
    return head


def fold_frames(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W), a clip's frames in a row.

    A view where memory runs frame by frame: (B, T, C, H, W) or (B, T, H, W, C), which comes out as channels_last.
    """
    return clips.transpose(1, 2).flatten(0, 1)


def unfold_frames(rows: Tensor, num_frames: int) -> Tensor:
    """(B*T, ...) -> (B, T, ...)."""
    return rows.unflatten(0, (-1, num_frames))


def mean_over_frames(logits: Tensor, num_frames: int) -> Tensor:
    """Average consensus: (B*T, K) -> (B, K)."""
    return torch.mean(unfold_frames(logits, num_frames), dim=1)
