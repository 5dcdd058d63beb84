"""Reads list files into flat arrays, so that all workers share ten million videos without ten million objects.

parser.py reads the lines of a list, and checks.py looks at what is in them; here large lists are cached.
stores/check.py compares a list with the disk.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.lists.checks import check_counts, check_labels, check_paths, check_spelling, has_nul
from datasets.lists.parser import COLUMNS, ParsedList, parse_list
from datasets.lists.spans import span_in_words, span_mark
from datasets.places.place import default_cache_folder, join, place
from utils.flat_file import is_offsets, open_arrays, save_arrays
from utils.scoring.label_sets import LabelSets

_CACHE_ABOVE = 32 << 20  # bytes of text; below this, reading the list again is as quick
_CACHE_VERSION = 2
_log = logging.getLogger(__name__)


class RecordList:
    """Holds the n records of one list file: videos, or spans of videos.

    source: the list file.
    root: folder that `full_path` puts before the paths, which are kept as the list has them.
    num_frames: int32 (n,), the frames of the record; 0 where the list gives no number.
    labels: int32 (n,), 0-based, -1 where the list gives no label; LabelSets if videos have sets of classes.
    spans: (n, 2), start and end of records that are spans, as the list has them; None if all are whole videos. Seconds
        are float64, nan for a whole video; frames, counted from 0 and without the one at the end, are int32, -1 for a
        whole video.
    first: int32 (n,), which frame of its video is the first one of the record; None where each begins its video.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        root: str | os.PathLike[str],
        *,
        blob: np.ndarray,
        offsets: np.ndarray,
        num_frames: np.ndarray,
        labels: np.ndarray | LabelSets,
        lines: np.ndarray,
        spans: np.ndarray | None = None,
        first: np.ndarray | None = None,
        cache_file: Path | None = None,
    ) -> None:
        self.source, self.root = place(source), place(root)
        self.num_frames = num_frames
        self.labels = labels
        self.spans, self.first = spans, first
        self._blob, self._offsets, self._lines = blob, offsets, lines
        self._cache_file = cache_file

    def __len__(self) -> int:
        return len(self._lines)

    def path(self, index: int) -> str:
        """Returns the path of a record as the list has it; bytes that are not UTF-8 become surrogate characters."""
        start, stop = self._offsets[index], self._offsets[index + 1]
        return os.fsdecode(self._blob[start:stop].tobytes())

    def full_path(self, index: int) -> str:
        """Returns the path of a record with the root before it; an absolute path or an address stays as it is."""
        return join(self.root, self.path(index))

    @property
    def paths(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bytes of all paths, uint8, and the n + 1 places where they begin and the last one ends."""
        return self._blob, self._offsets

    def where(self, index: int) -> str:
        """Returns `file:line` of a record and its span, for messages: `val.csv:3 (1.5 to 4 s)`."""
        span = self.span_text(index)
        return f"{self.source}:{self.line(index)}{span and f' ({span})'}"

    def line(self, index: int) -> int:
        """Returns the line of a record in the list."""
        return int(self._lines[index])

    @property
    def counts_whole_videos(self) -> bool:
        """True if the list gives the number of frames of each video, and none of its records is a span."""
        return self.spans is None and bool(self.num_frames.all())

    @property
    def in_frames(self) -> bool:
        """True if its spans are in frames and not in seconds."""
        return self.spans is not None and self.spans.dtype.kind == "i"

    @property
    def labelled(self) -> np.ndarray:
        """The records with a known label, which may be an empty set of classes; bool (n,)."""
        return self.labels.known if isinstance(self.labels, LabelSets) else self.labels >= 0

    def span(self, index: int) -> tuple[float, float] | None:
        """Returns start and end of a record that is a span, in seconds or frames as `spans`; None for a whole video."""
        if self.spans is None:
            return None
        start, end = self.spans[index].tolist()
        return (start, end) if start >= 0 else None

    def span_text(self, index: int) -> str:
        """Returns the span of a record in words, for messages; "" for a whole video."""
        span = self.span(index)
        return "" if span is None else span_in_words(span, frames=self.in_frames)

    def name(self, index: int) -> str:
        """Returns what tells a record from all others: its path, and behind it the span, `a.mp4#t=1.5,4` in seconds.

        Spans in frames are `video#frames=30,90`.
        """
        span = self.span(index)
        return self.path(index) + ("" if span is None else span_mark(span, frames=self.in_frames))

    def with_frames(self, first: np.ndarray, num_frames: np.ndarray) -> RecordList:
        """Returns a copy of the list with other frames of its videos: int32 (n,) each."""
        arrays = self.arrays() | {"first": first, "num_frames": num_frames}
        return _rebuild(self.source, self.root, arrays, self._num_class)

    def with_more(self, owners: np.ndarray, spans: np.ndarray, frames: np.ndarray, *, label: int | None) -> RecordList:
        """Returns a copy of the list with m more records behind it, spans of the videos of others.

        owners: int64 (m,), the records whose path and line they have. spans: (m, 2), as in `spans`. frames: int64
        (m, 2), their first frame and the one after their last. label: their class; None for the empty set.
        """
        paths = [self._blob[self._offsets[owner] : self._offsets[owner + 1]] for owner in owners.tolist()]
        ends = self._offsets[-1] + np.cumsum([len(path) for path in paths], dtype=np.int64)
        first = np.zeros(len(self), np.int32) if self.first is None else self.first
        more: dict[str, Any] = {
            "blob": np.concatenate(paths or [self._blob[:0]]),
            "offsets": ends,
            "num_frames": frames[:, 1] - frames[:, 0],
            "lines": self._lines[owners],
            "labels": np.full(0 if label is None else len(owners), label or 0),
            "spans": spans,
            "first": frames[:, 0],
        }
        arrays = self.arrays() | {"first": first}
        if isinstance(self.labels, LabelSets):
            more["label_offsets"] = self.labels.offsets[-1] + np.arange(1, len(owners) + 1) * (label is not None)
        joined = {name: np.concatenate([array, more[name].astype(array.dtype)]) for name, array in arrays.items()}
        return _rebuild(self.source, self.root, joined, self._num_class)

    def with_fewer_frames(self, fewer: int) -> RecordList:
        """Returns a copy of the list with `fewer` frames subtracted from every record, but never below 0."""
        num_frames = np.maximum(self.num_frames - fewer, 0).astype(self.num_frames.dtype)
        return _rebuild(self.source, self.root, self.arrays() | {"num_frames": num_frames}, self._num_class)

    def with_paths(self, changed: Mapping[int, str]) -> RecordList:
        """Returns a copy of the list in which these records have other paths."""
        paths = [self._blob[start:stop].tobytes() for start, stop in itertools.pairwise(self._offsets.tolist())]
        for index, path in changed.items():
            paths[index] = os.fsencode(path)
        offsets = np.concatenate([[0], np.cumsum([len(path) for path in paths])]).astype(np.int64)
        arrays = self.arrays() | {"blob": np.frombuffer(b"".join(paths), np.uint8), "offsets": offsets}
        return _rebuild(self.source, self.root, arrays, self._num_class)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # a spawned worker maps the cache again instead of receiving a copy of the arrays
        if self._cache_file is not None:
            return _open_cached, (self.source, self.root, self._cache_file, self._num_class, False)
        return _rebuild, (self.source, self.root, self.arrays(), self._num_class)

    def digest(self) -> str:
        """Returns a digest of all videos in their order: paths, numbers of frames, labels, spans."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            if name != "lines":  # empty lines and comments do not count
                digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]

    @property
    def _num_class(self) -> int | None:
        return self.labels.num_class if isinstance(self.labels, LabelSets) else None

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the whole list as flat arrays, for the cache and for spawned workers."""
        labels = self.labels
        sets = {"label_offsets": labels.offsets} if isinstance(labels, LabelSets) else {}
        arrays = {
            "blob": self._blob,
            "offsets": self._offsets,
            "num_frames": self.num_frames,
            "lines": self._lines,
            "labels": labels.flat if isinstance(labels, LabelSets) else labels,
            **sets,
        }
        parts = {"spans": self.spans, "first": self.first}
        return arrays | {name: array for name, array in parts.items() if array is not None}


def read_list(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = "/",
    num_class: int | None = None,
    columns: tuple[str, ...] = COLUMNS,
    unlabelled: bool = False,
    cache_folder: str | os.PathLike[str] | None = None,
) -> RecordList:
    """Reads and checks a list: every video has a path, at least one frame and a label in 0..num_class-1.

    columns: names of the numbers after the path: ("num_frames", "label"), ("label",) or ("num_frames",); "offset"
        before "num_frames" makes records spans, which begin after that many frames of their video; "labels" instead of
        "label" is for sets of classes, whose multi-hot rows then have `num_class` columns.
    unlabelled: whether a label may be -1, for a video whose class is unknown.
    cache_folder: where large lists are kept under the hash of their bytes and mapped from; default: the user's cache
        folder.

    Raises ListError `file:line: what is wrong and what to do`.
    """
    source = Path(source)
    cache_file = _cache_file(source, columns, cache_folder)
    records = None
    if cache_file is not None and cache_file.exists():
        records = _reopen(source, root, cache_file, num_class)
    if records is None:
        parsed = parse_list(source, columns)
        records = _from_parsed(source, root, parsed, num_class)
        check_paths(records)
        check_counts(records, columns)
        if cache_file is not None and _store(records, cache_file):
            del parsed, records  # before the cache is mapped, so that memory never holds the list twice
            records = _open_cached(source, root, cache_file, num_class)
    check_spelling(records)  # of a cached list too, which may have been read with another root
    if columns[-1] in ("label", "labels"):
        check_labels(records, num_class, unlabelled=unlabelled)
    return records


def _from_parsed(source: Path, root: str | os.PathLike[str], parsed: ParsedList, num_class: int | None) -> RecordList:
    count, numbers = len(parsed.lines), parsed.numbers
    arrays = {
        "blob": parsed.blob,
        "offsets": parsed.offsets,
        "num_frames": numbers.get("num_frames", np.zeros(count, np.int32)),
        "lines": parsed.lines,
    }
    if "labels" in numbers:
        arrays["labels"] = numbers["labels"]
        arrays["label_offsets"] = np.concatenate([[0], np.cumsum(numbers["sizes"], dtype=np.int64)])
    else:
        arrays["labels"] = numbers.get("label", np.full(count, -1, np.int32))
    if "offset" in numbers:
        arrays["first"] = numbers["offset"]
        arrays["spans"] = np.stack([numbers["offset"], numbers["offset"] + numbers["num_frames"]], axis=1)
    return _rebuild(source, root, arrays, num_class)


# --- the cache of large lists ---


def _cache_file(source: Path, columns: tuple[str, ...], folder: str | os.PathLike[str] | None) -> Path | None:
    try:
        if folder is None and source.stat().st_size < _CACHE_ABOVE:
            return None
        digest = hashlib.sha1(usedforsecurity=False)
        with source.open("rb") as file:
            while data := file.read(1 << 22):
                digest.update(data)
    except OSError:
        return None  # the parser reports what is wrong
    folder = Path(folder) if folder is not None else default_cache_folder()
    return folder / f"{digest.hexdigest()}-{'-'.join(columns)}-v{_CACHE_VERSION}.records"


def _store(records: RecordList, cache_file: Path) -> bool:
    """Writes the cache and returns whether that worked; without a cache only the next start takes longer."""
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(cache_file, {"source": str(records.source)}, records.arrays())
    except OSError as error:
        _log.warning(
            "cannot cache %s in %s (%s): the next run reads the list again", records.source, cache_file.parent, error
        )
        return False
    return True


def _reopen(source: Path, root: str | os.PathLike[str], cache_file: Path, num_class: int | None) -> RecordList | None:
    try:
        return _open_cached(source, root, cache_file, num_class)
    except (OSError, ValueError, KeyError) as error:
        _log.warning("ignoring a damaged cache of %s: %s", source, error)
        return None


def _open_cached(
    source: Path, root: str | os.PathLike[str], cache_file: Path, num_class: int | None, check: bool = True
) -> RecordList:
    """Maps a cache. check: looks for damage; workers leave that to the process that starts them."""
    _, arrays = open_arrays(cache_file, check=check)
    if check:
        _check_arrays(cache_file, arrays)
    return _rebuild(source, root, arrays, num_class, cache_file)


def _check_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError where arrays do not fit together, so that no index is outside of them."""
    count = len(arrays["lines"])
    labels = arrays.get("label_offsets")
    fit = is_offsets(arrays["offsets"], count, len(arrays["blob"])) and len(arrays["num_frames"]) == count
    fit = fit and len(arrays.get("first", arrays["lines"])) == count
    fit = fit and arrays.get("spans", np.empty((count, 2))).shape == (count, 2)
    if labels is None:
        fit = fit and len(arrays["labels"]) == count
    else:
        fit = fit and is_offsets(labels, count, len(arrays["labels"]))
    if not fit or has_nul(arrays["blob"]):
        raise ValueError(f"{file}: its arrays do not fit together")


def _rebuild(
    source: str | os.PathLike[str],
    root: str | os.PathLike[str],
    arrays: dict[str, np.ndarray],
    num_class: int | None,
    cache_file: Path | None = None,
) -> RecordList:
    labels: np.ndarray | LabelSets = arrays["labels"]
    if "label_offsets" in arrays:
        width = num_class or int(arrays["labels"].max(initial=-1)) + 1
        labels = LabelSets(arrays["labels"], arrays["label_offsets"], width)
    return RecordList(
        source,
        root,
        blob=arrays["blob"],
        offsets=arrays["offsets"],
        num_frames=arrays["num_frames"],
        labels=labels,
        lines=arrays["lines"],
        spans=arrays.get("spans"),
        first=arrays.get("first"),
        cache_file=cache_file,
    )
