"""Colour jitter as torchvision's v2 operations define it on uint8, within three grey levels and many times faster.

There are two ways to the same result: OpenCV clip by clip on a CPU, and on a device tensor arithmetic on whole batches,
without a host round trip. What is drawn is decided in augment.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

_CHUNK_PIXELS = 1 << 16

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

# torchvision truncates after every operation, OpenCV rounds: taking off half a level makes them equal (a hair less than
# half, so that a whole number stays itself)
_FLOOR = -0.49999
_GREY = (0.2989, 0.587, 0.114)
_GREY_ROW = np.array([_GREY], np.float32)
# torchvision's float -> uint8: floor(x * 255.999) for x in 0..1
_TO_UINT8 = 255.999 / 255


def jitter_clip(clip: np.ndarray, order: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Jitters uint8 RGB (T, H, W, 3), C-contiguous, on the CPU; returns a new array of that shape.

    order: (F, 4) operations, factors: (F, 4) by operation (hue in turns), with F = 1 for the whole clip or T for each
    frame its own. A factor of 1 (hue 0) leaves the pixels as they are.
    """
    num_frames, height, width, _ = clip.shape
    # as many frames at once as stay in the cache between operations
    step = 1 if len(order) > 1 else max(1, _CHUNK_PIXELS // (height * width))
    out = clip.copy()
    scratch = np.empty((2, min(step, num_frames) * height, width, 3), np.float32)
    for start in range(0, num_frames, step):
        drawn = start if len(order) > 1 else 0
        pixels = out[start : start + step].reshape(-1, width, 3)  # a view: frames one below the other
        _jitter(pixels, height, order[drawn], factors[drawn], scratch[:, : len(pixels)])
    return out


def _jitter(pixels: np.ndarray, height: int, order: np.ndarray, factors: np.ndarray, scratch: np.ndarray) -> None:
    """Works in place on frames of `height` rows each."""
    for operation in order:
        factor = float(factors[operation])
        if factor == (0.0 if operation == HUE else 1.0):
            continue
        if operation == BRIGHTNESS:
            cv2.convertScaleAbs(pixels, alpha=factor, beta=_FLOOR, dst=pixels)
        elif operation == CONTRAST:
            grey = _grey_levels(pixels, scratch[0])
            for top in range(0, len(pixels), height):  # every frame has a mean of its own
                frame = pixels[top : top + height]
                shift = (1 - factor) * cv2.mean(grey[top : top + height])[0]
                cv2.addWeighted(frame, factor, frame, 0.0, shift + _FLOOR, dst=frame)
        elif operation == SATURATION:
            grey = cv2.cvtColor(_grey_levels(pixels, scratch[0]), cv2.COLOR_GRAY2RGB)
            cv2.addWeighted(pixels, factor, grey, 1 - factor, _FLOOR, dst=pixels)
        else:
            _shift_hue(pixels, factor, scratch)


def _grey_levels(pixels: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """Returns grey levels, uint8 (H, W), truncated as in the reference; OpenCV's own conversion rounds."""
    np.copyto(scratch, pixels)
    return cv2.convertScaleAbs(cv2.transform(scratch, _GREY_ROW), beta=_FLOOR)


def _shift_hue(pixels: np.ndarray, turns: float, scratch: np.ndarray) -> None:
    # in float: eight bits of hue and saturation would cost up to four grey levels
    rgb, hsv = scratch
    np.copyto(rgb, pixels)
    cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV, dst=hsv)  # degrees, 0..1, 0..255
    np.add(hsv[..., 0], 360 * (turns % 1), out=hsv[..., 0])
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=rgb)
    cv2.convertScaleAbs(rgb, alpha=_TO_UINT8, beta=_FLOOR, dst=pixels)


def jitter_batch(clips: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Jitters uint8 (M, T, H, W, 3) on any device; returns float32 whole numbers 0..255 of that shape.

    order, factors: (M, F, 4), F = 1 or T. Nothing is read back from the device: each clip's operations before its hue
    shift go into three slots, those after it into three more, and a slot that a clip does not use is a blend with
    factor 1, which changes nothing.
    """
    planes = [plane.to(torch.float32) for plane in clips.unbind(-1)]  # R, G, B, each (M, T, H, W)
    shifts = factors[..., HUE]
    hue_place = (order == HUE).to(torch.int8).argmax(-1, keepdim=True)  # (M, F, 1)
    places = torch.arange(4, device=order.device)
    chosen = factors.gather(-1, order)
    for early in (True, False):
        active = places < hue_place if early else places > hue_place
        for place in range(3) if early else range(1, 4):
            factor = torch.where(active[..., place], chosen[..., place], 1.0)
            planes = _blend(planes, order[..., place], factor)
        if early:
            planes = _rotate_hue(planes, shifts[..., None, None])
    return torch.stack(planes, -1)


@functools.cache
def compiled_jitter_batch() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Returns `jitter_batch` fused by torch.compile.

    Its many small operations then read and write memory once, in a seventh of the time on a GPU. A few results differ,
    by a level or two, where a sum is rounded once instead of twice.
    """
    return torch.compile(jitter_batch, dynamic=False)


def _blend(planes: list[Tensor], operation: Tensor, factor: Tensor) -> list[Tensor]:
    """Mixes each pixel with black, the frame's mean grey or its own grey, as (M, F) `operation` says."""
    operation, factor = operation[..., None, None], factor[..., None, None]  # (M, F, 1, 1)
    grey = (_GREY[0] * planes[0] + _GREY[1] * planes[1] + _GREY[2] * planes[2]).floor_()
    target = torch.where(operation == CONTRAST, grey.mean((-2, -1), keepdim=True), grey)
    target = torch.where(operation == BRIGHTNESS, 0.0, target) * (1 - factor)
    return [(plane * factor).add_(target).clamp_(0, 255).floor_() for plane in planes]


def _rotate_hue(planes: list[Tensor], turns: Tensor) -> list[Tensor]:
    """Shifts the hue by `turns`; a shift of exactly 0 returns the same whole numbers."""
    red, green, blue = planes
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue + 6 * turns
    rotated = []
    for corner in (5, 3, 1):  # Red, green and blue are value - chroma * a trapezium of the hue, shifted by two sixths
        distance = (hue + corner).remainder(6)
        slope = torch.minimum(distance, 4 - distance).clamp_(0, 1)
        rotated.append((value - chroma * slope).mul_(_TO_UINT8).floor_().clamp_(0, 255))
    return rotated
