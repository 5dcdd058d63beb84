"""What a method asks of the data: how many frames it sees at once, how far apart, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipSpec:
    """The clip a method wants to see.

    num_frames: T, the frames the network sees at once (TSN and TSM: one per segment).
    frame_stride: step between them in source frames; used by rules that take a window, 1 elsewhere.
    sampling: name of the rule in `datasets.sampling.SAMPLING`.
    dataset: name of the dataset in `datasets.DATASETS`.
    """

    num_frames: int
    frame_stride: int = 1
    sampling: str = "segments"
    dataset: str = "tsn"
