"""Moves boxes along with the pixels of clips (C, T, H, W), by PyTorchVideo's functions.

Boxes are rows (N, 4) of x1, y1, x2, y2 in pixels. No network here scores boxes; these are for programs that do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.clip_transforms.functional import Backend, Interpolation, short_side_scale, uniform_crop
from utils.config.build import ArgumentError
from utils.transforms.crops import TestCrops


def short_side_scale_with_boxes(
    images: Tensor,
    boxes: Tensor,
    size: int,
    interpolation: Interpolation = "bilinear",
    backend: Backend = "pytorch",
) -> tuple[Tensor, Tensor]:
    """Scales the short side to `size` pixels, and the boxes with it; they are changed in place, as by PyTorchVideo."""
    _checked(boxes)
    height, width = images.shape[-2:]
    scaled = short_side_scale(images, size, interpolation, backend)
    boxes *= scaled.shape[-2] / height if width < height else scaled.shape[-1] / width
    return scaled, boxes


def random_short_side_scale_with_boxes(
    images: Tensor,
    boxes: Tensor,
    min_size: int,
    max_size: int,
    interpolation: Interpolation = "bilinear",
    backend: Backend = "pytorch",
) -> tuple[Tensor, Tensor]:
    """Scales the short side to a random size from `min_size` to `max_size`, and the boxes in place."""
    if not 0 < min_size <= max_size:
        raise ArgumentError(f"min_size, max_size: {min_size} and {max_size} must be above 0 and in order")
    size = int(torch.randint(min_size, max_size + 1, ()))
    return short_side_scale_with_boxes(images, boxes, size, interpolation, backend)


def random_crop_with_boxes(images: Tensor, size: int, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts a square at a random place. Boxes end at its border."""
    height, width = _holds(images, size)
    top, left = (int(torch.randint(0, side - size + 1, ())) for side in (height, width))
    return _cut(images, size, top, left, boxes)


def uniform_crop_with_boxes(images: Tensor, size: int, spatial_idx: int, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts a square as `uniform_crop` does. Boxes end at its border."""
    height, width = images.shape[-2:]
    cropped = uniform_crop(images, size, spatial_idx)
    top, left = TestCrops(None, num_crops=3).plan(height, width, (size, size)).crops[spatial_idx]
    return cropped, clip_boxes_to_image(crop_boxes(boxes, left, top), size, size)


def horizontal_flip_with_boxes(prob: float, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mirrors clip and boxes with the probability `prob`."""
    _checked(boxes)
    if float(torch.rand(())) >= prob:
        return images, boxes.clone()
    width = images.shape[-1]
    mirrored = boxes.clone()
    mirrored[:, [0, 2]] = width - boxes[:, [2, 0]] - 1
    return images.flip(-1), mirrored


def clip_boxes_to_image(boxes: Tensor, height: int, width: int) -> Tensor:
    """Returns boxes that end at the border of a picture: 0 to width - 1 and height - 1."""
    _checked(boxes)
    last = torch.tensor([width, height, width, height], dtype=boxes.dtype, device=boxes.device) - 1
    return torch.minimum(boxes.clamp(min=0), last)


def crop_boxes(boxes: Tensor, x_offset: int, y_offset: int) -> Tensor:
    """Returns where boxes lie in a crop that begins at these offsets."""
    _checked(boxes)
    return boxes - torch.tensor([x_offset, y_offset] * 2, dtype=boxes.dtype, device=boxes.device)


def _cut(images: Tensor, size: int, top: int, left: int, boxes: Tensor) -> tuple[Tensor, Tensor]:
    cropped = images[..., top : top + size, left : left + size]
    return cropped, clip_boxes_to_image(crop_boxes(boxes, left, top), size, size)


def _holds(images: Tensor, size: int) -> tuple[int, int]:
    height, width = images.shape[-2:]
    if not 0 < size <= min(height, width):
        raise ArgumentError(f"size: {size} does not fit into frames of {width}x{height} pixels; scale the clip first")
    return int(height), int(width)


def _checked(boxes: Tensor) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ArgumentError(f"boxes: have the shape {tuple(boxes.shape)}; they must be rows of x1, y1, x2, y2")
