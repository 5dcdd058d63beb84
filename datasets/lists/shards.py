"""Reads tars of samples, as WebDataset, img2dataset and video2dataset write them, as a list of videos or pictures.

The members of a sample share the name up to the first dot. One of them is the video or the picture; its label is in
.cls, else in `label` of .json, else in a .txt of one short line.
"""

from __future__ import annotations

import fnmatch
import itertools
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from datasets.places.files import exists, list_names, open_tar
from datasets.places.place import Address, Place, is_address, place
from datasets.places.tars import LABELS, SUFFIX, sample_of, split_member
from utils.errors import FrameError, ListError
from utils.system import cores

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_MOST = 1_000_000  # shards
_AT_ONCE = 8  # shards at addresses
_log = logging.getLogger(__name__)


class ShardSample(NamedTuple):
    """Holds one sample. path: below the folder of the shards. label: as it is written; "" without one."""

    path: str
    label: str


def is_shards(source: str | os.PathLike[str]) -> bool:
    """Returns whether a source names tars: `data/train-{000..099}.tar`, `s3://bucket/train-*.tar`."""
    return os.fspath(source).endswith(SUFFIX)


def find_shards(source: str | os.PathLike[str]) -> tuple[Place, list[str]]:
    """Returns the folder of the shards that a source names, and their names in it, in order.

    Raises ListError if nothing matches, one is named twice, or the folder cannot be listed.
    """
    source = os.fspath(source)
    head, _, pattern = source.rpartition("/")
    folder = place(head or ("/" if source.startswith("/") else "."))
    if is_address(head) and split_member(f"{head}/-") is not None:
        raise ListError(f"{source}: the tars at an address may not lie in a folder that is called like a tar itself")
    if _BRACES.search(head) or "*" in head:
        raise ListError(f"{source}: only the names of the tars may hold {{..}} and *, not their folder")
    found: list[str] = []
    for name in itertools.islice(_expanded(pattern), _MOST + 1):
        if "*" not in name:
            found.append(name)
            continue
        try:
            matching = sorted(fnmatch.filter(list_names(folder), name))
        except (OSError, FrameError) as error:
            why = error if isinstance(error, FrameError) else f"{folder}: {error.strerror}"
            raise ListError(f"{source}: its folder cannot be listed ({why})") from None
        if not matching:
            raise ListError(f"{source}: there is no such tar in {folder}")
        found += matching
    if len(found) > _MOST:
        raise ListError(f"{source}: names more than {_MOST} tars")
    if twice := next((name for name, other in itertools.pairwise(sorted(found)) if name == other), None):
        raise ListError(f"{source}: names {twice} twice, so its samples would count twice")
    return folder, found


def missing_shard(source: str | os.PathLike[str]) -> str | None:
    """Returns the first shard of a source that is not there; None if all are. Raises ListError."""
    folder, names = find_shards(source)
    return next((str(folder / name) for name in names if not exists(folder / name)), None)


def read_shards(source: str | os.PathLike[str], suffixes: Collection[str]) -> tuple[Place, list[ShardSample]]:
    """Returns the folder of the shards, and their samples in the order in which they lie.

    suffixes: of the members that are read, in lower case. Raises ListError.
    """
    folder, shards = _open_all(source)
    samples: list[ShardSample] = []
    without = 0
    for name, members in shards:
        labels = _labels(f"{folder}/{name}", members)
        media: dict[str, str] = {}
        for member, _ in members:
            sample, rest = sample_of(member)
            if f".{rest.rpartition('.')[2].lower()}" in suffixes:
                if sample in media:
                    both = f"both {media[sample]} and {member}"
                    raise ListError(f"{folder}/{name}: sample {sample!r} has {both}; keep one of them")
                media[sample] = member
        samples += [ShardSample(f"{name}/{member}", labels[sample]) for sample, member in media.items()]
        without += len(labels) - len(media)
    if not samples:
        raise ListError(
            f"{source}: no sample has a file with one of the suffixes {', '.join(sorted(suffixes)[:6])}, ...; videos "
            "need data.store: {type: video}, and pictures model.type: img"
        )
    if without:
        _log.warning("%s: %d samples have no video or picture and are left out", source, without)
    return folder, samples


def labels_in(source: str | os.PathLike[str]) -> set[str]:
    """Returns the labels that the samples of shards have, as they are written. Raises ListError."""
    folder, shards = _open_all(source)
    return {label for name, members in shards for label in _labels(f"{folder}/{name}", members).values() if label}


def shard_starts(paths: Sequence[str]) -> np.ndarray:
    """Returns where another tar begins in a list of paths of samples, int64. Raises ListError if one comes twice."""
    shards = [(split_member(path) or ("",))[0] for path in paths]
    starts = [number for number, shard in enumerate(shards) if not number or shard != shards[number - 1]]
    if len({shards[start] for start in starts}) < len(starts):
        raise ListError("data.shuffle_window: needs a list in which the samples of a tar follow each other; sort it")
    if "" in shards:
        raise ListError(f"data.shuffle_window: is for lists of tars, and {paths[shards.index('')]!r} lies in none")
    return np.array(starts, np.int64)


def _open_all(source: str | os.PathLike[str]) -> tuple[Place, list[tuple[str, list[tuple[str, str]]]]]:
    """Returns the folder of shards, and the name and the members of each."""
    folder, names = find_shards(source)

    def members(name: str) -> list[tuple[str, str]]:
        try:
            return open_tar(folder / name).members()
        except FrameError as error:
            raise ListError(str(error)) from None

    with ThreadPoolExecutor(_AT_ONCE if isinstance(folder, Address) else min(cores(), _AT_ONCE)) as pool:
        return folder, list(zip(names, pool.map(members, names), strict=True))


def _labels(shard: str, members: list[tuple[str, str]]) -> dict[str, str]:
    """Returns the label of each sample; "" where it has none. Raises ListError for two of one kind, .cls and .CLS."""
    texts: dict[str, dict[str, str]] = {}
    for name, text in members:
        sample, rest = sample_of(name)
        kinds = texts.setdefault(sample, {})
        if text and kinds.setdefault(rest.lower(), text) != text:
            raise ListError(f"{shard}: sample {sample!r} has two labels in files .{rest.lower()}; keep one of them")
    return {sample: next((kinds[kind] for kind in LABELS if kind in kinds), "") for sample, kinds in texts.items()}


def _expanded(pattern: str) -> Iterator[str]:
    """Yields the names that a pattern with {000..099} and {a,b} stands for."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    span = _RANGE.fullmatch(match[1])
    if span is None:
        inner: Iterator[str] = iter(match[1].split(","))
    else:
        first, last = int(span[1]), int(span[2])
        width = len(span[1]) if span[1].startswith("0") else 1
        step = 1 if first <= last else -1
        inner = (f"{number:0{width}d}" for number in range(first, last + step, step))
    for one in inner:
        yield from _expanded(pattern[: match.start()] + one + pattern[match.end() :])
