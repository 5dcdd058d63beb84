"""Looks at a folder of videos before anything is made of them: how many, how long, how large, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.videos.video import Video
from tools.dumping.pool import WorkerDiedError, run_in_pool
from tools.listing.found import Found, find_encoded, splits_of
from utils.cli import Progress
from utils.errors import FrameError, UserError


@dataclass(frozen=True)
class Seen:
    """Describes one video file as its packets show it.

    path: the file.
    frames: number of its frames.
    seconds: how long it is shown.
    fps: average frames per second; 0 if unknown.
    height, width: in pixels, upright.
    fault: why it cannot be read; "" if it can.
    """

    path: Path
    frames: int = 0
    seconds: float = 0.0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    fault: str = ""


@dataclass(frozen=True)
class Survey:
    """Holds what a folder of videos contains.

    folder: the folder.
    videos: the videos in sorted order, with their classes.
    seen: what each of them is.
    notes: what was decided about their classes.
    """

    folder: Path
    videos: list[Found]
    seen: list[Seen]
    notes: list[str]

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        return sorted({video.label for video in self.videos})

    @property
    def readable(self) -> list[Seen]:
        """The videos without a fault."""
        return [one for one in self.seen if not one.fault]

    @property
    def damaged(self) -> list[Seen]:
        """The videos that cannot be read."""
        return [one for one in self.seen if one.fault]

    @property
    def has_split(self) -> bool:
        """True where folders such as train/ and val/ divide the videos already."""
        return has_split(self.videos)

    def lines(self) -> list[str]:
        """Returns what was found in plain words, one fact per line."""
        good, bad = self.readable, self.damaged
        counts = Counter(video.label for video, one in zip(self.videos, self.seen, strict=True) if not one.fault)
        per_class = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())[:MOST_NAMED])
        more = f" and {len(counts) - MOST_NAMED} more" if len(counts) > MOST_NAMED else ""
        rates = [one.fps for one in good if one.fps]
        sizes = Counter((one.width, one.height) for one in good)
        (width, height), _ = sizes.most_common(1)[0]
        others = f" and {len(sizes) - 1} other size{'s' * (len(sizes) > 2)}" if len(sizes) > 1 else ""
        found = [
            f"{len(good)} videos of {len(counts)} classes: {per_class}{more}",
            f"{_range([one.seconds for one in good], '.1f')} seconds long, "
            f"{_range([one.frames for one in good], '.0f')} frames, "
            f"{_range(rates, '.3g')} frames a second, {width}x{height}{others}",
        ]
        if bad:
            others = f"; and {len(bad) - MOST_FAULTS} more" if len(bad) > MOST_FAULTS else ""
            faults = "; ".join(one.fault for one in bad[:MOST_FAULTS])
            found.append(
                f"{len(bad)} more cannot be read and {'is' if len(bad) == 1 else 'are'} left out: {faults}{others}"
            )
        return found + self.notes


MOST_NAMED = 8  # classes in one line
MOST_FAULTS = 3  # videos with their faults in one line


def find(folder: Path) -> tuple[list[Found], list[str]]:
    """Returns the videos below a folder with their classes, by the rules of tools/make_lists.py, and notes about them.

    Raises: UserError for a folder from which nobody can learn: without videos or class folders, with one class, or with
        a class of one video.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder" if not folder.exists() else f"{folder}: is not a folder; give its own"
        )
    videos, notes = find_encoded(folder, class_folder="first")
    if not videos:
        raise UserError(f"{folder}: no videos in it")
    _check_classes(folder, videos)
    return videos, notes


def has_split(videos: Sequence[Found]) -> bool:
    """Says whether folders such as train/ and val/ divide videos already."""
    return splits_of([Path(video.path).parts[:-1] for video in videos]) is not None


def look(folder: Path, videos: list[Found], notes: list[str], *, num_frames: int | None = None, workers: int) -> Survey:
    """Reads the packets of each video.

    num_frames: that a clip is known to take.
    Raises: UserError where too few videos can be read to go on, and where one is shorter than a clip.
    """
    found: dict[Path, Seen] = {}
    paths = [folder / video.path for video in videos]
    with Progress(len(paths), unit="videos looked at") as progress:
        for path, answer in run_in_pool(see, paths, workers=min(workers, len(paths))):
            if isinstance(answer, WorkerDiedError):
                answer = Seen(path, fault=f"the decoder crashed: {answer}")
            elif isinstance(answer, Exception):
                raise answer
            found[path] = answer
            progress.advance(1)
    survey = Survey(folder, videos, [found[path] for path in paths], notes)
    if not survey.readable:
        raise UserError(f"{folder}: none of its {len(videos)} videos can be read; {survey.damaged[0].fault}")
    _check_classes(
        folder, [video for video, one in zip(videos, survey.seen, strict=True) if not one.fault], "readable "
    )
    check_lengths(survey.readable, num_frames or 0)
    return survey


def see(path: Path) -> Seen:
    """Reads the packets of one video; runs in a worker."""
    try:
        video = Video(path)
    except FrameError as error:
        return Seen(path, fault=str(error))
    info = video.info
    fault = "; ".join(video.errors[:2]) or ("" if len(info.times) else "contains no frames")
    return Seen(
        path,
        len(info.times),
        info.duration,
        info.fps,
        info.height,
        info.width,
        f"{path}: {fault}" if fault else "",
    )


def check_lengths(videos: Sequence[Seen], num_frames: int) -> None:
    """Raises UserError if a video has fewer frames than a clip, which would show some of them twice."""
    short = [one for one in videos if one.frames < num_frames]
    if short:
        least = min(short, key=lambda one: one.frames)
        raise UserError(
            f"{least.path}: has {least.frames} frame{'s' * (least.frames != 1)}, and a clip takes {num_frames} "
            f"({len(short)} such videos); remove them, or give --frames {least.frames}"
        )


def _check_classes(folder: Path, videos: Sequence[Found], which: str = "") -> None:
    loose = next((video.path for video in videos if not video.label), None)
    if loose is not None:
        raise UserError(
            f"{folder}/{loose}: is in no class folder; put each video into a folder with the name of its class"
        )
    counts = Counter(video.label for video in videos)
    if len(counts) < 2:
        only = f"only one class with {which}videos, {next(iter(counts))!r}"
        raise UserError(f"{folder}: has {only}; telling classes apart takes two or more, one folder each")
    few = sorted(label for label, count in counts.items() if count < 2)
    if few:
        more = f" ({len(few)} such classes)" if len(few) > 1 else ""
        raise UserError(
            f"{folder}: class {few[0]!r} has one {which}video{more}; it takes two or more, to train on and to test on"
        )


def _range(values: Sequence[float], form: str) -> str:
    low, middle, high = np.percentile(values, (0, 50, 100)).tolist() if values else (0.0, 0.0, 0.0)
    if format(low, form) == format(high, form):
        return format(low, form)
    return f"{low:{form}} to {high:{form}} (median {middle:{form}})"
