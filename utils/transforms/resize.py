"""Resizes a picture as published projects do, each by the code of the library that it uses."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from utils.transforms.image import Size, resize_auto

# image (H, W, C), size, and memory of the result's shape and type that it may write into (and then returns), or None
Resize = Callable[[np.ndarray, Size, np.ndarray | None], np.ndarray]


def resize_linear(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes uint8 by OpenCV's bilinear interpolation, without antialiasing (mmaction2)."""
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def resize_pillow(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes by Pillow's bilinear interpolation, antialiased (MIT's TSM, tsn-pytorch)."""
    if image.shape[:2] == size:
        return image
    if image.shape[2] != 3:  # Pillow has no such kind of picture: channel by channel, as tsn-pytorch resizes flow
        return np.dstack([_pillow(channel, size) for channel in np.moveaxis(image, -1, 0)])
    return _pillow(image, size)


def _pillow(image: np.ndarray, size: Size) -> np.ndarray:
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_float(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes by PyTorch's bilinear interpolation on float32, without antialiasing; the result is float32 in 0..255.

    PySlowFast, PyTorchVideo and VMZ do this. OpenCV's float version rounds its coordinates differently, up to 1e-4 of
    the range.
    """
    import torch  # here, because tools that only decode do without it

    pixels = image.astype(np.float32)
    if image.shape[:2] == size:
        return pixels
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # H,W,C -> 1,C,H,W, a view: stays channels-last
    resized = torch.nn.functional.interpolate(batch, size=size, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def resize_rounded(image: np.ndarray, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes as `resize_float` does and rounds to uint8 (torchvision's video presets)."""
    return image if image.shape[:2] == size else np.rint(resize_float(image, size)).astype(np.uint8)


INTERPOLATIONS: dict[str, Resize] = {
    "auto": resize_auto,
    "linear": resize_linear,
    "pillow": resize_pillow,
    "float": resize_float,
    "rounded": resize_rounded,
}
