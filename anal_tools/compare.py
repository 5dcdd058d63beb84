"""Two experiments on the same videos: who is right where, whether that can be luck, and what was set differently."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anal_tools.experiment import Experiment
from utils.errors import UserError
from utils.scoring.metrics import WILSON_Z

ABSENT = "(absent)"


@dataclass(frozen=True)
class Comparison:
    """The videos that both experiments scored with the same truth, and how they differ there."""

    both: int  # right in both
    only_first: int
    only_second: int
    neither: int
    unpaired: int  # videos of one experiment only, or with another truth
    exact_p: float  # McNemar's test, two-sided, exact binomial
    mid_p: float
    difference: float  # accuracy of the second minus the first, in percent points
    low: float  # 95 % interval of the difference
    high: float
    broken: list[tuple[int, int]]  # rows (first, second) that only the first has right
    fixed: list[tuple[int, int]]  # rows that only the second has right

    @property
    def videos(self) -> int:
        """Videos compared."""
        return self.both + self.only_first + self.only_second + self.neither


def compare(first: Experiment, second: Experiment) -> Comparison:
    """Pairs the videos by path and counts. Raises: UserError as `paired_rows`."""
    pairs = paired_rows(first, second)
    rows = np.array(pairs)
    one = first.results.predicted[rows[:, 0]] == first.results.labels[rows[:, 0]]
    two = second.results.predicted[rows[:, 1]] == second.results.labels[rows[:, 1]]
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    exact_p, mid_p = mcnemar(only_first, only_second)
    change = (only_second - only_first) / len(rows)
    # the variance of a difference of paired proportions
    spread = WILSON_Z * math.sqrt(max(only_first + only_second - len(rows) * change * change, 0)) / len(rows)
    return Comparison(
        both=int((one & two).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~one & ~two).sum()),
        unpaired=len(first.results) + len(second.results) - 2 * len(rows),
        exact_p=exact_p,
        mid_p=mid_p,
        difference=100 * change,
        low=100 * max(change - spread, -1.0),
        high=100 * min(change + spread, 1.0),
        broken=[pair for pair, bad in zip(pairs, one & ~two, strict=True) if bad],
        fixed=[pair for pair, good in zip(pairs, two & ~one, strict=True) if good],
    )


def mcnemar(only_first: int, only_second: int) -> tuple[float, float]:
    """(exact, mid-p) two-sided p-values that as many disagreements or more lean to one side by luck.

    The exact test is the binomial one (McNemar, 1947, Psychometrika 12); mid-p, which is less cautious, counts the
    observed case half (Fagerland et al., 2013, BMC Med Res Methodol 13:91). Computed in whole numbers, divided once.
    """
    total, low = only_first + only_second, min(only_first, only_second)
    term, cumulated = 1, 1  # binomial(total, i) and its sum up to i
    for index in range(low):
        term = term * (total - index) // (index + 1)
        cumulated += term
    exact = min(1.0, 2 * cumulated / 2**total)
    return exact, (2 * cumulated - term) / 2**total


def config_differences(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(dotted path, value in the first, in the second) where the values in force differ."""
    return [
        (key, first.get(key, ABSENT), second.get(key, ABSENT))
        for key in sorted(first.keys() | second.keys())
        if first.get(key, ABSENT) != second.get(key, ABSENT)
    ]


def paired_rows(first: Experiment, second: Experiment) -> list[tuple[int, int]]:
    """Rows of the same labelled video: same path (the n-th time it is listed), same truth.

    Raises: UserError when the classes differ or no video is in both.
    """
    if first.class_names != second.class_names:
        raise UserError(
            f"{first.folder} and {second.folder}: their classes differ ({len(first.class_names)} and "
            f"{len(second.class_names)}), so their videos cannot be compared; make a report of each"
        )
    labels, others = first.results.labels, second.results.labels
    known = first.results.task.known(labels)
    rows = {key: row for row, key in enumerate(_keys(second.results.paths))}
    pairs = [
        (row, rows[key])
        for row, key in enumerate(_keys(first.results.paths))
        if key in rows and known[row] and np.array_equal(labels[row], others[rows[key]])
    ]
    if not pairs:
        raise UserError(f"{first.folder} and {second.folder}: no labelled video is in both, their lists differ")
    return pairs


def _keys(paths: Iterable[str]) -> Iterable[tuple[str, int]]:
    seen: Counter[str] = Counter()
    for path in paths:
        yield path, seen[path]
        seen[path] += 1
