"""Optical flow in a frame store: a field is two grey pictures, its x and its y, in two series beside the frames.

TSN's convention (Wang et al. 2016, arXiv 1608.00859), which tools/dump_flow.py keeps: flow_x_00001.jpg and
flow_y_00001.jpg, grey levels 0..255 for -bound..bound pixels, lead from the first frame to the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.lists.records import RecordList
from datasets.stores.disk import FrameStore
from datasets.stores.frame_names import FLOW_PAIRS, FolderNames, detect_template, normalise_template, probe
from utils.errors import ConfigError, ListError

SERIES = ("flow_x", "flow_y")  # what a pack calls them, below the path of the video
DUMP = "tools/dump_flow.py makes it from the frames"


class FlowStore:
    """The series of x and of y as one: picture 2 i is x, and 2 i + 1 is y, of field i."""

    reads_files = True

    def __init__(self, x: FrameStore, y: FrameStore) -> None:
        self.parts = (x, y)

    def frame_name(self, path: str, index: int) -> str:
        """What to call one picture in a message."""
        return self.parts[index % 2].frame_name(path, index // 2)

    def get_many(self, path: str, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """The pictures in the order asked for."""
        wanted = np.asarray(indices)
        found = [iter(part.get_many(path, wanted[wanted % 2 == axis] // 2)) for axis, part in enumerate(self.parts)]
        return [next(found[index % 2]) for index in wanted.tolist()]

    def stats(self) -> dict[str, int]:
        """Those of both series together."""
        return dict(sum((Counter(part.stats()) for part in self.parts), Counter()))


def field_pictures(indices: np.ndarray) -> np.ndarray:
    """Fields (n,) -> their pictures in a FlowStore (2 n,): x and y in turn."""
    return np.stack([2 * indices, 2 * indices + 1], axis=-1).reshape(-1)


@dataclass(frozen=True)
class FlowNames:
    """How the fields of a data set are called.

    x, y: templates. first: number of the first. fewer: how many fields less than the list says frames: 1 where the list
    counts frames and consecutive ones were compared, 0 where it counts fields.
    """

    x: str
    y: str
    first: int
    fewer: int


def detect_flow(records: RecordList, *, template: str | None = None, first_frame: int | None = None) -> FlowNames:
    """What the fields are called, from a few folders spread over the list; what is given is kept.

    template: of the x pictures. Raises: ListError where there are no fields; ConfigError for a template without an x.
    """
    surveys = {index: {one.template: one for one in series} for index, series in probe(records)}
    x = _x_template(records, surveys) if template is None else normalise_template(template)
    _, first = detect_template(records, template=x, first_frame=first_frame)
    gaps = Counter(
        int(records.num_frames[index]) - series[x].last + first - 1 for index, series in surveys.items() if x in series
    )
    fewer = max(0, gaps.most_common(1)[0][0]) if gaps else 1
    return FlowNames(x, y_template(x), first, fewer)


def y_template(x: str) -> str:
    """The template of the y pictures beside that of the x pictures. Raises: ConfigError where it has no x."""
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
        raise ListError(f"{folder}: no optical flow here nor in the other folders looked at; {DUMP}")
    return found.most_common(1)[0][0]
