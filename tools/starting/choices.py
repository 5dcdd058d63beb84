"""Decides how tools/start.py goes on from what it has seen, and says why in one line each."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.lists.groups import fold_split, group_names
from tools.dumping.estimate import in_bytes, measure_sample
from tools.dumping.video import Job, Settings
from tools.listing.found import Found
from tools.starting.configs import WINDOWS, Network
from tools.starting.survey import Survey, check_lengths, has_split
from utils.errors import UserError
from utils.scoring.metrics import wilson_interval

FEW_TESTED = 50  # test videos, below which a validation list says too little
FOLDS = 5
VAL_SHARE = 0.2
LONG = 20.0  # seconds, from which on a video gets more frames
NUM_FRAMES, NUM_FRAMES_OF_LONG = 8, 16
SHARE_OF_DISK = 0.1  # of the free space that frames may take without asking
SAMPLE = 3  # videos that are dumped to estimate the size of all


@dataclass(frozen=True)
class Choices:
    """Holds what was chosen.

    num_frames: frames of a clip of an image network; 0 for a video network, which says that itself.
    dumps: whether frames are written to the disk; otherwise they are read from the encoded videos.
    folds: number of parts for cross-validation; 0 for one training and one validation list.
    reasons: one line for each choice: what and why.
    """

    num_frames: int
    dumps: bool
    folds: int
    reasons: list[str]


def check_given(
    folder: Path, videos: Sequence[Found], out: Path, *, folds: int | None, group_regex: str | None, seed: int
) -> None:
    """Raises UserError for options that cannot work with the videos of a folder, before any of them is opened."""
    near = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not near.is_dir():
        raise UserError(f"--out {out}: {near} is a file; name a folder")
    if not os.access(near, os.W_OK):
        raise UserError(f"--out {out}: nothing may be written in {near}; name another folder")
    _check_split(folder, videos, folds, group_regex, seed)


def choose(
    survey: Survey,
    out: Path,
    network: Network,
    *,
    num_frames: int | None,
    folds: int | None,
    group_regex: str | None,
    seed: int,
    workers: int,
) -> Choices:
    """Makes all choices that the command line leaves open. Raises: UserError for one that is not possible."""
    about_frames: Sequence[str]
    if network.sees_clips:
        total = network.seconds * len(survey.readable) / 60
        cost = f"a clip takes about {network.seconds:.2g} s on the CPU, so all videos {total:.1f} minutes, once"
        frames, about_frames = 0, [*network.about, *_short(survey, network), f"{cost}; an image network takes less"]
    else:
        frames, about_frames = _frames(survey, num_frames)
        check_lengths(survey.readable, frames)
    parts, about_folds = _folds(survey, folds, group_regex, seed)
    dumps, about_dump = _dump(survey, out, workers=workers)
    return Choices(frames, dumps, parts, [*about_frames, about_dump, about_folds])


def _frames(survey: Survey, given: int | None) -> tuple[int, Sequence[str]]:
    median = float(np.median([one.seconds for one in survey.readable]))
    number = given or (NUM_FRAMES_OF_LONG if median > LONG else NUM_FRAMES)
    why = "as --frames says" if given else f"the median video is {median:.1f} s long"
    return number, [f"{number} frames of each video, spread evenly, one every {median / number:.2g} s: {why}"]


def _short(survey: Survey, network: Network) -> list[str]:
    """Returns a line about the videos that are shorter than a clip, if there are any."""
    short = sum(one.frames < network.span for one in survey.readable)
    shown = "their last frame is repeated" if network.method in WINDOWS else "some frames are shown twice"
    of = f"{short} of {len(survey.readable)} videos are shorter than a clip of {network.span} frames"
    return [f"{of}, so {shown}"] if short else []


def _dump(survey: Survey, out: Path, *, workers: int) -> tuple[bool, str]:
    jobs = [
        Job(one.path, f"video{number}", "", None, None, Settings(), out, False)
        for number, one in enumerate(survey.readable)
    ]
    costs, failed = measure_sample(jobs, SAMPLE, workers=workers)
    if not costs:
        raise UserError(f"no video can be decoded: {failed[0]}")
    per_frame = sum(cost.size for cost in costs) / sum(cost.frames for cost in costs)
    size = per_frame * sum(one.frames for one in survey.readable)
    place = next(parent for parent in out.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(place).free
    said = f"about {in_bytes(size)} of the {in_bytes(free)} that are free"
    if size <= SHARE_OF_DISK * free:
        return True, f"frames are written to the disk as JPEG files, because training reads them faster: {said}"
    if survey.damaged:
        raise UserError(
            f"{survey.damaged[0].fault} ({len(survey.damaged)} of {len(survey.seen)} videos are damaged); move them "
            f"away: videos are read directly, because their frames would take {said}"
        )
    return False, f"frames are read from the videos, because as JPEG files they would take {said}"


def _folds(survey: Survey, given: int | None, group_regex: str | None, seed: int) -> tuple[int, str]:
    total = len(survey.readable)
    videos = [video for video, one in zip(survey.videos, survey.seen, strict=True) if not one.fault]
    fewest = _check_split(survey.folder, videos, given, group_regex, seed)
    if survey.has_split:
        return 0, "the folders say which videos train and which test"
    if given:
        return given, f"{given} folds, as --folds says: each of the {total} videos is tested once"
    tested = round(VAL_SHARE * total)
    if tested >= FEW_TESTED:
        low, high = wilson_interval(tested / 2, tested)
        return (
            0,
            f"{VAL_SHARE:.0%} of the videos test: {tested}, which give an interval of {high - low:.0f} points at most",
        )
    folds = max(2, min(FOLDS, fewest))
    why = f"a {VAL_SHARE:.0%} part would be {tested} videos, too few to judge by, so each of the {total} is tested once"
    return folds, f"{folds} folds: {why}"


def _check_split(folder: Path, videos: Sequence[Found], folds: int | None, group_regex: str | None, seed: int) -> int:
    """Checks that the videos can be divided, and returns the number of groups in the class that has the fewest.

    Raises: UserError if the videos cannot be divided so.
    """
    labels: Sequence[str] = [video.label for video in videos]
    groups = group_names([video.name for video in videos], labels, regex=group_regex)
    counts = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    fewest, of = min((count, label) for label, count in counts.items())
    if has_split(videos):
        if folds:
            raise UserError(f"--folds: the folders of {folder} say which videos test; leave out --folds")
        return fewest
    if fewest < 2:
        raise UserError(
            f"{folder}: all videos of class {of!r} are of one group, as their names and --group-regex say, so "
            "none is left to test what was learned from the others"
        )
    if folds:
        fold_split([video.classes for video in videos], groups, folds=folds, seed=seed)
    return fewest
