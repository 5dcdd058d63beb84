"""PyTorchVideo's transforms under its own names, for the dictionaries of labeled_videos.py; clips are (C, T, H, W).

torchvision's crops and flips fit in between, because they work on the last two axes. Runs of main.py use
utils/transforms/cut_clip.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.sampling.published import temporal_subsample
from utils.errors import ConfigError
from utils.transforms.crops import short_side_size

Sample = dict[str, Any]


class ApplyTransformToKey:
    """Transforms one entry of a sample, each clip by itself where there are several."""

    def __init__(self, key: str, transform: Callable[[Any], Any]) -> None:
        self.key, self.transform = key, transform

    def __call__(self, sample: Sample) -> Sample:
        """Returns a new dictionary. Raises ConfigError when the key is missing."""
        if self.key not in sample:
            raise ConfigError(f"ApplyTransformToKey: no {self.key!r} in a sample, which has {', '.join(sample)}")
        value = sample[self.key]
        several = isinstance(value, list)
        return {**sample, self.key: [self.transform(one) for one in value] if several else self.transform(value)}


class RemoveKey:
    """Removes one entry of a sample. A missing entry is no error, because videos may have sound or not."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, sample: Sample) -> Sample:
        """Returns a new dictionary."""
        return {key: value for key, value in sample.items() if key != self.key}


class UniformTemporalSubsample:
    """Takes `num_samples` frames, evenly from the first to the last; a clip of fewer frames repeats some."""

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    def __call__(self, clip: Tensor) -> Tensor:
        """Subsamples clips (C, T, H, W) to (C, num_samples, H, W)."""
        return clip[:, torch.from_numpy(temporal_subsample(clip.shape[1], self.num_samples))]


class ShortSideScale:
    """Scales the short side to `size` pixels, bilinearly, without antialiasing; the long side is rounded down."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, clip: Tensor) -> Tensor:
        """Resizes clips (C, T, H, W), float, to (C, T, H', W')."""
        return _scaled(clip, self.size)


class RandomShortSideScale:
    """Scales the short side to a random size from min_size to max_size, both included."""

    def __init__(self, min_size: int, max_size: int) -> None:
        self.min_size, self.max_size = min_size, max_size

    def __call__(self, clip: Tensor) -> Tensor:
        """Resizes clips (C, T, H, W), float, to (C, T, H', W')."""
        return _scaled(clip, int(torch.randint(self.min_size, self.max_size + 1, ())))


class Div255:
    """Scales pixels from 0..255 to 0..1."""

    def __call__(self, clip: Tensor) -> Tensor:
        """Returns a clip of the same shape."""
        return clip / 255.0


class Normalize:
    """Subtracts the mean and divides by the standard deviation of each channel, the first axis."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = torch.tensor(mean)[:, None, None, None], torch.tensor(std)[:, None, None, None]

    def __call__(self, clip: Tensor) -> Tensor:
        """Normalises clips (C, T, H, W), float.

        Raises: ConfigError for pixels that are still in 0..255 with a mean for 0..1.
        """
        if self.mean.max() <= 1 and clip.amax() > 2:
            raise ConfigError("Normalize: a mean for 0..1 and pixels up to 255; put Div255() in front of it")
        return (clip - self.mean) / self.std


def _scaled(clip: Tensor, size: int) -> Tensor:
    height, width = clip.shape[-2:]
    return F.interpolate(clip, short_side_size(height, width, size), mode="bilinear", align_corners=False)
