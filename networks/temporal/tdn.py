"""Implements the temporal differences of TDN: between the frames around each place, and between places."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from networks.first_convolution import RGB, widen_input
from networks.temporal.module import Spot, TemporalModule, shift_taps

AROUND = 5  # consecutive frames at each place; the third is the image


class TDN(TemporalModule):
    """Takes differences around each place of a clip and between places (Wang et al. 2021, arXiv 2012.10071).

    Each place of a clip is five consecutive frames, of which the third
    is the image. Their differences pass a stem and a first stage of their own, and are added to what the image gives
    there; it takes a ResNet of torchvision. In later stages, differences of features to the next place and to the one
    before excite channels at each position, and then a convolution over time mixes places, channel by channel.

    squeeze: factor by which the differences between places have fewer channels.
    shift_div: the convolution starts as the shift of TSM, which moves 1/shift_div of the channels each way.
    mix: how much of what the stem and the first stage give comes from the differences; published networks with 16
        segments have 0.25.
    """

    spot: ClassVar[Spot] = "inner"
    stages: ClassVar[tuple[str, ...]] = ("layer2", "layer3", "layer4")
    stack: ClassVar[int] = AROUND
    looks_ahead: ClassVar[str] = "which compares each image with the two frames behind it"

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = 1,
        squeeze: PositiveInt = 16,
        shift_div: Annotated[int, Field(ge=2)] = 8,
        mix: Annotated[float, Field(ge=0, le=1)] = 0.5,
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        narrow = channels // squeeze
        if not narrow:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a branch")

        def layer(inner: int, outer: int, kernel: int) -> nn.Sequential:
            conv = nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outer))

        self.squeeze, self.expand = layer(channels, narrow, 1), layer(narrow, channels, 1)
        self.neighbour = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False)
        self.fine, self.coarse = layer(narrow, narrow, 3), layer(narrow, narrow, 3)
        self.shift = shift_taps(channels, shift_div)

    @classmethod
    def complete(cls, net: nn.Module, name: str, *, num_frames: int, mix: float = 0.5, **_: Any) -> None:
        """Gives a ResNet the stem of differences. Raises: ValueError for another network."""
        if type(net) is not ResNet:
            raise ValueError(f"name: this module needs a ResNet of torchvision beside its own stem, not {name}")
        net.__class__ = ResNetOfDifferences
        net.motion, net.mix = Motion(net), mix  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B*T, C, H, W) to the same shape."""
        squeezed = self.squeeze(x)
        here, there = self.clips(squeezed), self.clips(self.neighbour(squeezed))
        none = torch.zeros_like(here[:, :1])
        ahead = self.rows(torch.cat([there[:, 1:] - here[:, :-1], none], 1))
        behind = self.rows(torch.cat([none, there[:, :-1] - here[:, 1:]], 1))
        excited = (self._excitation(ahead) + self._excitation(behind)) / 2
        return self.rows(self.correlate(self.clips(x + x * excited), self.shift))

    def _excitation(self, change: Tensor) -> Tensor:
        """Returns a factor from -0.5 to 0.5 for each channel and position, of a change at three scales."""
        size = change.shape[2:]
        half = F.avg_pool2d(change, (min(2, size[0]), min(2, size[1])))
        scales = change + F.interpolate(self.coarse(half), size) + self.fine(change)
        return self.expand(scales / 3).sigmoid() - 0.5


class Motion(nn.Module):
    """Maps the frames around each place (N, 5*C, H, W) to what moves there, at half the size of the image's features.

    net: the ResNet beside which it works; it starts with a copy of its first stage.
    """

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        conv = net.conv1
        self.conv1 = nn.Conv2d(
            conv.in_channels * (AROUND - 1), conv.out_channels, kernel_size=7, stride=2, padding=3, bias=False
        )
        self.bn1 = nn.BatchNorm2d(conv.out_channels)
        self.layer1 = copy.deepcopy(net.layer1)
        with torch.no_grad():
            self.conv1.weight.copy_(widen_input(conv.weight, self.conv1.in_channels))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the features of the stem and those of the first stage."""
        pictures = frames.unflatten(1, (AROUND, -1))
        changes = F.avg_pool2d((pictures[:, 1:] - pictures[:, :-1]).flatten(1, 2), 2)
        stem = F.max_pool2d(self.bn1(self.conv1(changes)).relu(), 3, stride=2, padding=1)
        return stem, self.layer1(stem)


class ResNetOfDifferences(ResNet):
    """Runs a ResNet on the middle of five frames, and adds what `motion` sees in all of them. `TDN.complete` makes it.

    mix: share of the differences.
    """

    motion: Motion
    mix: float

    def _forward_impl(self, x: Tensor) -> Tensor:
        """Maps the frames of places (N, 5*C, H, W) to what the ResNet gives for (N, C, H, W)."""
        moving, moving_later = self.motion(x)
        image = x.unflatten(1, (AROUND, -1))[:, AROUND // 2]
        features = self._mixed(self.maxpool(self.relu(self.bn1(self.conv1(image)))), moving)
        features = self._mixed(self.layer1(features), moving_later)
        features = self.layer4(self.layer3(self.layer2(features)))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits

    def _mixed(self, image: Tensor, moving: Tensor) -> Tensor:
        return (1 - self.mix) * image + self.mix * F.interpolate(moving, image.shape[2:])

    def from_image(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adds to the entries of an image network those of `motion` that begin with them."""
        first = state["conv1.weight"]
        begun = {f"motion.{key}": value for key, value in state.items() if key.startswith("layer1.")}
        return {**state, **begun, "motion.conv1.weight": widen_input(first, RGB * (AROUND - 1))}
