"""Checks the frames of the videos in a list: their names, numbers and counts, and files that are not images."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from datasets.lists.manifest import MANIFEST, Dumped, dumped_below
from datasets.lists.spans import not_there, whole_frames
from datasets.stores.disk import check_sum, read_sums, sums_name, write_sums
from datasets.stores.frame_names import FLOW_PREFIXES, list_numbers, mixed_series
from tools.checking.lists import DataSet, Entry, Fault
from tools.checking.spans import check_within
from tools.dumping.pool import WorkerDiedError, run_in_pool, run_jobs
from utils.cli import Progress
from utils.errors import FrameError, UserError
from utils.scoring.label_sets import numbers_hint, spaces_hint
from utils.transforms.image import decode_image

_VIDEOS_PER_JOB = 16
_IMAGES_PER_JOB = 256
DROP = "the line is removed"


@dataclass(frozen=True)
class Folder:
    """Holds what the folder of a video contains.

    numbers: sorted numbers of its image files, by template.
    bad: image file -> why it cannot be read, "" for an empty file.
    """

    numbers: dict[str, list[int]]
    bad: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    folders: tuple[Path, ...]
    decode: bool
    flow: bool
    max_pixels: int
    record: bool


def check_frames(data: DataSet, *, template: str | None, first: int | None, decode: bool, workers: int) -> None:
    """Checks the folder of every line that has no fault so far. decode: decodes every frame as well."""
    entries = data.without_fault()
    folders = inspect_folders(data, entries, decode=decode, workers=workers)
    template = template or most_common(
        _main_series(folder) for folder in folders.values() if folder is not None and folder.numbers
    )
    firsts = [folder.numbers[template][0] for folder in folders.values() if folder and template in folder.numbers]
    first = most_common(firsts) if first is None else first
    manifests = {root: _manifest(data, root) for root in set(data.roots.values())}
    for entry in entries:
        root = data.roots[entry.split]
        folder = folders[root / entry.path]
        if folder is None:
            hint = spaces_hint(entry.path) if data.multi_label else numbers_hint(entry.path)
            message = f"folder not found: {root / entry.path}{hint if entry.span is None else ''}"
            data.blame("missing_folder", entry, message, fix=DROP, drop=True)
        elif not folder.numbers:
            data.blame("no_frames", entry, f"{root / entry.path} holds no numbered images", fix=DROP, drop=True)
        elif template not in folder.numbers:
            message = f"{entry.path!r} has frames called {_main_series(folder)}, the other videos {template}"
            data.blame("template", entry, message, fix=DROP, drop=True)
        elif (other := mixed_series(folder.numbers, template)) is not None:
            message = f"{entry.path!r} has frames called {template} and others called {other}"
            data.blame("mixed_frames", entry, message, fix=DROP, drop=True)
        else:
            dump = manifests[root].get(entry.path)
            numbers = folder.numbers[template]
            _check_numbers(data, entry, numbers, template, int(first or 0), dump.frames if dump else None)
            check_pictures(data, entry, folder, template, check_span(data, entry, len(numbers), dump))


def _check_numbers(
    data: DataSet, entry: Entry, numbers: list[int], template: str, first: int, listed: int | None
) -> None:
    last = numbers[-1]
    count = last - first + 1
    said = entry.length or count
    if numbers[0] != first and not (numbers[0] > first and said == count):
        message = f"{entry.path!r} begins with frame number {numbers[0]}, the other videos with {first}"
        data.blame("first_number", entry, message, fix=DROP, drop=True)
        return
    missing = sorted(set(range(first, last + 1)) - set(numbers))
    if not missing and listed == said > count:
        missing = list(range(last + 1, first + said))  # the dump wrote them
    if missing:
        shown = ", ".join(template.format(number) for number in missing[:3]) + ", ..." * (len(missing) > 3)
        message = f"{entry.path!r} lacks {len(missing)} of {len(numbers) + len(missing)} frames: {shown}"
        data.blame("missing_frame", entry, message, fix=DROP, drop=True)
    elif said != count:
        message = f"the list says {said} frames for {entry.path!r}, but the folder has {count}"
        data.blame("count", entry, message, fix="the number of the folder is written")
        entry.num_frames = count
    elif listed is not None and listed != count:
        message = f"{entry.path!r} was dumped with {listed} frames ({MANIFEST}), but the folder has {count}"
        data.blame("manifest", entry, message, fix=DROP, drop=True)


def check_span(data: DataSet, entry: Entry, length: int, dump: Dumped | None) -> slice:
    """Adds a fault of a line whose span is not in its video; returns which frames the line shows.

    length: the frames that the video has. dump: what a manifest knows of them.
    """
    if entry.span is None or entry.known:
        return slice(None)
    fps = (dump.fps if dump else 0.0) or data.fps or 0.0
    if not (fps or entry.in_frames):
        message = f"its seconds need the frames per second of {entry.path!r}, which no {MANIFEST} knows; give data.fps"
        data.blame("no_rate", entry, message)
        return slice(None)
    rate, begins = (1.0, 0.0) if entry.in_frames else (fps, dump.begins if dump else 0.0)
    check_within(data, entry, length=length if entry.in_frames else begins + length / fps, fps=fps)
    first, stop = whole_frames([(moment - begins) * rate for moment in entry.span]).tolist()
    if entry.known:
        return slice(first, stop)
    if stop > length if entry.in_frames else min(stop, length) <= first:
        message = f"{entry.path!r} {not_there(frames=entry.in_frames)}; it has {length} frames"
        data.blame("empty_part", entry, message, fix=DROP, drop=True)
    return slice(first, stop)


@dataclass(frozen=True)
class _ImageJob:
    files: tuple[Path, ...]
    decode: bool
    max_pixels: int


def check_images(data: DataSet, *, decode: bool, workers: int) -> None:
    """Checks the picture of every line that has no fault so far. decode: decodes it as well."""
    entries = data.without_fault()
    files = [data.roots[entry.split] / entry.path for entry in entries]
    starts = range(0, len(files), _IMAGES_PER_JOB)
    jobs = [_ImageJob(tuple(files[start : start + _IMAGES_PER_JOB]), decode, data.max_pixels) for start in starts]
    bad: dict[Path, str] = {}
    with Progress(len(files), unit="pictures") as progress:
        for job, answer in run_in_pool(_bad_images, jobs, workers=workers):
            if isinstance(answer, Exception):
                raise answer
            bad |= answer
            progress.advance(len(job.files))
    for entry, file in zip(entries, files, strict=True):
        if not file.is_file():
            data.blame("missing_image", entry, f"image not found: {file}", fix=DROP, drop=True)
        elif file in bad:
            data.blame("undecodable_image", entry, f"{file}: {bad[file] or 'the file is empty'}", fix=DROP, drop=True)


def _bad_images(job: _ImageJob) -> dict[Path, str]:
    cv2.setNumThreads(0)
    reasons = {file: _reason(file, decode=job.decode, max_pixels=job.max_pixels) for file in job.files}
    return {file: reason for file, reason in reasons.items() if reason is not None}


def _reason(file: Path, *, decode: bool, max_pixels: int, sums: bytes = b"") -> str | None:
    """Returns why an image cannot be read, "" for an empty file; None if nothing is wrong. sums: as `read_sums`."""
    try:
        if not file.stat().st_size:
            return ""
        if decode:
            data = file.read_bytes()
            decode_image(data, 8, max_pixels=max_pixels)
            check_sum(sums, str(file), data)
    except (OSError, ValueError, FrameError) as error:
        return str(error)
    return None


def check_pictures(data: DataSet, entry: Entry, folder: Folder, template: str, shown: slice) -> None:
    """Adds faults of a line for frames of this template that are empty or not readable images.

    shown: which of the frames the line shows.
    """
    numbers = {template.format(number) for number in folder.numbers[template][shown]}
    bad = {file: why for file, why in folder.bad.items() if file in numbers}
    for kind, what in (("empty_frame", "empty"), ("undecodable_frame", "undecodable")):
        files = sorted(file for file, why in bad.items() if (not why) == (kind == "empty_frame"))
        if files:
            names = ", ".join(files[:3]) + ", ..." * (len(files) > 3)
            why = f" ({bad[files[0]]})" if bad[files[0]] else ""
            message = f"{entry.path!r} has {len(files)} {what} frame{'s' * (len(files) > 1)}: {names}{why}"
            data.blame(kind, entry, message, fix=DROP, drop=True)


def inspect_folders(
    data: DataSet, entries: list[Entry], *, decode: bool, workers: int, flow: bool = False
) -> dict[Path, Folder | None]:
    """Inspects the folders of these lines; a missing folder is None. flow: reads optical flow instead of frames."""
    paths = list(dict.fromkeys(data.roots[entry.split] / entry.path for entry in entries))
    jobs = [
        _Job(tuple(paths[start : start + _VIDEOS_PER_JOB]), decode, flow, data.max_pixels, data.record)
        for start in range(0, len(paths), _VIDEOS_PER_JOB)
    ]
    found: dict[Path, Folder | None] = {}
    with Progress(len(paths), unit="videos") as progress:
        for job, answer in run_in_pool(inspect, jobs, workers=workers):
            if isinstance(answer, WorkerDiedError):  # a codec crashed; find the video that it crashed on
                answer = {}
                for path in job.folders:
                    alone = [dataclasses.replace(job, folders=(path,))]
                    for _, one in run_jobs(inspect, alone, workers=1, started=lambda _: None):
                        crashed = {"?": f"the decoder crashed: {one}"}
                        answer |= one if isinstance(one, dict) else {path: Folder(_numbers(path) or {}, crashed)}
            elif isinstance(answer, Exception):
                raise answer
            found |= answer
            progress.advance(len(job.folders))
    return found


def inspect(job: _Job) -> dict[Path, Folder | None]:
    """Inspects the folders of a job; runs in a worker."""
    cv2.setNumThreads(0)
    return {path: _inspect(path, job) for path in job.folders}


def _inspect(path: Path, job: _Job) -> Folder | None:
    numbers = _numbers(path)
    if numbers is None:
        return None
    bad: dict[str, str] = {}
    for template, series in numbers.items():
        if template.startswith(FLOW_PREFIXES) != job.flow:
            continue
        names = [template.format(number) for number in series]
        sums = b"" if job.record or not job.decode else read_sums(path / sums_name(template))
        reasons = {
            name: _reason(path / name, decode=job.decode, max_pixels=job.max_pixels, sums=sums) for name in names
        }
        bad |= {name: reason for name, reason in reasons.items() if reason is not None}
        if job.record and bad.keys().isdisjoint(names):
            write_sums(path, template, {name: zlib.crc32((path / name).read_bytes()) for name in names})
    return Folder(numbers, bad)


def _numbers(path: Path) -> dict[str, list[int]] | None:
    try:
        return list_numbers(path)
    except OSError:
        return None


def _main_series(folder: Folder) -> str:
    return min(folder.numbers, key=lambda name: (name.startswith(FLOW_PREFIXES), -len(folder.numbers[name]), name))


def most_common(values: Iterable[Any]) -> Any:
    """Returns the most common value; None if there are no values."""
    counts = Counter(values)
    return counts.most_common(1)[0][0] if counts else None


def _manifest(data: DataSet, root: Path) -> dict[str, Dumped]:
    """Returns by path below `root` what the manifest of a dump in `root` or above it knows."""
    try:
        return {dump.path: dump for dump in dumped_below(root)}
    except UserError as error:
        data.faults.append(Fault("manifest", str(error)))
        return {}
