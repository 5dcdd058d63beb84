"""Makes strips: a few frames of a video side by side in one JPEG, read from the frame store of the experiment."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from datasets.lists.records import RecordList
from datasets.open import open_list, open_store
from datasets.stores.disk import FrameStore
from utils.config.schema import Common
from utils.errors import UserError
from utils.transforms.image import decode_image, jpeg_header

NUM_FRAMES = 6
HEIGHT = 72  # pixels
WIDEST = 160  # pixels per frame; a wider frame is cut to its middle
QUALITY = 60
GAP = 2  # pixels between frames


@dataclass
class Strips:
    """Holds the strips of some videos, and why others are missing.

    pictures: data URI of a strip by the path of its video in the list.
    frames: number of frames in that strip.
    left_out: number of videos beyond the byte budget.
    problem: why there are no strips, or what is wrong with the first video that cannot be read.
    """

    pictures: dict[str, str] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    problem: str | None = None

    def size(self) -> int:
        """Returns the number of bytes of all data URIs."""
        return sum(map(len, self.pictures.values()))


def make_strips(common: Common | None, paths: Iterable[str], *, budget: int) -> Strips:
    """Makes a strip for each path, in order, until `budget` bytes are used.

    A missing frame is a `problem`; it is never replaced by another one.
    """
    strips = Strips()
    wanted = list(dict.fromkeys(paths))
    if common is None or not wanted:
        strips.problem = None if not wanted else "there is no config that says where the frames are"
        return strips
    try:
        places = _places(common, wanted)
    except UserError as error:
        strips.problem = str(error)
        return strips
    used = 0
    for path in wanted:
        try:
            if path not in places:
                raise UserError(f"{path}: not in {common.val_source or common.train_source}")
            store, records, row = places[path]
            picture = _data_uri(_strip(store, records, row))
        except (UserError, ValueError) as error:
            strips.problem = strips.problem or f"{path}: {error}"
            continue
        if used + len(picture) > budget:
            strips.left_out += 1
            continue
        used += len(picture)
        strips.pictures[path] = picture
        strips.frames[path] = len(strip_indices(int(records.num_frames[row])))
    return strips


def _places(common: Common, wanted: list[str]) -> dict[str, tuple[FrameStore, RecordList, int]]:
    """Returns the store, the list and the row of each path in the validation list.

    The training list is looked at as well if paths are missing there, as those of the other folds are.
    """
    found: dict[str, tuple[FrameStore, RecordList, int]] = {}
    for name, source in (("val", common.val_source), ("train", common.train_source)):
        if source is None or (name == "train" and all(path in found for path in wanted)):
            continue
        records, _ = open_list(common, name)
        records, store, _ = open_store(common, records)
        for row in range(len(records)):
            found.setdefault(records.name(row), (store, records, row))
    return found


def strip_indices(num_frames: int) -> np.ndarray:
    """Returns the middle frames of equal parts of a video, int64 (min(NUM_FRAMES, num_frames),), 0-based."""
    count = min(NUM_FRAMES, max(num_frames, 1))
    return (np.arange(count) * 2 + 1) * max(num_frames, 1) // (2 * count)


def _strip(store: FrameStore, records: RecordList, row: int) -> np.ndarray:
    """Returns the frames of a video from left to right, uint8 (HEIGHT, W, 3), RGB."""
    first = 0 if records.first is None else int(records.first[row])
    frames = store.get_many(records.path(row), first + strip_indices(int(records.num_frames[row])))
    thumbnails = [_thumbnail(data) for data in frames]
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    parts = [part for thumbnail in thumbnails for part in (gap, thumbnail)][1:]
    return np.concatenate(parts, axis=1)


def _thumbnail(data: bytes) -> np.ndarray:
    """Decodes a frame to uint8 (HEIGHT, w <= WIDEST, 3), RGB."""
    header = jpeg_header(data)
    reduce = next((factor for factor in (8, 4, 2) if header is not None and header.height >= factor * HEIGHT), 1)
    image = decode_image(data, reduce)
    width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
    image = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    cut = max(0, width - WIDEST) // 2
    return image[:, cut : cut + WIDEST]


def _data_uri(image: np.ndarray) -> str:
    good, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not good:
        raise ValueError("the strip cannot be encoded")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
