"""Scores answers that say when something happens: by overlap, by one moment, by their number, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anal_tools.segment_input import Case
from utils.errors import UserError
from utils.scoring.segments.detection import Detection, score_detection
from utils.scoring.segments.error_kinds import error_kinds, gains, groups_of_best, profile
from utils.scoring.segments.matching import POINT_SECONDS, match_by_overlap, match_points
from utils.scoring.segments.proposals import AverageRecall, average_recall
from utils.scoring.segments.thresholds import Thresholds, choose_thresholds
from utils.scoring.segments.timelines import TimelineScores, score_timelines, timeline_of_segments

MAIN_THRESHOLD = 0.5  # matches at this overlap are looked at one by one, or at the smallest one without it
AN = (1, 5, 10, 50, 100)


@dataclass(frozen=True)
class SegmentScores:
    """Holds all scores of a case at T thresholds.

    matched: int64 (T, n), row of the true segment that each answer has found, or -1.
    main: the place of the threshold at which matches are looked at one by one.
    kinds: int8 (T, n), places in KINDS.
    profile: float64 (groups, KINDS). gains: float64 (KINDS,), points of mAP.
    chosen: the threshold of each class for its score. pooled: the same for all classes together, K = 1.
    timelines: None without a background.
    precision: percent that the thresholds of scores were chosen for; None if they have the best F1.
    """

    thresholds: tuple[float, ...]
    matched: np.ndarray
    main: int
    detection: Detection
    points: Detection
    recall: AverageRecall
    kinds: np.ndarray
    profile: np.ndarray
    gains: np.ndarray
    chosen: Thresholds
    pooled: Thresholds
    timelines: TimelineScores | None
    notes: tuple[str, ...]
    precision: float | None

    @property
    def overlaps(self) -> list[str]:
        """The thresholds of overlap as text, with 3 digits or as many as it takes to tell them apart."""
        texts = ([f"{bound:.{digits}g}" for bound in self.thresholds] for digits in range(3, 18))
        return next(row for row in texts if len(set(row)) == len(row))


def score_case(
    case: Case,
    thresholds: Sequence[float],
    *,
    least_score: float | None = None,
    precision: float | None = None,
) -> SegmentScores:
    """Returns all scores; those of labels over time only of a case with a background.

    least_score: answers below it count in no label over time.
    precision: percent, for the thresholds of the classes; by default they have the best F1.
    """
    answers, truths = case.answers, case.truths
    count, videos = len(case.classes), len(case.names)
    if not len(truths):
        raise UserError("the truth has no segment in these videos, so there is nothing to find")
    bounds = tuple(map(float, thresholds))
    matched = match_by_overlap(answers, truths, bounds)
    main = bounds.index(MAIN_THRESHOLD) if MAIN_THRESHOLD in bounds else 0
    kinds, groups = error_kinds(answers, truths, matched, bounds), groups_of_best(answers, truths, num_class=count)
    right = matched[main] >= 0
    per_class = np.bincount(truths.label, minlength=count)
    chosen = choose_thresholds(answers.score, answers.label, right, per_class, precision=precision)
    timelines, notes = None, list(case.notes)
    if case.background is not None:
        timelines, said = _score_timelines(case, least_score)
        notes += said
    return SegmentScores(
        thresholds=bounds,
        matched=matched,
        main=main,
        detection=score_detection(answers, truths, matched, num_class=count, num_videos=videos),
        points=score_detection(answers, truths, match_points(answers, truths), num_class=count, num_videos=videos),
        recall=average_recall(answers, truths, thresholds=bounds),
        kinds=kinds,
        profile=profile(kinds, groups),
        gains=gains(answers, truths, matched, kinds, groups, num_class=count),
        chosen=chosen,
        pooled=choose_thresholds(answers.score, np.zeros(len(answers), int), right, [len(truths)], precision=precision),
        timelines=timelines,
        notes=tuple(notes),
        precision=precision,
    )


def _score_timelines(case: Case, least_score: float | None) -> tuple[TimelineScores, list[str]]:
    """Returns the scores of labels over time, and lines about the moments at which segments contradict each other."""
    nothing = len(case.classes)
    timelines, notes = [], []
    counted = case.answers if least_score is None else case.answers.take(case.answers.score >= least_score)
    for name, table in (("TRUTH", case.truths), ("ANSWER", counted)):
        order = np.argsort(table.video, kind="stable")
        bounds = np.searchsorted(table.video[order], np.arange(len(case.names) + 1))
        made = [
            timeline_of_segments(table.take(rows), duration=duration, background=nothing)
            for rows, duration in zip(np.split(order, bounds[1:-1]), case.durations, strict=True)
        ]
        timelines.append([timeline for timeline, _ in made])
        if seconds := sum(several for _, several in made):
            notes.append(
                f"{name}: segments of different classes overlap for {seconds:.1f} s; there the best score counts"
            )
    truths, answers = timelines
    return score_timelines(answers, truths, background=[nothing]), notes


def numbers(scores: SegmentScores) -> dict[str, tuple[float, float, float]]:
    """Returns every single number with its interval, in percent."""
    found, points, recall, nan = scores.detection, scores.points, scores.recall, float("nan")
    rows = {
        f"mAP@{overlap}": (found.mean[row], found.low[row], found.high[row])
        for row, overlap in enumerate(scores.overlaps)
    }
    rows["mAP, mean over tIoU"] = found.average, found.average_low, found.average_high
    for number in AN:
        rows[f"AR@{number}"] = recall.average[number - 1], recall.low[number - 1], recall.high[number - 1]
    rows["area below AR@AN"] = recall.area, nan, nan
    for row, seconds in enumerate(POINT_SECONDS):
        if seconds in (1, 5, 10):
            rows[f"point mAP@{seconds:g}s"] = points.mean[row], points.low[row], points.high[row]
    rows["point mAP, mean of 1 to 10 s"] = points.average, points.average_low, points.average_high
    if scores.timelines is not None:
        rows |= {f"F1@{round(100 * overlap)}": value for overlap, value in scores.timelines.f1.items()}
        rows["edit score"] = scores.timelines.edit
        rows["frame accuracy"] = scores.timelines.accuracy
        rows["frame accuracy without background"] = scores.timelines.accuracy_without_background
    return {name: (float(value), float(low), float(high)) for name, (value, low, high) in rows.items()}


def border_errors(case: Case, scores: SegmentScores) -> tuple[np.ndarray, np.ndarray]:
    """Returns by how many seconds each right answer starts and ends too late, float64; below 0 for too early."""
    matched = scores.matched[scores.main]
    right = matched >= 0
    truth, answers = case.truths.take(matched[right]), case.answers.take(right)
    return answers.start - truth.start, answers.end - truth.end


def median_border_errors(case: Case, scores: SegmentScores) -> dict[str, float]:
    """Returns the median absolute error of the starts, of the ends and of both in seconds; nan without right answers.

    They are of answers that are right at the main overlap.
    """
    starts, ends = border_errors(case, scores)
    found = {"start": starts, "end": ends, "both": np.concatenate([starts, ends])}
    return {name: float(np.median(np.abs(errors))) if len(errors) else np.nan for name, errors in found.items()}
