"""Reads the true segments of videos and a model's answers, and brings both to the same videos and classes."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.lists.spans import seconds_beyond
from datasets.spans.files import read_as_they_are
from datasets.spans.span import LabeledVideo, Span, SpanTable
from utils.errors import UserError
from utils.segments.table import Segments

SHOWN = 3  # names in a message


def read_table(path: Path, *, fps: float | None = None) -> SpanTable:
    """Reads label files of any format as they are: mistakes of people are mended by tools.spans, not in scoring.

    path: a file, a folder whose files count together, or a pattern such as `truth/*.eaf`.
    fps: frames per second where a file counts frames and does not say it.
    Raises: UserError for a file that cannot be read, has times that are not numbers, or disagrees with another one.
    """
    labels = read_as_they_are(_files(path), fps=fps)
    if labels.faults:
        raise UserError(labels.faults[0].message)
    return labels.table


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    elif not path.exists() and glob.has_magic(str(path)):
        files = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - pathlib takes no pattern with a root
    else:
        files = [path]
    if not files:
        raise UserError(f"{path}: there is no file in it, or no file matches it")
    return files


@dataclass(frozen=True)
class Case:
    """Holds the answers to score and the true segments of the same V videos and K classes.

    durations: seconds of each video; where TRUTH does not know one, the last end of its true segments, whatever ANSWER
        says.
    background: name of moments without a segment, not one of the classes; None if labels over time are not scored.
    notes: lines about what is left out or assumed.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    durations: tuple[float, ...]
    truths: Segments
    answers: Segments
    background: str | None
    notes: tuple[str, ...]


def read_case(
    truth_path: Path,
    answer_path: Path,
    *,
    subset: str | None = None,
    fps: float | None = None,
    background: str | None = None,
) -> Case:
    """Reads both sides, each as `read_table` does. The other arguments and errors are those of `case_of`."""
    truth, answer = (read_table(path, fps=fps) for path in (truth_path, answer_path))
    return case_of(truth, answer, (truth_path, answer_path), subset=subset, background=background)


def case_of(
    labelled: SpanTable,
    answered: SpanTable,
    places: tuple[Path, Path],
    *,
    subset: str | None = None,
    background: str | None = None,
) -> Case:
    """Brings the truth and the answers to the same videos and classes.

    places: where the two come from, for messages.
    subset: only these videos of the truth count.
    background: a class whose segments say that nothing is shown; they are left out, and their ends still tell how long
        a video is.
    Raises: UserError for an unknown class, an answer without a score, a number that is not finite, no video to score.
    """
    truth_path, answer_path = places
    truth, answer = (_without(table, background) for table in (labelled, answered))
    _check_classes(truth, answer, truth_path, answer_path)
    videos = [video for video in truth.videos if subset in (None, video.subset)]
    if not videos:
        subsets = ", ".join(sorted({video.subset for video in truth.videos if video.subset})) or "no subsets"
        raise UserError(f"{truth_path}: no video of subset {subset!r}; it has {subsets}")
    place = {video.name: index for index, video in enumerate(videos)}
    known = {video.name: video for video in answer.videos}
    if not place.keys() & known.keys():
        raise UserError(
            f"{answer_path}: no video of it is in {truth_path} ({_some(known)}; the truth has {_some(place)}): "
            "both must call videos the same"
        )
    for video in answer.videos:
        if any(span.score is None for span in video.spans):
            raise UserError(f"{answer_path}: {video.name}: an answer has no score, so answers cannot be ranked")
    kept = [known.get(video.name, LabeledVideo(video.name)) for video in videos]
    truths = _table(videos, truth.classes, truth_path)
    answers = _table(kept, truth.classes, answer_path)
    notes = _notes(place, known, videos, {video.name: video.subset for video in truth.videos})
    if pointless := int((truths.end == truths.start).sum()):
        notes.append(f"true segments without a length: {pointless}; they count, and nothing can find them")
    if outside := [span for video in videos for span in video.spans if _is_outside(span, video)]:
        notes.append(
            f"true segments that begin before their video or end behind it: {len(outside)}, the first in "
            f"{outside[0].where}; they count as they are, and python -m tools.spans {truth_path} names all"
        )
    durations = tuple(
        video.length or max((span.end for span in video.spans), default=0.0)
        for video in labelled.videos
        if video.name in place
    )
    return Case(tuple(place), truth.classes, durations, truths, answers, background, tuple(notes))


def _is_outside(span: Span, video: LabeledVideo) -> bool:
    """Returns whether a span begins before its video, or ends behind it by more than is rounded."""
    length, rate = video.length, video.fps or np.inf
    return span.start < 0 or (length is not None and bool(seconds_beyond(span.end, length, rate)))


def _without(table: SpanTable, label: str | None) -> SpanTable:
    """Returns a table without a class and its spans."""
    videos = (replace(video, spans=tuple(s for s in video.spans if s.label != label)) for video in table.videos)
    return SpanTable(tuple(videos), tuple(name for name in table.classes if name != label))


def _check_classes(truth: SpanTable, answer: SpanTable, truth_path: Path, answer_path: Path) -> None:
    for name in answer.classes:
        if name not in truth.classes:
            near = difflib.get_close_matches(name, truth.classes, n=1)
            hint = f"; perhaps {near[0]!r} is meant" if near else ""
            raise UserError(f"{answer_path}: class {name!r} is not in {truth_path}{hint}; rename or remove it")


def _table(videos: Sequence[LabeledVideo], classes: Sequence[str], path: Path) -> Segments:
    label = {name: index for index, name in enumerate(classes)}
    rows = [
        (index, span.start, span.end, label[span.label], 1.0 if span.score is None else span.score)
        for index, video in enumerate(videos)
        for span in video.spans
    ]
    try:
        return Segments(*(zip(*rows, strict=True) if rows else [[]] * 5))
    except UserError:
        for row in rows:  # again one by one, to say which video it is
            try:
                Segments(*([value] for value in row))
            except UserError as error:
                reason = str(error).partition(": ")[2]
                where = f"{path}: {videos[row[0]].name}, from {row[1]:g} to {row[2]:g} s"
                raise UserError(f"{where}: {reason}; correct or remove it") from None
        raise


def _notes(
    place: Mapping[str, int],
    answered: Mapping[str, LabeledVideo],
    videos: Sequence[LabeledVideo],
    subsets: Mapping[str, str],
) -> list[str]:
    silent = [name for name in place if name not in answered]
    unknown = [name for name in answered if name not in subsets]
    others = [name for name in answered if name in subsets and name not in place]
    unmeasured = sum(video.length is None for video in videos)
    lines = {
        "videos without answers, whose segments count as missed": silent,
        "videos of the answers that are not in the truth and are left out": unknown,
        "videos of the answers that are in other subsets and are left out": others,
    }
    notes = [f"{what}: {len(names)} ({_some(names)})" for what, names in lines.items() if names]
    if unmeasured:
        notes.append(
            f"videos without a duration in the truth: {unmeasured}; the last end of their true segments is taken"
        )
    return notes


def _some(names: Any) -> str:
    shown = list(names)[:SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > SHOWN else "")
