"""Groups of images (`type: tsn`, `tsm`): one frame from each segment of a video, or a dense window of them."""

from __future__ import annotations

from typing import ClassVar

from datasets.frame_dataset import FrameDataset
from datasets.sampling.rules import SEGMENT_RULES


class TSNDataset(FrameDataset):
    """T = num_segments frames per video (TSN, Wang et al. 2016, arXiv 1608.00859, sec. 3)."""

    rules: ClassVar[frozenset[str]] = SEGMENT_RULES
    rules_hint: ClassVar[str] = "tsn and tsm take one frame per segment:"
