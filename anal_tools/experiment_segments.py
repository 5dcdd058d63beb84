"""Scores answers with times, such as those of tools.segment, against the spans of an experiment's list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from anal_tools.experiment import Experiment
from anal_tools.segment_input import Case, case_of, read_table
from datasets.lists.spans import read_mark
from datasets.spans.span import LabeledVideo, Span, SpanTable, in_order
from datasets.spans.video_files import PathNames
from utils.errors import UserError

_OTHERWISE = "score them with python -m tools.score_segments TRUTH ANSWER"


def case_of_list(experiment: Experiment, path: Path) -> Case:
    """Returns the answers of `path`, a file, a folder or a pattern, and the spans of the list as the truth.

    The background that data.background has drawn is left out of both.

    Raises: UserError for a list without spans or in frames of an unknown rate, and for answers that do not fit to it.
    """
    truth = _truth(experiment)
    names = PathNames([video.name for video in truth.videos], f"in {experiment.folder}")
    answer = read_table(path)
    known: dict[str, LabeledVideo] = {}
    for video in answer.videos:
        name = names.find(video.name) or video.name
        if name in known:
            raise UserError(f"{path}: {known[name].where} and {video.where} are both {name}; leave one of them out")
        known[name] = replace(video, name=name, where=video.where or video.name)
    renamed = replace(answer, videos=tuple(known.values()))
    common = experiment.config.common
    background = common.data.background.label if common is not None and common.data.background.per_span else None
    return replace(case_of(truth, renamed, (experiment.folder, path), background=background), background=None)


def _truth(experiment: Experiment) -> SpanTable:
    """Returns the spans of the list with their classes; those whose classes are unknown are left out."""
    results, common = experiment.results, experiment.config.common
    marks = [read_mark(path) for path in results.paths]
    if not any(marks):
        raise UserError(f"{experiment.folder}: the list of its results has no spans; {_OTHERWISE}")
    rate = 1.0
    if any(mark.in_frames for mark in marks if mark):
        if common is None or common.data.fps is None:
            raise UserError(f"{experiment.folder}: its list counts frames, and data.fps is not set; {_OTHERWISE}")
        rate = common.data.fps
    classes = np.arange(len(experiment.class_names))
    known = results.task.known(results.labels)
    spans: dict[str, list[Span]] = {}
    for row, mark in enumerate(marks):
        if mark is None or not known[row]:
            continue
        label = results.labels[row]
        shown = np.flatnonzero(label > 0) if np.ndim(label) else classes[label : label + 1]
        start, end = mark.start / rate, mark.end / rate
        own = [Span(start, end, experiment.class_names[one], where=results.paths[row]) for one in shown]
        spans.setdefault(mark.path, []).extend(own)
    videos = [LabeledVideo(name, in_order(own)) for name, own in sorted(spans.items())]
    return SpanTable(tuple(videos), tuple(experiment.class_names))
