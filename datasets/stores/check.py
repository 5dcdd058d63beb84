"""Checks that the disk holds what a list says, before the first step, on records spread over the list."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

import numpy as np

from datasets.lists.records import RecordList
from datasets.places.files import exists, is_plain
from datasets.stores.disk import DiskStore, FrameStore
from datasets.stores.flow import DUMP, SERIES, FlowStore
from datasets.stores.frame_names import FLOW_PREFIXES, list_frames
from datasets.stores.packed import PackedStore
from utils.errors import FrameError, ListError
from utils.scoring.label_sets import LabelSets, numbers_hint, spaces_hint

_FEW = 24  # records that are looked for at an address, which takes requests


def can_look(store: FrameStore) -> TypeGuard[DiskStore | PackedStore | FlowStore]:
    """Returns whether `check_on_disk` knows where this store keeps its frames."""
    parts = store.parts if isinstance(store, FlowStore) else (store,)
    return all(isinstance(part, DiskStore | PackedStore) for part in parts)


def check_on_disk(
    records: RecordList, store: DiskStore | PackedStore | FlowStore, *, limit: int = 1000, allowed: int = 0
) -> int:
    """Looks for the first and the last frame of up to `limit` records spread evenly over the list.

    For optical flow it looks for both series, and the records count fields. Returns the number of records it looked at.

    Raises ListError with file and line for a missing folder or fewer frames than the list says, if there are more than
    `allowed` such records or no other ones.
    """
    if isinstance(store, FlowStore):
        return max(check_on_disk(records, part, limit=limit, allowed=allowed) for part in store.parts if can_look(part))
    if isinstance(store, DiskStore) and not is_plain(records.full_path(0)):
        limit = min(limit, _FEW)
    chosen = np.unique(np.linspace(0, len(records) - 1, min(limit, len(records))).astype(np.int64))
    found: list[ListError] = []
    for index in chosen.tolist():
        try:
            _check(records, store, index)
        except ListError as error:
            found.append(error)
            if len(found) > allowed or len(found) == len(chosen):
                raise found[0] from None
    return len(chosen)


def _check(records: RecordList, store: DiskStore | PackedStore, index: int) -> None:
    if isinstance(store, PackedStore):
        _check_packed(records, store, index)
        return
    path, first = records.path(index), _first(records, index)
    for frame in (first, first + int(records.num_frames[index]) - 1) if store.template is not None else (0,):
        try:
            there = exists(store.frame_name(path, frame))
        except FrameError as error:  # a server that does not answer
            raise ListError(f"{records.where(index)}: {error}") from None
        if not there:
            raise ListError(f"{records.where(index)}: {_explain(records, store, index, frame)}")


def _check_packed(records: RecordList, store: PackedStore, index: int) -> None:
    packed, listed = store.num_frames(records.path(index)), _first(records, index) + int(records.num_frames[index])
    if packed < listed:
        frames = "frames" if store.series is None else store.series
        pack = f"in the pack {store.folder}"
        needs = "in the list" if records.spans is None else "up to the end of this span"
        what = f"is not {pack}" if packed < 0 else f"has {packed} {frames} {pack}, but {listed} {needs}"
        raise ListError(
            f"{records.where(index)}: {records.path(index)!r} {what}; run tools/pack_frames.py with this list"
            f"{' and --flow' * (store.series in SERIES)}"
        )


def _first(records: RecordList, index: int) -> int:
    return 0 if records.first is None else int(records.first[index])


def _explain(records: RecordList, store: DiskStore, index: int, frame: int) -> str:
    if not is_plain(store.frame_name(records.path(index), frame)):
        there = f"frames {store.template} from {store.first_frame}" if store.template else "its images"
        name = store.frame_name(records.path(index), frame)
        return f"{name}: no such file; check train_root / val_root, and that the list is that of {there}"
    file = Path(store.frame_name(records.path(index), frame))
    if store.template is None:
        return f"image not found: {file}; check train_root / val_root and the list"
    folder = Path(records.full_path(index))
    if not folder.is_dir():
        explain = spaces_hint if isinstance(records.labels, LabelSets) else numbers_hint
        hint = explain(records.path(index)) if records.spans is None else ""
        return f"folder not found: {folder}; check train_root / val_root, or dump the video again{hint}"
    if Path(store.template).name.startswith(FLOW_PREFIXES):
        fields = f"{records.num_frames[index]} fields of optical flow"
        return f"{file.name} is missing in {folder}, which should have {fields}; {DUMP}"
    series = {one.template: one for one in list_frames(file.parent)} if file.parent.is_dir() else {}
    one = series.get(Path(store.template).name)
    if one is None:
        found = ", ".join(sorted(series)) or "no numbered images"
        return f"{folder} has no frames called {store.template}; it has {found}; set data.frame_template"
    if records.spans is not None:
        span = f"{file.name} is missing, which this span shows; {folder} holds {one.count}"
        return f"{span}: correct the list (tools/check_data.py --fix) or dump the video again"
    if frame == 0:
        return f"{folder} begins with frame number {one.first}, not {store.first_frame}; set data.first_frame, or " + (
            "dump the video again"
        )
    return (
        f"the list says {records.num_frames[index]} frames, but {file.name} is missing and {folder} holds {one.count}; "
        "correct the list (tools/check_data.py --fix) or dump the video again"
    )
