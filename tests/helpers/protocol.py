"""Protocols for tests that make datasets by hand."""

from __future__ import annotations

from typing import Any

from datasets.protocol import ClipProtocol
from utils.clip_spec import ClipSpec
from utils.transforms.augment import Augment
from utils.transforms.cut_clip import CutClip


def for_training(clip: ClipSpec, transform: CutClip, augment: Any = None, **given: Any) -> ClipProtocol:
    """Random clips, one per sample. augment: default draws nothing. given: other fields."""
    return ClipProtocol(clip, transform, augment or _nothing(), train=True, **given)


def for_testing(clip: ClipSpec, transform: CutClip, augment: Any = None, **given: Any) -> ClipProtocol:
    """Fixed clips, one per sample by default. given: other fields."""
    return ClipProtocol(clip, transform, augment or _nothing(), **given)


def _nothing() -> Augment:
    return Augment(mean=(0.0,) * 3, std=(1.0,) * 3)
