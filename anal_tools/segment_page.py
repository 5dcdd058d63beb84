"""Builds the page of tools/score_segments.py: timelines, borders, kinds of false answers, precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from anal_tools.page import COMMON, build_page
from anal_tools.page_values import rounded
from anal_tools.segment_input import Case
from anal_tools.segment_scores import SegmentScores, border_errors, numbers
from utils.scoring.segments.detection import precision_recall
from utils.scoring.segments.error_kinds import KINDS, RIGHT

SCRIPTS = (*COMMON, "lanes", "timelines", "segments", "segment_sections", "start")
MOST_VIDEOS = 300  # that have a timeline
MOST_ANSWERS = 60  # on one timeline
MOST_POINTS = 200  # of one curve
CLOSE = 0.5  # seconds


def render(case: Case, scores: SegmentScores, *, title: str) -> str:
    """Returns the page as text."""
    found = segment_data(case, scores)
    data = {"classes": case.classes, "notes": found["notes"], "experiments": [{"name": "answers"}]}
    return build_page(title, data | {"segments": found | {"notes": []}}, SCRIPTS)


def segment_data(case: Case, scores: SegmentScores) -> dict[str, Any]:
    """Returns everything that a page shows about answers with times, as plain values for JSON."""
    videos, order = _videos(case, scores)
    starts, ends = border_errors(case, scores)
    right = scores.matched[scores.main] >= 0
    data = {
        "classes": case.classes,
        "notes": [*scores.notes, *scores.chosen.notes(case.classes)],
        "paths": case.names,
        "numbers": numbers(scores),
        "kinds": KINDS,
        "overlaps": scores.overlaps,
        "precision": scores.precision,
        "main": scores.main,
        "least": scores.pooled.value[0],
        "counts": {"truths": len(case.truths), "answers": len(case.answers)},
        "errors": {
            "counts": [np.bincount(row, minlength=len(KINDS)) for row in scores.kinds],
            "profile": scores.profile,
            "gains": scores.gains,
        },
        "borders": {"start": starts, "end": ends, "label": case.answers.label[right], "close": CLOSE},
        "per_class": _per_class(case, scores),
        "curves": _curves(case, scores),
        "videos": videos,
        "timelines": [_timeline(case, scores, video) for video in order[:MOST_VIDEOS]],
        "most_answers": MOST_ANSWERS,
    }
    plain: dict[str, Any] = rounded(data)
    return plain


def _per_class(case: Case, scores: SegmentScores) -> list[dict[str, Any]]:
    starts, ends = border_errors(case, scores)
    label = case.answers.label[scores.matched[scores.main] >= 0]
    rows = []
    for row in range(len(case.classes)):
        both = np.concatenate([starts[label == row], ends[label == row]])
        rows.append(
            {
                "truths": scores.chosen.truths[row],
                "answers": int((case.answers.label == row).sum()),
                "ap": scores.detection.precision[:, row].mean(),
                "ap_main": scores.detection.precision[scores.main, row],
                "low": scores.detection.precision_low[row],
                "high": scores.detection.precision_high[row],
                "threshold": scores.chosen.value[row],
                "precision": scores.chosen.precision[row],
                "recall": scores.chosen.recall[row],
                "f1": scores.chosen.f1[row],
                "found": int((label == row).sum()),
                "start": np.median(starts[label == row]) if len(both) else None,
                "end": np.median(ends[label == row]) if len(both) else None,
                "off": np.median(np.abs(both)) if len(both) else None,
                "close": 100 * (np.abs(both) <= CLOSE).mean() if len(both) else None,
            }
        )
    return rows


def _curves(case: Case, scores: SegmentScores) -> list[dict[str, Any]]:
    """Returns precision and recall of all classes together, and of each class, with at most MOST_POINTS points."""
    right = scores.matched[scores.main] >= 0
    curves = []
    for label in (None, *range(len(case.classes))):
        own = np.ones(len(right), bool) if label is None else case.answers.label == label
        truths = len(case.truths) if label is None else int(scores.chosen.truths[label])
        precision, recall, score = precision_recall(case.answers.take(own), right[own], truths)
        kept = np.unique(np.linspace(0, len(precision) - 1, MOST_POINTS).astype(int)) if len(precision) else slice(0)
        curves.append({"precision": precision[kept], "recall": recall[kept], "score": score[kept]})
    return curves


def _videos(case: Case, scores: SegmentScores) -> tuple[list[list[Any]], list[int]]:
    """Returns [seconds, true segments, found ones, answers, false answers] per video, and the videos, worst first.

    Only answers from the pooled threshold on count. The worst video has the most missed segments and false answers.
    """
    least, matched = scores.pooled.value[0], scores.matched[scores.main]
    counted = case.answers.score >= least  # nothing, if it is nan
    count = len(case.names)
    found = np.bincount(case.answers.video[counted & (matched >= 0)], minlength=count)
    said = np.bincount(case.answers.video[counted], minlength=count)
    true = np.bincount(case.truths.video, minlength=count)
    errors = (true - found) + (said - found)
    order = np.lexsort((np.arange(count), -errors)).tolist()
    table = zip(case.durations, true.tolist(), found.tolist(), said.tolist(), (said - found).tolist(), strict=True)
    return [list(row) for row in table], order


def _timeline(case: Case, scores: SegmentScores, video: int) -> dict[str, Any]:
    """Returns the true segments and the best answers of one video.

    A true segment is [start, end, class, score of the answer that has found it, or None]; an answer is [start, end,
    class, score, kind].
    """
    matched, kinds = scores.matched[scores.main], scores.kinds[scores.main]
    rows = np.flatnonzero(case.answers.video == video)
    rows = rows[np.argsort(-case.answers.score[rows], kind="stable")]
    finder = {int(matched[row]): row for row in rows if kinds[row] == RIGHT}
    score = case.answers.score
    true = [
        [*_place(case.truths, row), float(score[finder[row]]) if row in finder else None]
        for row in np.flatnonzero(case.truths.video == video).tolist()
    ]
    said = [[*_place(case.answers, row), float(score[row]), int(kinds[row])] for row in rows[:MOST_ANSWERS].tolist()]
    return {"video": video, "truths": true, "answers": said, "left_out": max(0, len(rows) - MOST_ANSWERS)}


def _place(table: Any, row: int) -> list[Any]:
    return [float(table.start[row]), float(table.end[row]), int(table.label[row])]
