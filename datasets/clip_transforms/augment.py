"""Changes the colours and shapes of clips (T, C, H, W) by PyTorchVideo's RandAugment and AugMix.

The operations are torchvision's. utils/transforms/rand_augment.py has the RandAugment of main.py, whose table is
torchvision's own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from datasets.clip_transforms.modules import OpSampler, Share
from utils.config.build import ArgumentError, call, checked

Sampling = Literal["gaussian", "uniform"]
Fill = Sequence[float]
Operation = Callable[[Tensor, float, Fill], Tensor]
LEVELS = 10  # magnitudes are 0..10
_BILINEAR = InterpolationMode.BILINEAR


def _on_bytes(operation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Applies an operation on whole grey levels, also to floats in 0..1."""
    if x.dtype == torch.uint8:
        return operation(x)
    return (operation((x * 255).to(torch.uint8)) / 255).to(x.dtype)


def _posterize(x: Tensor, bits: float, fill: Fill) -> Tensor:
    return _on_bytes(functools.partial(F.posterize, bits=int(bits)), x)


def _solarize(x: Tensor, threshold: float, fill: Fill) -> Tensor:
    return F.solarize(x, int(threshold * 255) if x.dtype == torch.uint8 else threshold)


def _affine(x: Tensor, fill: Fill, *, move: Sequence[float] = (0, 0), shear: Sequence[float] = (0, 0)) -> Tensor:
    degrees = [math.degrees(math.atan(slope)) for slope in shear]
    return F.affine(
        x, angle=0.0, translate=list(move), scale=1.0, shear=degrees, interpolation=_BILINEAR, fill=list(fill),
        center=[0, 0],
    )  # fmt: skip


_OPERATIONS: dict[str, Operation] = {
    "AdjustBrightness": lambda x, m, fill: F.adjust_brightness(x, m),
    "AdjustContrast": lambda x, m, fill: F.adjust_contrast(x, m),
    "AdjustSaturation": lambda x, m, fill: F.adjust_saturation(x, m),
    "AdjustSharpness": lambda x, m, fill: F.adjust_sharpness(x, m),
    "AutoContrast": lambda x, m, fill: F.autocontrast(x),
    "Equalize": lambda x, m, fill: _on_bytes(F.equalize, x),
    "Invert": lambda x, m, fill: F.invert(x),
    "Rotate": lambda x, m, fill: F.rotate(x, m, interpolation=_BILINEAR, fill=list(fill)),
    "Posterize": _posterize,
    "Solarize": _solarize,
    "ShearX": lambda x, m, fill: _affine(x, fill, shear=(m, 0)),
    "ShearY": lambda x, m, fill: _affine(x, fill, shear=(0, m)),
    "TranslateX": lambda x, m, fill: _affine(x, fill, move=(-m * x.shape[-1], 0)),
    "TranslateY": lambda x, m, fill: _affine(x, fill, move=(0, -m * x.shape[-2])),
}


@dataclass(frozen=True)
class _Strength:
    """Says what a level from 0 to LEVELS means to an operation: `base` at 0, and `reach` more or less at LEVELS."""

    base: float
    reach: float
    signed: bool = False  # the change is up or down with equal chance
    whole: bool = False  # the change is rounded down

    def at(self, level: float) -> float:
        change = level / LEVELS * abs(self.reach)
        change = math.copysign(int(change) if self.whole else change, self.reach)
        if self.signed and float(torch.rand(1)) <= 0.5:
            change = -change
        return self.base + change


_SHAPES = {
    "Rotate": _Strength(0, 30, signed=True),
    "Posterize": _Strength(4, -4, whole=True),
    "Solarize": _Strength(1, -1),
    "ShearX": _Strength(0, 0.3, signed=True),
    "ShearY": _Strength(0, 0.3, signed=True),
}
_COLOURS = ("AdjustBrightness", "AdjustContrast", "AdjustSaturation", "AdjustSharpness")
# in PyTorchVideo's order, because an operation is drawn by its place
_RAND_AUGMENT: dict[str, _Strength | None] = {
    **dict.fromkeys(_COLOURS, _Strength(1, 0.9, signed=True)),
    **dict.fromkeys(("AutoContrast", "Equalize", "Invert")),
    **_SHAPES,
    **dict.fromkeys(("TranslateX", "TranslateY"), _Strength(0, 0.45, signed=True)),
}
_AUGMIX: dict[str, _Strength | None] = {
    **dict.fromkeys(("AutoContrast", "Equalize")),
    **_SHAPES,
    **dict.fromkeys(("TranslateX", "TranslateY"), _Strength(0, 1 / 3, signed=True)),
    **dict.fromkeys(("AdjustSaturation", "AdjustContrast", "AdjustBrightness", "AdjustSharpness"), _Strength(0.1, 1.8)),
}


class Levels:
    """Draws levels around or below a magnitude; the arguments are PyTorchVideo's `sampling_hparas`."""

    @checked
    def __init__(
        self,
        sampling_data_type: Literal["int", "float"] = "int",
        sampling_min: NonNegativeFloat = 0,
        sampling_std: NonNegativeFloat = 0.5,
    ) -> None:
        self.whole, self.low, self.std = sampling_data_type == "int", sampling_min, sampling_std

    def draw(self, magnitude: int, sampling: Sampling) -> float:
        """Returns a level; "gaussian" draws around the magnitude, "uniform" from `sampling_min` up to it."""
        if sampling == "gaussian":
            return min(max(float(torch.normal(float(magnitude), self.std, (1,))), 0.0), LEVELS)
        if self.whole:
            return int(torch.randint(int(self.low), magnitude + 1, (1,)))
        return float(torch.rand(1)) * (magnitude - self.low) + self.low


@dataclass(frozen=True)
class _Step:
    """Applies one operation to a share `prob` of the clips, each time at another level."""

    name: str
    strength: _Strength | None
    magnitude: int
    prob: float
    sampling: Sampling
    levels: Levels
    fill: Fill

    def __call__(self, video: Tensor) -> Tensor:
        if float(torch.rand(1)) > self.prob:
            return video
        level = self.levels.draw(self.magnitude, self.sampling)
        strength = 0.0 if self.strength is None else self.strength.at(level)
        return _OPERATIONS[self.name](video, strength, self.fill)


class RandAugment(nn.Module):
    """Applies `num_layers` random operations (Cubuk et al. 2019, arXiv 1909.13719) to a clip.

    magnitude: 0 to 10. prob: chance of each operation that is drawn. transform_hparas: {"fill": (R, G, B)}, the colour
    beyond the border, in the range of the clip; default 0.5. sampling_type: "gaussian" draws levels around the
    magnitude, "uniform" up to it; sampling_hparas: see `Levels`.
    """

    @checked
    def __init__(
        self,
        magnitude: Annotated[NonNegativeInt, Field(le=LEVELS)] = 9,
        num_layers: PositiveInt = 2,
        prob: Share = 0.5,
        transform_hparas: Mapping[str, Any] | None = None,
        sampling_type: Sampling = "gaussian",
        sampling_hparas: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        levels, fill = _levels(sampling_hparas or {}, magnitude), _fill(transform_hparas)
        steps = [
            _Step(name, strength, magnitude, prob, sampling_type, levels, fill)
            for name, strength in _RAND_AUGMENT.items()
        ]
        self.operations = OpSampler(steps, num_sample_op=num_layers)

    def forward(self, video: Tensor) -> Tensor:
        """Changes clips (T, C, H, W), uint8 or float in 0..1."""
        return self.operations(video)


class AugMix(nn.Module):
    """Blends chains of random operations with each other and with the clip (Hendrycks et al. 2019, arXiv 1912.02781).

    magnitude: 1 to 10. alpha: of the distributions that weigh the chains. width: chains. depth: operations of a chain,
    -1 for a random number from 1 to 3. transform_hparas, sampling_hparas: as those of RandAugment; levels are drawn
    uniformly, by default from 0.1 up to the magnitude.
    """

    @checked
    def __init__(
        self,
        magnitude: Annotated[PositiveInt, Field(le=LEVELS)] = 3,
        alpha: PositiveFloat = 1.0,
        width: PositiveInt = 3,
        depth: int = -1,
        transform_hparas: Mapping[str, Any] | None = None,
        sampling_hparas: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        levels = _levels(sampling_hparas or {"sampling_data_type": "float", "sampling_min": 0.1}, magnitude)
        fill = _fill(transform_hparas)
        steps = [_Step(name, strength, magnitude, 1.0, "uniform", levels, fill) for name, strength in _AUGMIX.items()]
        self.chain = OpSampler(
            steps, num_sample_op=depth if depth > 0 else 3, randomly_sample_depth=depth <= 0, replacement=True
        )
        self.weights = torch.distributions.Dirichlet(torch.full((width,), alpha))
        self.share = torch.distributions.Beta(alpha, alpha)

    def forward(self, video: Tensor) -> Tensor:
        """Changes clips (T, C, H, W), uint8 or float in 0..1."""
        weights, share = self.weights.sample(), float(self.share.sample())
        mixed = torch.zeros(video.shape)
        for weight in weights:
            mixed += weight * self.chain(video)
        return (share * video + (1 - share) * mixed).to(video.dtype)


def _levels(hparas: Mapping[str, Any], magnitude: int) -> Levels:
    levels = call(Levels, hparas, "Levels", "sampling_hparas")
    if levels.low > magnitude:
        raise ArgumentError(f"sampling_hparas.sampling_min: {levels.low:g} is above magnitude {magnitude}")
    return levels


def _fill(hparas: Mapping[str, Any] | None) -> Fill:
    given = {"fill": (0.5, 0.5, 0.5)} if hparas is None else hparas
    if [*given] != ["fill"]:
        raise ArgumentError(f"transform_hparas: {dict(given)} must have the key `fill` and no other")
    return given["fill"] if isinstance(given["fill"], Sequence) else [given["fill"]]
