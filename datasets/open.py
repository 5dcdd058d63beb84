"""From the config to a list of videos, its class names, and the store its frames are in."""

from __future__ import annotations

from typing import Any

import numpy as np

from datasets import STORES
from datasets.lists.class_names import read_class_names
from datasets.lists.parser import COLUMNS, label_columns
from datasets.lists.records import RecordList, read_list
from datasets.lists.tables import read_videos
from datasets.memcached_dataset import image_list_columns
from datasets.stores.disk import FrameStore, check_store
from datasets.stores.flow import SERIES, FlowStore, detect_flow
from datasets.stores.frame_names import detect_template
from utils.config.build import build
from utils.config.schema import Common
from utils.errors import ConfigError, ListError


def open_list(common: Common, name: str) -> tuple[RecordList, list[str] | None]:
    """The records of train_source or val_source, and the class names if there is a class file.

    Only those of val_source may have videos without a label (-1).
    """
    source, root = (common.train_source, common.train_root) if name == "train" else (common.val_source, common.val_root)
    if source is None:
        raise ConfigError(f"common.{name}_source: is not set; it names the list file `path num_frames label`")
    if has_videos(common):
        records, names = read_videos(
            source,
            root=root,
            num_class=common.model.num_class,
            class_names=common.data.class_names,
            multi_label=common.multi_label,
            unlabelled=name == "val",
        )
        if names is not None and len(names) != common.model.num_class:
            raise ListError(f"{source}: has {len(names)} classes, but model.num_class is {common.model.num_class}")
        return records, names
    columns = image_list_columns(source) if common.model.type == "img" else COLUMNS
    columns = label_columns(columns, multi_label=common.multi_label)
    records = read_list(source, root=root, num_class=common.model.num_class, columns=columns, unlabelled=name == "val")
    names = read_class_names(source, root=root, num_class=common.model.num_class, path=common.data.class_names)
    return records, names


def has_videos(common: Common) -> bool:
    """Whether the lists name encoded videos."""
    return common.data.store.get("type") == "video"


def store_type(common: Common) -> str:
    """Returns data.store.type, "disk" by default. Raises ConfigError for a type that does not exist here."""
    kind = str(common.data.store.get("type", "disk"))
    check_store(kind, [*STORES, "video"])
    return kind


def open_frames(common: Common, records: RecordList) -> tuple[RecordList, FrameStore, str]:
    """What the method sees of the records: with optical flow, their fields in the place of frames.

    Returns the records, whose num_frames count what the store has; the store; and in words how that was found out.
    """
    if common.model.modality == "flow":
        return open_flow(common, records)
    return records, *open_store(common, records)


def open_flow(common: Common, records: RecordList) -> tuple[RecordList, FlowStore, str]:
    """The same for the fields. Raises: ListError where there are none."""
    kind, arguments = store_type(common), _store_arguments(common)

    def series(**naming: Any) -> FrameStore:
        return build(STORES, kind, arguments, where="common.data.store", root=records.root, **naming)

    if getattr(STORES.get(kind), "reads_files", True):
        names = detect_flow(records, template=common.data.frame_template, first_frame=common.data.first_frame)
        store = FlowStore(*(series(template=template, first_frame=names.first) for template in (names.x, names.y)))
        fewer, about = names.fewer, f"optical flow {names.x} and {names.y} from {names.first}"
    else:
        store = FlowStore(*(series(series=name) for name in SERIES))
        packed = getattr(store.parts[0], "num_frames", None)
        in_pack = -1 if packed is None else packed(records.path(0))
        fewer, about = (1 if in_pack < 0 else max(0, int(records.num_frames[0]) - in_pack)), "optical flow"
    return records.with_fewer_frames(fewer), store, f"{about}, {fewer} fewer than the list's frames, {kind} store"


def open_store(common: Common, records: RecordList) -> tuple[FrameStore, str]:
    """The store of the frames themselves by data.store, and in words how it names frames and how that was found."""
    kind, arguments = store_type(common), _store_arguments(common)
    template, first, about = None, 0, f"{kind} store"
    if common.model.type == "img" and not int(records.num_frames.max()):
        about = f"image files, {about}"
    elif getattr(STORES.get(kind), "reads_files", True):
        given = common.data.frame_template, common.data.first_frame
        template, first = detect_template(records, template=given[0], first_frame=given[1])
        how = "as set" if None not in given else "detected"
        about = f"frames {template} from {first} ({how}), {about}"
    runtime = {"root": records.root, "template": template, "first_frame": first}
    return build(STORES, kind, arguments, where="common.data.store", **runtime), about


def _store_arguments(common: Common) -> dict[str, Any]:
    return {key: value for key, value in common.data.store.items() if key != "type"}


def flip_labels(common: Common, names: list[str] | None) -> np.ndarray | None:
    """int64 (K,): the class of a mirrored clip, from augmentation.flip_labels; None when flipping changes no class.

    Raises: ConfigError for a class that is not there, and for a pair that does not mirror back.
    """
    pairs = common.augmentation.flip_labels
    if not pairs:
        return None
    count = common.model.num_class
    table = np.arange(count)
    for one, other in pairs.items():
        table[_label(one, names, count)] = _label(other, names, count)
    if (table[table] != np.arange(count)).any():
        wrong = int(np.flatnonzero(table[table] != np.arange(count))[0])
        shown = names[wrong] if names else wrong
        raise ConfigError(
            f"common.augmentation.flip_labels: a clip mirrored twice is the clip again, but {shown!r} does not come "
            "back to itself: list both directions, {left: right, right: left}"
        )
    return table


def _label(value: str | int, names: list[str] | None, count: int) -> int:
    if isinstance(value, str) and names and value in names:
        return names.index(value)
    if isinstance(value, int) and 0 <= value < count:
        return value
    known = "give a name of the class file or a label" if names else "there is no class file, so give labels"
    raise ConfigError(f"common.augmentation.flip_labels: {value!r} is no class; {known} in 0..{count - 1}")
