"""Opens what a config names: the list of videos, its class names and the store of its frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets import STORES
from datasets.listed_videos import EncodedVideos, ListedVideos, StoredVideos
from datasets.lists.background import Background
from datasets.lists.class_names import Classes, find_classes
from datasets.lists.columns import composed, label_base
from datasets.lists.parser import COLUMNS, OFFSET_COLUMNS, label_columns
from datasets.lists.records import RecordList, read_list
from datasets.lists.shards import is_shards
from datasets.lists.shared_classes import with_shared_classes
from datasets.lists.spelling import as_on_disk
from datasets.lists.tables import is_table, number_classes, read_videos
from datasets.memcached_dataset import image_list_columns
from datasets.places.files import local_copy
from datasets.places.place import is_address, place
from datasets.stores.check import can_look, check_on_disk
from datasets.stores.disk import FrameStore, check_store
from datasets.stores.flow import SERIES, FlowStore, detect_flow
from datasets.stores.frame_names import IMAGE_SUFFIXES, detect_template
from datasets.stores.spans import find_frames
from utils.config.build import build
from utils.config.schema import SEGMENT, Common
from utils.errors import ConfigError, FrameError, ListError
from utils.scoring.label_sets import LabelSets


def open_list(common: Common, name: str) -> tuple[RecordList, list[str] | None]:
    """Reads train_source or val_source; returns its records and the class names, None without a class file.

    Only val_source may have videos without a label (-1). For type: segment it is of a video without spans, in both.

    Raises: ConfigError if the source is not set; ListError for anything wrong with the list or its class names.
    """
    source, root = (common.train_source, common.train_root) if name == "train" else (common.val_source, common.val_root)
    if source is None:
        raise ConfigError(
            f"common.{name}_source: is not set; it must name a list file of `path num_frames label` lines"
        )
    num_class, classes = common.model.num_class, classes_of(common)
    if classes is not None:
        classes.check(num_class)
    copy = _at_hand(common, source)
    given: dict[str, Any] = {"root": root, "num_class": num_class, "unlabelled": name == "val"}
    with _called(source, copy):
        columns, given["multi_label"] = list_columns(common, copy), common.multi_label
        if has_videos(common) or is_shards(copy) or is_table(copy):
            given |= {"columns": columns, "encoded": has_videos(common)}
            if common.model.type == SEGMENT:
                given |= {"unlabelled": False, "empty": True}
            records, names = read_videos(copy, **given, classes=classes, alone=False)
        else:
            columns = label_columns(columns, multi_label=given.pop("multi_label"))
            records = read_list(copy, **given, columns=columns)
            names = classes.names if classes is not None else None
    records.source = place(source)
    if common.multi_label and common.data.with_offset:
        records = with_shared_classes(records)
    if name == "train" and classes is not None:
        _check_base(records, classes)
    return as_on_disk(records), names


def _at_hand(common: Common, source: str) -> str:
    """Returns a list that can be opened: for one at an address its copy in the cache.

    Raises: ConfigError for tars whose samples the method cannot read; FrameError if the address cannot be read.
    """
    if is_shards(source):
        if not has_videos(common) and common.model.type != "img":
            raise ConfigError(
                f"{source}: tars hold videos, which need data.store: {{type: video}}, or pictures for model.type: img"
            )
        return source
    return os.fspath(local_copy(place(source)))


@contextmanager
def _called(source: str, copy: str) -> Iterator[None]:
    """Lets errors name a list at an address as the config does, and not its copy."""
    try:
        yield
    except (ConfigError, ListError) as error:
        if not is_address(source):
            raise
        raise type(error)(str(error).replace(copy, source)) from None


def list_columns(common: Common, source: str) -> tuple[str, ...]:
    """Returns which numbers follow the path in the lines of a list, as `read_list` takes them.

    Raises: ConfigError for data.with_offset with lists of image files, of which no part can be meant.
    """
    columns = image_list_columns(source) if common.model.type == "img" else COLUMNS
    if common.data.with_offset:
        if columns != COLUMNS:
            raise ConfigError(
                f"common.data.with_offset: {source} names image files, which have no frames to count from"
            )
        return OFFSET_COLUMNS
    return ("label",) if has_videos(common) else columns


def classes_of(common: Common) -> Classes | None:
    """Returns the classes of an experiment, numbered once for both of its lists; None if nothing names them.

    Without a class file the training list numbers them. It need not be there for lists whose labels are numbers.

    Raises: ListError for a wrong class file, for two that differ, and for names that nothing numbers.
    """
    sources = (common.train_source, common.train_root), (common.val_source, common.val_root)
    lists = [(source, root) for source, root in sources if source is not None]
    if (named := find_classes(lists, file=common.data.class_names)) is not None:
        return named
    gone = ""
    for source, root in lists:
        try:
            found = _classes_in(common, source, root)
        except FrameError as error:
            gone = gone or str(error)
            continue
        if found is not None and gone:
            raise ListError(
                f"{source}: has class names, which the training list numbers, and that cannot be read ({gone}); name "
                "all classes in a class file (data.class_names)"
            )
        return found
    return None


def _classes_in(common: Common, source: str, root: str) -> Classes | None:
    """Returns the classes that a list names; None if its labels are numbers.

    Raises: FrameError for a list that is not there or tars that cannot be read; ListError for a wrong list.
    """
    copy = _at_hand(common, source)
    if not is_shards(source) and not Path(copy).exists():
        raise FrameError(f"{source}: no such file")
    if not (is_shards(source) or has_videos(common) or is_table(copy)):
        return None
    try:
        with _called(source, copy):
            found = number_classes([(copy, root)], multi_label=common.multi_label)
    except ListError as error:
        raise FrameError(str(error)) if is_shards(source) else error from None
    return None if found is None else replace(found, source=place(source))


def _check_base(records: RecordList, classes: Classes) -> None:
    """Raises ListError where the class file says that the labels of the training list count from 1."""
    labels = records.labels.flat if isinstance(records.labels, LabelSets) else records.labels
    if classes.first == 1 and label_base(set(np.unique(labels).tolist()), None, classes.first):
        raise ListError(
            f"{records.source}: no video has label 0, and {classes.source} counts from 1, so the labels seem to count "
            "from 1, too, but must count from 0: tools/check_data.py --fix makes them; if they do, let the class file "
            "count from 0"
        )


def has_videos(common: Common) -> bool:
    """Returns whether the lists name encoded videos (data.store.type: video)."""
    return common.data.store.get("type") == "video"


def store_type(common: Common) -> str:
    """Returns data.store.type, "disk" by default. Raises ConfigError for a type that does not exist here."""
    kind = str(common.data.store.get("type", "disk"))
    check_store(kind, [*STORES, "video"])
    return kind


def open_frames(common: Common, records: RecordList) -> tuple[RecordList, FrameStore, str]:
    """Opens the store of the pictures that the method sees: frames, or fields of optical flow.

    Returns the records, whose num_frames count frames or fields; the store; and a description of both for the log.

    Raises: ListError where the frames of a span cannot be found.
    """
    return (open_flow if common.model.modality == "flow" else open_store)(common, records)


def open_flow(common: Common, records: RecordList) -> tuple[RecordList, FlowStore, str]:
    """Opens the store of optical flow, like `open_frames`. Raises: ListError if there is no optical flow."""
    kind, arguments = store_type(common), _store_arguments(common)

    def series(**naming: Any) -> FrameStore:
        return build(STORES, kind, arguments, where="common.data.store", root=records.root, **naming)

    if getattr(STORES.get(kind), "reads_files", True):
        names = detect_flow(records, template=common.data.frame_template, first_frame=common.data.first_frame)
        store = FlowStore(*(series(template=template, first_frame=names.first) for template in (names.x, names.y)))
        fewer, description = names.fewer, f"optical flow {names.x} and {names.y} from {names.first}"
    else:
        store = FlowStore(*(series(series=name) for name in SERIES))
        frames = store.num_frames(records.path(0)) if records.counts_whole_videos else -1
        fewer = 1 if frames < 0 else max(0, int(records.num_frames[0]) + 1 - frames)
        description = "optical flow"
    records = _find_frames(common, records, store).with_fewer_frames(fewer)
    return records, store, f"{description}, {fewer} fewer than the list's frames, {kind} store"


def open_whole(common: Common, records: RecordList) -> ListedVideos:
    """Opens the videos of a list for a method that sees them whole.

    Raises: ListError for folders of frames that are not there, or of an unknown length or rate.
    """
    if has_videos(common):
        return EncodedVideos(records, cache=common.data.store.get("cache"))
    store, description = _store_of(common, records)
    videos = StoredVideos(records, store, description, fps=common.data.fps, max_pixels=common.data.max_pixels)
    if can_look(store):
        check_on_disk(videos.whole, store, allowed=common.bad_frame_budget)
    return videos


def open_store(common: Common, records: RecordList) -> tuple[RecordList, FrameStore, str]:
    """Opens the store of frames that data.store sets, like `open_frames`."""
    store, description = _store_of(common, records)
    return records if _are_images(common, records) else _find_frames(common, records, store), store, description


def _are_images(common: Common, records: RecordList) -> bool:
    return common.model.type == "img" and Path(records.path(0)).suffix.lower() in IMAGE_SUFFIXES


def _store_of(common: Common, records: RecordList) -> tuple[FrameStore, str]:
    kind, arguments = store_type(common), _store_arguments(common)
    template, first, description = None, 0, f"{kind} store"
    if _are_images(common, records):
        description = f"image files, {description}"
    elif getattr(STORES.get(kind), "reads_files", True):
        given = common.data.frame_template, common.data.first_frame
        template, first = detect_template(records, template=given[0], first_frame=given[1])
        how = "as set" if None not in given else "detected"
        description = f"frames {template} from {first} ({how}), {description}"
    runtime = {"root": records.root, "template": template, "first_frame": first}
    if kind == "memcached" and is_address(records.root):
        raise ConfigError(
            f"common.data.store.type: memcached keeps frames of a disk, and {records.root} is an address, whose frames "
            "are kept on this machine's disk anyway: omit data.store"
        )
    store: FrameStore = build(STORES, kind, arguments, where="common.data.store", **runtime)
    return store, description


def _find_frames(common: Common, records: RecordList, store: FrameStore) -> RecordList:
    data, background = common.data, None
    if data.background.per_span:
        classes = classes_of(common)
        background = background_of(common, classes.names if classes is not None else None)
    rest: dict[str, Any] = {"background": background, "allowed": common.bad_frame_budget}
    return find_frames(records, store, fps=data.fps, context=data.context, **rest)


def background_of(common: Common, names: list[str] | None) -> Background | None:
    """Returns how much background the lists get; None for none. names: by class.

    Raises: ConfigError for a class that nothing names.
    """
    given = common.data.background
    if not given.per_span:
        return None
    if given.label is not None and given.label not in (names or ()):
        raise ConfigError(
            f"common.data.background.label: {given.label!r} is not a class; add it to the class file "
            "(data.class_names), which has to name the classes of the lists as well"
        )
    label = None if given.label is None or names is None else names.index(given.label)
    return Background(given.per_span, given.place == "hard", label, common.seed)


def _store_arguments(common: Common) -> dict[str, Any]:
    return {key: value for key, value in common.data.store.items() if key != "type"}


def flip_labels(common: Common, names: list[str] | None) -> np.ndarray | None:
    """Returns the class of a mirrored clip for each class, int64 (K,); None if augmentation.flip_labels is not set.

    Raises: ConfigError for an unknown class, and for a class whose mirror image does not mirror back to it.
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
            f"common.augmentation.flip_labels: mirroring twice must give the first class again, but {shown!r} becomes "
            "another one; list both directions, {left: right, right: left}"
        )
    return table


def _label(value: str | int, names: list[str] | None, count: int) -> int:
    if isinstance(value, str) and names and composed(value) in names:
        return names.index(composed(value))
    if isinstance(value, int) and 0 <= value < count:
        return value
    known = "give a name from the class file or a label" if names else "there is no class file, so give labels"
    raise ConfigError(f"common.augmentation.flip_labels: {value!r} is not a class; {known} in 0..{count - 1}")
