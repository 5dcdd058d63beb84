"""Single images (`type: img`): each record is an image file, or a video from which one frame is taken."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datasets.frame_dataset import FrameDataset
from datasets.lists.parser import COLUMNS
from datasets.lists.tables import first_suffix
from datasets.sampling.rules import SEGMENT_RULES
from datasets.stores.frame_names import IMAGE_SUFFIXES


class ImageDataset(FrameDataset):
    """One image per record, as a clip of one frame: a random frame of a video in training, else the middle one."""

    rules: ClassVar[frozenset[str]] = SEGMENT_RULES
    rules_hint: ClassVar[str] = "img takes single images:"
    only_num_frames: ClassVar[int | None] = 1


def image_list_columns(source: str | Path) -> tuple[str, ...]:
    """Returns which numbers follow the path in the lines of a list.

    An image file has `path label`, a folder of frames `path num_frames label`; the first line decides, by the suffix of
    its path. Raises ListError if the list cannot be read.
    """
    return ("label",) if first_suffix(source) in IMAGE_SUFFIXES else COLUMNS
