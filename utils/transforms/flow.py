"""Optical flow between two pictures, and its grey levels as TSN stores them (Wang et al. 2016, arXiv 1608.00859).

A field is float32 (H, W, 2): how many pixels each point of the first picture moves to the right (x) and down (y) until
the second. Levels are uint8 (H, W, 2).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import cv2
import numpy as np

from utils.errors import FrameError, UserError

BOUND = 20.0  # pixels; TSN's
SMALLEST = 12  # pixels of the longer side that DIS needs


def dis(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Computes dense inverse search (Kroeger et al. 2016, arXiv 1603.03590), OpenCV's medium preset."""
    if max(before.shape) < SMALLEST:
        raise FrameError(f"a picture of {before.shape[1]}x{before.shape[0]} pixels is too small for DIS flow")
    threads = cv2.getNumThreads()
    if threads > 1:  # its answer depends on how the picture is shared among threads
        cv2.setNumThreads(1)
    try:
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, None)  # type: ignore[attr-defined]
    finally:
        if threads > 1:
            cv2.setNumThreads(threads)


def tvl1(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Computes TV-L1 (Zach et al. 2007, TSN's choice) as scikit-image has it, many times slower."""
    from skimage.registration import optical_flow_tvl1

    rows, columns = optical_flow_tvl1(before, after)
    return np.dstack([columns, rows]).astype(np.float32)


Algorithm = Callable[[np.ndarray, np.ndarray], np.ndarray]
ALGORITHMS: dict[str, Algorithm] = {"dis": dis, "tvl1": tvl1}


def needs(algorithm: str) -> None:
    """Raises UserError with the command that installs what an algorithm needs and is missing."""
    if algorithm == "tvl1" and importlib.util.find_spec("skimage") is None:
        raise UserError("--algorithm tvl1 needs scikit-image: pip install -r requirements-extras.txt; or take dis")


def to_levels(field: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Maps -bound..bound to 0..255, rounded and clipped. No motion, 127.5, becomes 128 (half to even)."""
    return np.rint((np.clip(field, -bound, bound) + bound) * (255 / (2 * bound))).astype(np.uint8)


def to_pixels(levels: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Maps levels to float32 pixels, which differ by at most bound / 255 from those they were made of."""
    return (levels.astype(np.float32) * (2 * bound / 255) - bound).astype(np.float32)


def to_colours(levels: np.ndarray) -> np.ndarray:
    """Maps levels (..., H, W, 2) to RGB, uint8 (..., H, W, 3): the hue is the direction, white does not move."""
    pixels = to_pixels(levels, 1.0)
    x, y = pixels[..., 0], pixels[..., 1]
    angle = np.arctan2(y, x) / (2 * np.pi) % 1
    strength = np.sqrt(np.minimum(np.hypot(x, y), 1))
    hsv = np.stack([angle * 180, strength * 255, np.full_like(angle, 255)], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv.reshape(1, -1, 3), cv2.COLOR_HSV2RGB).reshape(hsv.shape)
