"""Holds the small layers that PyTorchVideo's networks are made of: activations, squeeze and excitation, perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from pydantic import PositiveInt
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from networks.clip.x3d import round_width as round_width
from networks.pytorchvideo.arguments import Build, Probability
from utils.config.build import ArgumentError, checked


class Swish(nn.SiLU):
    """Computes x * sigmoid(x) (Ramachandran et al. 2017, arXiv 1710.05941)."""


class DropPath(StochasticDepth):
    """Drops whole samples of a branch in training, and scales the others up (Huang et al. 2016, arXiv 1603.09382).

    drop_prob: probability of each sample, 0 to 1.
    """

    @checked
    def __init__(self, drop_prob: Probability = 0.0) -> None:
        super().__init__(drop_prob, mode="row")


class SqueezeExcitation(nn.Module):
    """Weighs channels by what the whole clip holds of them (Hu et al. 2018, arXiv 1709.01507).

    num_channels_reduced: channels inside; None divides num_channels by reduction_ratio.
    is_3d: features are (B, C, T, H, W); otherwise (B, C, H, W).
    activation: the module between the two convolutions; None is a ReLU.
    """

    @checked
    def __init__(
        self,
        num_channels: PositiveInt,
        num_channels_reduced: PositiveInt | None = None,
        reduction_ratio: float = 2.0,
        is_3d: bool = False,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        inner = num_channels_reduced or int(num_channels // reduction_ratio)
        conv = nn.Conv3d if is_3d else nn.Conv2d
        self.axes = (2, 3, 4) if is_3d else (2, 3)
        self.block = nn.Sequential(
            conv(num_channels, inner, 1), activation or nn.ReLU(), conv(inner, num_channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps features to features of the same shape."""
        weights: Tensor = self.block(x.mean(self.axes, keepdim=True))
        return x * weights


class Mlp(nn.Module):
    """Applies the perceptron of a transformer block: linear, activation, linear, with dropout behind both.

    hidden_features, out_features: None is in_features.
    """

    @checked
    def __init__(
        self,
        in_features: PositiveInt,
        hidden_features: PositiveInt | None = None,
        out_features: PositiveInt | None = None,
        act_layer: Build = nn.GELU,
        dropout_rate: Probability = 0.0,
        bias_on: bool = True,
    ) -> None:
        super().__init__()
        hidden = hidden_features or in_features
        self.fc1 = nn.Linear(in_features, hidden, bias=bias_on)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden, out_features or in_features, bias=bias_on)
        self.dropout = nn.Dropout(dropout_rate) if dropout_rate > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in_features) to (..., out_features)."""
        x = self.dropout(self.fc2(self.dropout(self.act(self.fc1(x)))))
        return x


@checked
def make_multilayer_perceptron(
    fully_connected_dims: Sequence[PositiveInt],
    norm: Build | None = None,
    mid_activation: Build = nn.ReLU,
    final_activation: Build | None = nn.ReLU,
    dropout_rate: Probability = 0.0,
) -> tuple[nn.Sequential, int]:
    """Builds linear layers with a norm and an activation between them, and returns them with the width of the output.

    fully_connected_dims: widths of the input, of what is between the layers, and of the output; two at least.
    final_activation: behind dropout, at the end; None leaves it out.
    Raises: ArgumentError that names the argument.
    """
    if len(fully_connected_dims) < 2:
        raise ArgumentError("fully_connected_dims: give the width of the input and those of the layers")
    layers: list[nn.Module] = []
    *widths, last = fully_connected_dims
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), *([] if norm is None else [norm(outputs)]), mid_activation()]
    layers.append(nn.Linear(widths[-1], last))
    layers += [nn.Dropout(dropout_rate)] if dropout_rate > 0 else []
    layers += [] if final_activation is None else [final_activation()]
    return nn.Sequential(*layers), last


def round_repeats(repeats: int, multiplier: float) -> int:
    """Returns repeats * multiplier, rounded up; a multiplier of 0 or None returns them as they are."""
    return math.ceil(multiplier * repeats) if multiplier else repeats
