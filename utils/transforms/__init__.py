"""Turns encoded frames into the pixels that a network sees, on the CPU or on a GPU.

The main classes can be imported from here. A module is loaded only when it is used, because most tools need few.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.transforms.augment import Augment
    from utils.transforms.cut_clip import CutClip
    from utils.transforms.image import decode_image
    from utils.transforms.presets import PRESETS, find_preset

__all__ = ["PRESETS", "Augment", "CutClip", "decode_image", "find_preset"]
_MODULES = {
    "Augment": "augment", "CutClip": "cut_clip", "decode_image": "image", "PRESETS": "presets",
    "find_preset": "presets",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
