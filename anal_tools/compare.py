"""Compares two experiments on the same videos: which answers differ, whether that can be chance, how configs differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anal_tools.experiment import Config, Experiment
from utils.errors import UserError
from utils.scoring.metrics import WILSON_Z

ABSENT = "(absent)"


@dataclass(frozen=True)
class Comparison:
    """Compares the answers to all videos that both experiments scored with the same true class.

    both, only_first, only_second, neither: number of videos that these experiments have right.
    unpaired: number of videos that only one experiment scored, or with another true class.
    exact_p, mid_p: p-values of McNemar's test, two-sided.
    difference: accuracy of the second minus the first, in percentage points.
    low, high: 95 % interval of the difference.
    broken: rows (first, second) of the videos that only the first has right.
    fixed: rows (first, second) of the videos that only the second has right.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    unpaired: int
    exact_p: float
    mid_p: float
    difference: float
    low: float
    high: float
    broken: list[tuple[int, int]]
    fixed: list[tuple[int, int]]

    @property
    def videos(self) -> int:
        """Number of videos that were compared."""
        return self.both + self.only_first + self.only_second + self.neither


def compare(first: Experiment, second: Experiment) -> Comparison:
    """Pairs the videos by path and compares the answers. Raises: UserError as `paired_rows` does."""
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
    """Returns the two-sided p-values (exact, mid-p) of McNemar's test for paired disagreements.

    The exact test is binomial (McNemar 1947, Psychometrika 12). mid-p, which is less conservative, counts half of the
    probability of the observed case (Fagerland et al. 2013, BMC Med Res Methodol 13:91). Both use integers
    and one division.
    """
    total, low = only_first + only_second, min(only_first, only_second)
    term, cumulated = 1, 1  # binomial(total, i) and its sum up to i
    for index in range(low):
        term = term * (total - index) // (index + 1)
        cumulated += term
    exact = min(1.0, 2 * cumulated / 2**total)
    return exact, (2 * cumulated - term) / 2**total


def config_differences(first: Config, second: Config) -> list[tuple[str, Any, Any]]:
    """Returns (dotted path, value in the first, value in the second) for every key whose values differ.

    What ran is compared where both have run, else what the configs say.
    """
    ran = first.in_force and second.in_force
    one, other = (first.in_force, second.in_force) if ran else (first.values, second.values)
    return [
        (key, one.get(key, ABSENT), other.get(key, ABSENT))
        for key in sorted(one.keys() | other.keys())
        if one.get(key, ABSENT) != other.get(key, ABSENT)
    ]


def paired_rows(first: Experiment, second: Experiment) -> list[tuple[int, int]]:
    """Returns the rows (first, second) of each labelled video that both experiments have with the same truth.

    If a path is listed several times, its n-th entries belong together.
    Raises: UserError if the classes differ or no video is in both.
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
        raise UserError(f"{first.folder} and {second.folder}: no labelled video is in both, because their lists differ")
    return pairs


def _keys(paths: Iterable[str]) -> Iterable[tuple[str, int]]:
    seen: Counter[str] = Counter()
    for path in paths:
        yield path, seen[path]
        seen[path] += 1
