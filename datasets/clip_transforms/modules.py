"""Holds PyTorchVideo's transforms of one sample or one clip as nn.Modules, for Compose or nn.Sequential.

Their arguments are checked when they are made; what they do is in functional.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
import torchvision.transforms as tv
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

from datasets.clip_transforms import functional
from datasets.clip_transforms.functional import Backend, Interpolation
from utils.config.build import ArgumentError, checked
from utils.errors import ConfigError

Sample = dict[str, Any]
Transform = Callable[[Any], Any]


class ApplyTransformToKey(nn.Module):
    """Transforms one entry of a sample; if the entry is a list of clips, each of them by itself."""

    def __init__(self, key: str, transform: Transform) -> None:
        super().__init__()
        self.key, self.transform = key, transform

    def forward(self, sample: Sample) -> Sample:
        """Returns a new dictionary. Raises ConfigError when the key is missing."""
        if self.key not in sample:
            raise ConfigError(f"ApplyTransformToKey: no {self.key!r} in a sample, which has {', '.join(sample)}")
        value = sample[self.key]
        several = isinstance(value, list) and all(isinstance(one, Tensor) for one in value)
        return {**sample, self.key: [self.transform(one) for one in value] if several else self.transform(value)}


class RemoveKey(nn.Module):
    """Removes one entry of a sample. A missing entry is no error, because videos may have sound or not."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def forward(self, sample: Sample) -> Sample:
        """Returns a new dictionary."""
        return {key: value for key, value in sample.items() if key != self.key}


class UniformTemporalSubsample(nn.Module):
    """Takes `num_samples` frames, evenly from the first to the last; a clip of fewer frames repeats some."""

    @checked
    def __init__(self, num_samples: PositiveInt, temporal_dim: int = -3) -> None:
        super().__init__()
        self.num_samples, self.temporal_dim = num_samples, temporal_dim

    def forward(self, clip: Tensor) -> Tensor:
        """Subsamples the axis `temporal_dim`, in (C, T, H, W) the frames."""
        return functional.uniform_temporal_subsample(clip, self.num_samples, self.temporal_dim)


class UniformTemporalSubsampleRepeated(nn.Module):
    """Subsamples a clip once for each ratio, to that part of its frames: (4, 1) makes the pathways of SlowFast."""

    @checked
    def __init__(self, frame_ratios: Sequence[PositiveInt], temporal_dim: int = -3) -> None:
        super().__init__()
        self.frame_ratios, self.temporal_dim = frame_ratios, temporal_dim

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Returns one clip for each ratio."""
        return functional.uniform_temporal_subsample_repeated(clip, self.frame_ratios, self.temporal_dim)


class ShortSideScale(nn.Module):
    """Scales the short side to `size` pixels, without antialiasing; the long side is rounded down."""

    @checked
    def __init__(
        self, size: PositiveInt, interpolation: Interpolation = "bilinear", backend: Backend = "pytorch"
    ) -> None:
        super().__init__()
        self.size, self.interpolation, self.backend = size, interpolation, backend

    def forward(self, clip: Tensor) -> Tensor:
        """Resizes clips (C, T, H, W), float, to (C, T, H', W')."""
        return functional.short_side_scale(clip, self.size, self.interpolation, self.backend)


class RandomShortSideScale(nn.Module):
    """Scales the short side to a random size from min_size to max_size, both included."""

    @checked
    def __init__(
        self,
        min_size: PositiveInt,
        max_size: PositiveInt,
        interpolation: Interpolation = "bilinear",
        backend: Backend = "pytorch",
    ) -> None:
        super().__init__()
        if min_size > max_size:
            raise ArgumentError(f"min_size: {min_size} is above max_size {max_size}")
        self.min_size, self.max_size = min_size, max_size
        self.interpolation, self.backend = interpolation, backend

    def forward(self, clip: Tensor) -> Tensor:
        """Resizes clips (C, T, H, W), float, to (C, T, H', W')."""
        size = int(torch.randint(self.min_size, self.max_size + 1, ()))
        return functional.short_side_scale(clip, size, self.interpolation, self.backend)


class UniformCropVideo(nn.Module):
    """Cuts a square out of the clip of a sample, where its `aug_index` says: start, middle or end of the longer side.

    `make_clip_sampler("constant_clips_per_video", seconds, clips, 3)` counts these three.
    """

    @checked
    def __init__(self, size: PositiveInt, video_key: str = "video", aug_index_key: str = "aug_index") -> None:
        super().__init__()
        self.size, self.video_key, self.aug_index_key = size, video_key, aug_index_key

    def forward(self, sample: Sample) -> Sample:
        """Returns a new dictionary."""
        cut = functional.uniform_crop(sample[self.video_key], self.size, sample[self.aug_index_key])
        return {**sample, self.video_key: cut}


class RandomResizedCrop(nn.Module):
    """Cuts a random share of the area with a random aspect ratio and resizes it; see functional.random_resized_crop."""

    @checked
    def __init__(
        self,
        target_height: PositiveInt,
        target_width: PositiveInt,
        scale: tuple[PositiveFloat, PositiveFloat],
        aspect_ratio: tuple[PositiveFloat, PositiveFloat],
        shift: bool = False,
        log_uniform_ratio: bool = True,
        interpolation: Interpolation = "bilinear",
        num_tries: PositiveInt = 10,
    ) -> None:
        super().__init__()
        self.arguments: tuple[Any, ...] = (
            target_height, target_width, scale, aspect_ratio, shift, log_uniform_ratio, interpolation, num_tries
        )  # fmt: skip

    def forward(self, clip: Tensor) -> Tensor:
        """Maps clips (C, T, H, W), float, to (C, T, target_height, target_width)."""
        return functional.random_resized_crop(clip, *self.arguments)


class Normalize(tv.Normalize):
    """Subtracts the mean and divides by the standard deviation of each channel, the first axis.

    mean, std: one number for each channel, or one for all. inplace: write into the clip that is given.
    """

    def forward(self, clip: Tensor) -> Tensor:
        """Normalises clips (C, T, H, W), float.

        Raises: ConfigError for pixels that are still in 0..255 with a mean and a std for 0..1.
        """
        small = all(torch.as_tensor(numbers).max() <= 1 for numbers in (self.mean, self.std))
        if small and clip.amax() > 2:
            raise ConfigError("Normalize: a mean and a std for 0..1, and pixels up to 255; put Div255() in front of it")
        return super().forward(clip.transpose(0, 1)).transpose(0, 1)  # torchvision's channels are the third last axis


class Div255(nn.Module):
    """Scales pixels from 0..255 to 0..1."""

    def forward(self, clip: Tensor) -> Tensor:
        """Returns a float clip of the same shape."""
        return functional.div_255(clip)


class ConvertUint8ToFloat(nn.Module):
    """Converts pixels from uint8 to float32 in 0..1."""

    def forward(self, clip: Tensor) -> Tensor:
        """Returns a clip of the same shape. Raises: ArgumentError unless the clip is uint8."""
        if clip.dtype != torch.uint8:
            raise ArgumentError(f"ConvertUint8ToFloat: the clip is {clip.dtype}; for float pixels take Div255()")
        return functional.div_255(clip)


class ConvertFloatToUint8(nn.Module):
    """Converts float pixels in 0..1 to uint8."""

    def forward(self, clip: Tensor) -> Tensor:
        """Returns a clip of the same shape. Raises: ArgumentError unless the clip is float."""
        if not clip.is_floating_point():
            raise ArgumentError(f"ConvertFloatToUint8: the clip is {clip.dtype}; leave the conversion out")
        return to_dtype(clip, torch.uint8, scale=True)


class Permute(nn.Module):
    """Puts the axes of a tensor in the order `dims`."""

    @checked
    def __init__(self, dims: Sequence[NonNegativeInt]) -> None:
        super().__init__()
        if sorted(dims) != [*range(len(dims))]:
            raise ArgumentError(f"dims: {list(dims)} must name every axis once: 0, 1, 2, ...")
        self.dims = tuple(dims)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a view."""
        return x.permute(self.dims)


class MoveChannelRear(Permute):
    """Makes the first of four axes the last one: (C, T, H, W) -> (T, H, W, C)."""

    def __init__(self) -> None:
        super().__init__((1, 2, 3, 0))


class MoveChannelFront(Permute):
    """Makes the last of four axes the first one: (T, H, W, C) -> (C, T, H, W)."""

    def __init__(self) -> None:
        super().__init__((3, 0, 1, 2))


class OpSampler(nn.Module):
    """Draws `num_sample_op` of the transforms and applies one after the other.

    transforms_prob: how likely each is; by default all alike. randomly_sample_depth: draw the number as well, from 1 to
    num_sample_op. replacement: whether one may be drawn twice.
    """

    @checked
    def __init__(
        self,
        transforms_list: Sequence[Transform],
        transforms_prob: Sequence[PositiveFloat] | None = None,
        num_sample_op: PositiveInt = 1,
        randomly_sample_depth: bool = False,
        replacement: bool = False,
    ) -> None:
        super().__init__()
        weights = [1.0] * len(transforms_list) if transforms_prob is None else transforms_prob
        if len(weights) != len(transforms_list):
            raise ArgumentError(f"transforms_prob: has {len(weights)} entries for {len(transforms_list)} transforms")
        if num_sample_op > len(transforms_list) and not replacement:
            raise ArgumentError(f"num_sample_op: {num_sample_op} of {len(transforms_list)} transforms cannot be drawn")
        self.transforms_list, self.transforms_prob = transforms_list, torch.tensor(weights, dtype=torch.float32)
        self.num_sample_op, self.randomly_sample_depth = num_sample_op, randomly_sample_depth
        self.replacement = replacement

    def forward(self, x: Any) -> Any:
        """Returns what the last transform returns."""
        count = self.num_sample_op
        if self.randomly_sample_depth:
            count = int(torch.randint(1, count + 1, (1,)))
        for index in torch.multinomial(self.transforms_prob, count, replacement=self.replacement).tolist():
            x = self.transforms_list[index](x)
        return x


Share = Annotated[float, Field(ge=0, le=1)]
