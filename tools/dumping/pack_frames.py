"""Packs the frames of whole lists into shards, or verifies a pack, for tools/pack_frames.py."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from datasets.lists.parser import COLUMNS, OFFSET_COLUMNS, label_columns
from datasets.lists.records import RecordList, read_list
from datasets.lists.spelling import as_on_disk
from datasets.lists.tables import is_table, read_videos
from datasets.memcached_dataset import image_list_columns
from datasets.stores.disk import DiskStore
from datasets.stores.flow import SERIES, detect_flow
from datasets.stores.frame_names import IMAGE_SUFFIXES, detect_template
from datasets.stores.pack_writer import PackedVideo, PackWriter, verify
from datasets.stores.packed import series_path
from utils.cli import Progress
from utils.errors import FrameError, UserError
from utils.system import lock

_BLOCK = 4096  # videos that are looked at together


def run(args: argparse.Namespace) -> int:
    """Packs or verifies; returns the exit code."""
    if args.verify:
        return _verify(args.out)
    images = [image_list_columns(source) != COLUMNS for source in args.lists]
    if len(set(images)) > 1:
        raise UserError("lists of image files and lists of frame folders cannot share a pack")
    records = [as_on_disk(_open(source, args, image=images[0])) for source in args.lists]
    wanted = list(_looked_at(_wanted(records, args), threads=args.workers))
    with _locked(args.out):
        writer = PackWriter(args.out, shard_bytes=int(args.shard_mb * (1 << 20)))
        todo = [one for one in wanted if not _is_packed(one, writer)]
        failed: dict[str, str] = {}
        with Progress(len(todo), unit="videos") as progress:
            for video in writer.write(_read(todo, failed, threads=args.workers)):
                progress.advance(1, video.path)
        packed = writer.merge(one.name for one in wanted if one.name not in failed)
    for message in failed.values():
        print(f"not packed: {message}", file=sys.stderr)
    what = "videos' x and y" if args.flow else "videos"
    print(f"{args.out}: {packed} {what} packed, {len(todo) - len(failed)} of them now, {len(failed)} failed")
    return 1 if failed else 0


def _open(source: Path, args: argparse.Namespace, *, image: bool) -> RecordList:
    """Reads the paths of a list; its labels do not matter."""
    columns = ("label",) if image else OFFSET_COLUMNS if args.with_offset else COLUMNS
    given = {"root": args.root, "unlabelled": True}
    if is_table(source):
        return read_videos(source, **given, multi_label=args.multi_label, encoded=False)[0]
    return read_list(source, **given, columns=label_columns(columns, multi_label=args.multi_label))


@dataclass(frozen=True)
class Wanted:
    """The frames of one video that belong into the pack.

    name: the name of the video in the pack.
    store: where the frames are read from.
    path: the path of the video there.
    count: the number of frames.
    stamp: a digest of the names, sizes and modification times of all frames.
    folder, newest: the modification times of the folder and of the newest frame in nanoseconds.
    """

    name: str
    store: DiskStore
    path: str
    count: int
    stamp: int
    folder: int
    newest: int


def _is_packed(one: Wanted, writer: PackWriter) -> bool:
    return writer.has(one.name, one.count, one.stamp, folder=one.folder, newest=one.newest)


def _looked_at(jobs: Iterator[Callable[[], Wanted]], *, threads: int) -> Iterator[Wanted]:
    """Looks at all videos, several at a time: each frame is asked about, which takes long on a slow disk."""
    with ThreadPoolExecutor(threads) as pool:
        while block := list(islice(jobs, _BLOCK)):
            yield from pool.map(lambda job: job(), block)


def _wanted(lists: Sequence[RecordList], args: argparse.Namespace) -> Iterator[Callable[[], Wanted]]:
    """Yields for each video, and for each series of its pictures, what looks at its files."""
    series: dict[str | None, DiskStore]
    if args.flow:
        names = detect_flow(lists[0], template=args.frame_template, first_frame=args.first_frame)
        lists = [records.with_fewer_frames(names.fewer) for records in lists]
        stores = [DiskStore(args.root, template=name, first_frame=names.first) for name in (names.x, names.y)]
        series = dict(zip(SERIES, stores, strict=True))
    else:
        series = {None: _disk_store(lists[0], args)}
    for path, listed in _counts(lists).items():
        for name, store in series.items():
            yield partial(_look_at, series_path(path, name), store, path, listed)


def _look_at(name: str, store: DiskStore, path: str, listed: int) -> Wanted:
    """Looks at the files of all frames. listed: how many the lists say there are, 0 if none does."""
    count = listed or max(store.num_frames(path), 1)  # of a video without frames, the first one is missing
    digest, newest = hashlib.sha1(usedforsecurity=False), 0
    for number in range(count):
        file = store.frame_name(path, number)
        try:
            status = os.stat(file)  # noqa: PTH116 - once per frame
        except OSError:
            continue  # reading the frames reports what is wrong
        newest = max(newest, status.st_mtime_ns)
        about = b"%d %d %d " % (number, status.st_size, status.st_mtime_ns)
        digest.update(about + os.fsencode(os.path.basename(file)) + b"\0")  # noqa: PTH119
    stamp = int.from_bytes(digest.digest()[:8], "little", signed=True)
    return Wanted(name, store, path, count, stamp, _time(Path(store.frame_name(path, 0)).parent), newest)


def _disk_store(records: RecordList, args: argparse.Namespace) -> DiskStore:
    if Path(records.path(0)).suffix.lower() in IMAGE_SUFFIXES:
        return DiskStore(args.root, template=None)
    given = args.frame_template, args.first_frame
    template, first = detect_template(records, template=given[0], first_frame=given[1])
    return DiskStore(args.root, template=template, first_frame=first)


def _counts(lists: Sequence[RecordList]) -> dict[str, int]:
    """Returns the videos of all lists with their numbers of frames, the largest where lists differ.

    The number is 0 where no list gives it, as in lists of spans, whose videos are packed as a whole.
    """
    counts: dict[str, int] = {}
    for records in lists:
        known = records.counts_whole_videos
        for index in range(len(records)):
            path = records.path(index)
            counts[path] = max(counts.get(path, 0), int(records.num_frames[index]) if known else 0)
    return counts


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # reading the frames reports what is wrong


def _read(todo: Iterable[Wanted], failed: dict[str, str], *, threads: int) -> Iterator[PackedVideo]:
    """Yields the videos in order, read ahead by threads; adds those that cannot be read to `failed`."""

    def read(job: Wanted) -> PackedVideo:
        return PackedVideo(job.name, job.store.get_many(job.path, range(job.count)), job.stamp)

    ahead: deque[tuple[str, Future[PackedVideo]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in todo:
                ahead.append((job.name, pool.submit(read, job)))
                if len(ahead) > 2 * threads:
                    yield from _result(*ahead.popleft(), failed)
            while ahead:
                yield from _result(*ahead.popleft(), failed)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _result(path: str, future: Future[PackedVideo], failed: dict[str, str]) -> Iterator[PackedVideo]:
    try:
        yield future.result()
    except FrameError as error:
        failed[path] = str(error)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    with file:
        if not lock(file):
            raise UserError(f"{folder}: another pack_frames.py is writing here")
        yield


def _verify(folder: Path) -> int:
    shards = damaged = 0
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    for name, videos, bad in verify(folder):
        shards += 1
        damaged += len(bad)
        for path, frames in bad:
            shown = ", ".join(map(str, frames[:5])) + ", ..." * (len(frames) > 5)
            print(f"{folder / name}: {path}: {len(frames)} frames damaged (indices {shown})")
        if not bad:
            print(f"{folder / name}: {videos} videos are whole")
    if not shards:
        raise UserError(f"{folder}: contains no shards")
    print(f"{shards} shards, {damaged} damaged videos")
    return 1 if damaged else 0
