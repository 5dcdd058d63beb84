"""Transforms clips (C, T, H, W) by PyTorchVideo's functions, under their names and arguments.

What is random is drawn from torch's generator. Functions that move boxes along are in boxes.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.sampling.draws import from_torch
from datasets.sampling.published import temporal_subsample
from utils.config.build import ArgumentError
from utils.transforms.crops import Box, TestCrops, inception_box, short_side_size

Interpolation = Literal["nearest", "linear", "bilinear", "bicubic", "area"]
Backend = Literal["pytorch", "opencv"]
_OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


def uniform_temporal_subsample(x: Tensor, num_samples: int, temporal_dim: int = -3) -> Tensor:
    """Takes `num_samples` frames, evenly from the first to the last; a clip of fewer frames repeats some."""
    indices = temporal_subsample(x.shape[temporal_dim], num_samples)
    return x.index_select(temporal_dim, torch.from_numpy(indices).to(x.device))


def uniform_temporal_subsample_repeated(
    frames: Tensor, frame_ratios: Sequence[int], temporal_dim: int = -3
) -> list[Tensor]:
    """Subsamples a clip once for each ratio, to that part of its frames: the pathways of SlowFast."""
    length = frames.shape[temporal_dim]
    if not all(1 <= ratio <= length for ratio in frame_ratios):
        raise ArgumentError(f"frame_ratios: {list(frame_ratios)} must be from 1 to the {length} frames of the clip")
    return [uniform_temporal_subsample(frames, length // ratio, temporal_dim) for ratio in frame_ratios]


def short_side_scale(
    x: Tensor, size: int, interpolation: Interpolation = "bilinear", backend: Backend = "pytorch"
) -> Tensor:
    """Scales the short side of a float clip to `size` pixels, without antialiasing; the long side is rounded down."""
    height, width = x.shape[-2:]
    return _resized(x, short_side_size(height, width, size), interpolation, backend)


def uniform_crop(images: Tensor, size: int, spatial_idx: int) -> Tensor:
    """Cuts a square at the start (0), the middle (1) or the end (2) of the longer side, in the middle of the other."""
    if spatial_idx not in (0, 1, 2):
        raise ArgumentError(f"spatial_idx: {spatial_idx} must be 0, 1 or 2")
    height, width = images.shape[-2:]
    if size > min(height, width):
        raise ArgumentError(f"size: {size} does not fit into frames of {width}x{height} pixels; scale the clip first")
    top, left = TestCrops(None, num_crops=3).plan(height, width, (size, size)).crops[spatial_idx]
    return images[..., top : top + size, left : left + size]


def random_resized_crop(
    frames: Tensor,
    target_height: int,
    target_width: int,
    scale: tuple[float, float],
    aspect_ratio: tuple[float, float],
    shift: bool = False,
    log_uniform_ratio: bool = True,
    interpolation: Interpolation = "bilinear",
    num_tries: int = 10,
) -> Tensor:
    """Cuts a random share `scale` of the area with a random `aspect_ratio` and resizes it to the target size.

    shift: draw one box for the first frame and one for the last; in between, the box moves evenly.
    log_uniform_ratio: draw the logarithm of the ratio. num_tries: boxes that are tried before a central one is taken.
    """
    if min(*scale, *aspect_ratio) <= 0:
        raise ArgumentError(f"scale, aspect_ratio: {scale} and {aspect_ratio} must be above 0")
    (height, width), size, rng = frames.shape[-2:], (target_height, target_width), from_torch()
    areas, ratios = (min(scale), max(scale)), (min(aspect_ratio), max(aspect_ratio))

    def draw() -> Box:
        return inception_box(height, width, rng, areas, ratios, tries=num_tries, log_uniform=log_uniform_ratio)

    if not shift:
        return _resized(_cut(frames, draw()), size, interpolation)
    # whole pixels, rounded down, as for the frames of a clip
    boxes = np.linspace(draw(), draw(), frames.shape[1]).astype(int).tolist()
    pieces = [_cut(frames[:, [place]], tuple(box)) for place, box in enumerate(boxes)]
    return torch.cat([_resized(piece, size, interpolation) for piece in pieces], 1)


def convert_to_one_hot(targets: Tensor, num_class: int, label_smooth: float = 0.0) -> Tensor:
    """Turns labels (B,) into rows (B, num_class) that sum to 1; `label_smooth` of each row is spread over all classes.

    Without smoothing the rows are integers.
    """
    if not 0 <= label_smooth < 1:
        raise ArgumentError(f"label_smooth: {label_smooth} must be from 0 to below 1")
    if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < num_class:
        raise ArgumentError(f"targets: labels {targets.tolist()} must be from 0 to {num_class - 1}")
    rows = F.one_hot(targets.long(), num_class)
    if not label_smooth:
        return rows
    rest = label_smooth / num_class
    return torch.where(rows.bool(), 1.0 - label_smooth + rest, rest)


def div_255(x: Tensor) -> Tensor:
    """Scales pixels from 0..255 to 0..1."""
    return x / 255.0


def _cut(frames: Tensor, box: Sequence[int]) -> Tensor:
    top, left, height, width = box
    return frames[..., top : top + height, left : left + width]


def _resized(x: Tensor, size: tuple[int, int], interpolation: str, backend: str = "pytorch") -> Tensor:
    if not x.is_floating_point():
        raise ArgumentError(f"clip: {x.dtype} would lose what lies between two grey levels; convert it to float first")
    if backend == "opencv":
        frames = [cv2.resize(frame, size[::-1], interpolation=_OPENCV[interpolation]) for frame in _channels_last(x)]
        return torch.from_numpy(np.stack(frames).reshape(len(frames), *size, -1)).permute(3, 0, 1, 2)
    smooth = interpolation not in ("nearest", "area")
    mode = "bilinear" if interpolation == "linear" else interpolation
    return F.interpolate(x, size, mode=mode, align_corners=False if smooth else None)


def _channels_last(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.permute(1, 2, 3, 0).numpy())  # C,T,H,W -> T,H,W,C
