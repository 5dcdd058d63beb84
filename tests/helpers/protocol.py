"""Protocols for tests that make datasets by hand."""

from __future__ import annotations

from typing import Any

from datasets.protocol import ClipProtocol
from utils.clip_spec import ClipSpec
from utils.transforms.augment import Augment
from utils.transforms.cut_clip import CutClip


def for_training(clip: ClipSpec, transform: CutClip, augment: Any = None) -> ClipProtocol:
    """Random clips, one per sample. augment: default draws nothing."""
    return ClipProtocol(clip, transform, augment or Augment(mean=(0.0,) * 3, std=(1.0,) * 3), train=True)


def for_testing(clip: ClipSpec, transform: CutClip, augment: Any = None, *, num_clips: int = 1) -> ClipProtocol:
    """`num_clips` fixed clips per sample."""
    return ClipProtocol(clip, transform, augment or Augment(mean=(0.0,) * 3, std=(1.0,) * 3), num_clips=num_clips)
