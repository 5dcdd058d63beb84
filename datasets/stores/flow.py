"""Reads optical flow from frame stores: a field is two grey pictures, x and y, in two series next to the frames.

tools/dump_flow.py follows TSN's convention (Wang et al. 2016, arXiv 1608.00859): flow_x_00001.jpg and flow_y_00001.jpg
hold the flow from the first frame to the second, with grey levels 0..255 for -bound..bound pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.lists.manifest import FLOW_MANIFEST, MANIFEST
from datasets.lists.records import RecordList
from datasets.stores.disk import FrameStore
from datasets.stores.frame_names import FLOW_PAIRS, FolderNames, detect_template, normalise_template, probe
from utils.errors import ConfigError, ListError

SERIES = ("flow_x", "flow_y")  # their names in a pack, below the path of the video
DUMP = "tools/dump_flow.py computes it from the frames"


class FlowStore:
    """Joins the stores of the x and the y pictures: picture 2 i is the x, and picture 2 i + 1 the y, of field i.

    manifests: names of what says how the pictures were made; those of flow are made of frames.
    """

    reads_files = True
    manifests = (MANIFEST, FLOW_MANIFEST)

    def __init__(self, x: FrameStore, y: FrameStore) -> None:
        self.parts = (x, y)

    def frame_name(self, path: str, index: int) -> str:
        """Returns the name of one picture for messages."""
        return self.parts[index % 2].frame_name(path, index // 2)

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Returns the encoded pictures in the order of `indices`."""
        wanted = np.asarray(indices)
        found = [iter(part.get_many(path, wanted[wanted % 2 == axis] // 2)) for axis, part in enumerate(self.parts)]
        return [next(found[index % 2]) for index in wanted.tolist()]

    def num_frames(self, path: str) -> int:
        """Returns the number of frames that the fields of a video lead through, one more than fields; -1 if unknown."""
        count = getattr(self.parts[0], "num_frames", None)
        fields = -1 if count is None else count(path)
        return -1 if fields < 0 else fields + 1

    @property
    def names(self) -> str:
        """The names of the files of fields, as the two stores have them."""
        return ", ".join(filter(None, (getattr(part, "names", "") for part in self.parts)))

    @property
    def contents(self) -> Callable[[Sequence[str]], str] | None:
        """The function that returns a digest of the fields of some videos; None where that would mean to read them."""
        known = [getattr(part, "contents", None) for part in self.parts]
        return None if None in known else lambda paths: "-".join(one(paths) for one in known if one is not None)

    def stats(self) -> dict[str, int]:
        """Returns the counts of both series together."""
        return dict(sum((Counter(part.stats()) for part in self.parts), Counter()))


def field_pictures(indices: np.ndarray) -> np.ndarray:
    """Returns the indices (2 n,) of the pictures of n fields in a FlowStore: x and y in turn."""
    return np.stack([2 * indices, 2 * indices + 1], axis=-1).reshape(-1)


@dataclass(frozen=True)
class FlowNames:
    """Holds the file names of the fields of a data set.

    x, y: templates of the two series.
    first: number of the first field.
    fewer: by how much the fields are fewer than the list's numbers: 1 if the list counts frames (and flow leads from
        each frame to the next) or has spans, 0 if it counts fields.
    """

    x: str
    y: str
    first: int
    fewer: int


def detect_flow(records: RecordList, *, template: str | None = None, first_frame: int | None = None) -> FlowNames:
    """Detects the file names of fields from a few folders spread over the list; given values are kept.

    template: template of the x pictures.

    Raises: ListError if there are no fields; ConfigError for a template that does not name x pictures.
    """
    surveys = {index: {one.template: one for one in series} for index, series in probe(records)}
    x = _x_template(records, surveys) if template is None else normalise_template(template)
    _, first = detect_template(records, template=x, first_frame=first_frame)
    if not records.counts_whole_videos:
        return FlowNames(x, y_template(x), first, 1)
    gaps = Counter(
        int(records.num_frames[index]) - series[x].last + first - 1 for index, series in surveys.items() if x in series
    )
    fewer = max(0, gaps.most_common(1)[0][0]) if gaps else 1
    return FlowNames(x, y_template(x), first, fewer)


def y_template(x: str) -> str:
    """Returns the template of the y pictures for that of the x pictures.

    Raises: ConfigError for a template that does not name x pictures.
    """
    for one, other in FLOW_PAIRS:
        if Path(x).name.startswith(one):
            return Path(x).with_name(Path(x).name.replace(one, other, 1)).as_posix()
    shown = ", ".join(f"{one}..." for one, _ in FLOW_PAIRS)
    raise ConfigError(
        f"common.data.frame_template: {x!r} does not name the x pictures of optical flow, which begin with {shown}"
    )


def _x_template(records: RecordList, surveys: dict[int, dict[str, FolderNames]]) -> str:
    found: Counter[str] = Counter()
    for series in surveys.values():
        found.update(name for name in series if name.startswith(tuple(x for x, _ in FLOW_PAIRS)))
    if not found:
        folder = records.full_path(next(iter(surveys)))
        raise ListError(f"{folder}: no optical flow in this folder or the others that were looked at; {DUMP}")
    return found.most_common(1)[0][0]
