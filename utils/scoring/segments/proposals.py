"""Computes how many true segments a number of answers finds, whatever their classes: AR@AN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.scoring.bootstrap import draws, interval
from utils.scoring.segments.matching import ACTIVITYNET
from utils.segments.overlap import iou_of_pairs, pairs
from utils.segments.table import Segments

_POINTS = 100


@dataclass(frozen=True)
class AverageRecall:
    """Holds the recall for 100 average numbers of answers per video, in percent."""

    number: np.ndarray  # float64 (100,), AN: answers per video on average
    recall: np.ndarray  # float64 (T, 100), share of the true segments that are found
    average: np.ndarray  # float64 (100,), AR: mean over the T thresholds
    low: np.ndarray  # float64 (100,), 95 % bootstrap interval of AR over the videos
    high: np.ndarray
    area: float  # area below AR over AN, as a percentage of the largest possible one


def average_recall(
    answers: Segments,
    truths: Segments,
    *,
    thresholds: Sequence[float] = ACTIVITYNET,
    most: float = 100,
    seed: int = 0,
) -> AverageRecall:
    """Returns the average recall of answers without their classes, as ActivityNet's proposal task defines it.

    The answers of each video are ranked by score, and the same share of them is used in every video: a video with many
    answers may use many. Videos without true segments only count for how many answers there are.

    most: the largest average number of answers per video, AN.
    """
    videos, place = np.unique(truths.video, return_inverse=True)
    rank, has = _ranks(answers, videos)
    used = np.minimum((has * (most * len(videos) / max(1, len(answers)))).astype(np.int64), has)
    share = np.arange(1, _POINTS + 1) / _POINTS * (most * len(videos) / max(1, int(used.sum())))
    allowed = np.minimum((used[:, None] * share).astype(np.int64), used[:, None])  # (videos, 100)
    first = _first_ranks(answers, truths, rank, thresholds)
    hit = first[:, :, None] < allowed[place.reshape(-1)][None]  # (T, truths, 100)
    recall = hit.mean(axis=1) if len(truths) else np.full((len(thresholds), _POINTS), np.nan)
    low, high = _interval(hit.mean(axis=0), place.reshape(-1), len(videos), seed=seed)
    average, number = recall.mean(axis=0), share * (used.sum() / max(1, len(videos)))
    area = float(((average[1:] + average[:-1]) / 2 * np.diff(number)).sum() / number[-1]) if used.sum() else 0.0
    return AverageRecall(number, 100 * recall, 100 * average, 100 * low, 100 * high, 100 * area)


def _ranks(answers: Segments, videos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rank of each answer in its video, from 0, int64 (n,), and the number of answers per video."""
    order = np.lexsort((np.arange(len(answers)), -answers.score, answers.video))
    ordered = answers.video[order]
    rank = np.empty(len(answers), np.int64)
    rank[order] = np.arange(len(answers)) - np.searchsorted(ordered, ordered)
    return rank, np.searchsorted(ordered, videos, side="right") - np.searchsorted(ordered, videos)


def _first_ranks(answers: Segments, truths: Segments, rank: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Returns the rank of the first answer that overlaps each true segment enough, int64 (T, truths)."""
    first = np.full((len(thresholds), len(truths)), np.iinfo(np.int64).max)
    for answer, truth in pairs(answers, truths, same_label=False):
        iou = iou_of_pairs(answers, truths, (answer, truth))
        for row, bound in enumerate(thresholds):
            near = iou >= bound
            np.minimum.at(first[row], truth[near], rank[answer[near]])
    return first


def _interval(found: np.ndarray, place: np.ndarray, videos: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the interval of AR, from the share of thresholds at which each true segment is found, (truths, 100)."""
    if not videos:
        return np.full(_POINTS, np.nan), np.full(_POINTS, np.nan)
    per_video = np.zeros((videos, _POINTS))
    np.add.at(per_video, place, found)
    counts = draws(videos, seed=seed).T
    total = counts @ np.bincount(place, minlength=videos)
    return interval((counts @ per_video) / total[:, None])
