"""Makes up true segments and answers to them, for tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests.helpers.requirements import ROOT
from utils.segments.table import Segments


def golden(name: str) -> Any:
    """Returns the numbers of tests/golden/segments/NAME.json, which others' evaluations gave."""
    return json.loads((ROOT / f"tests/golden/segments/{name}.json").read_text())


def made_up(
    rng: np.random.Generator, *, videos: int = 6, classes: int = 3, truths: int = 15, answers: int = 80
) -> tuple[Segments, Segments]:
    """Returns answers and true segments: most answers lie near a true one; some scores are equal."""
    start = rng.uniform(0, 60, truths)
    true = Segments(
        rng.integers(0, videos, truths), start, start + rng.uniform(2, 30, truths), rng.integers(0, classes, truths)
    )
    near = rng.integers(0, truths, answers)
    moved = true.start[near] + rng.normal(0, 3, answers)
    ends = np.maximum(moved + 0.1, true.end[near] + rng.normal(0, 3, answers))
    video = np.where(rng.random(answers) < 0.9, true.video[near], rng.integers(0, videos, answers))
    label = np.where(rng.random(answers) < 0.8, true.label[near], rng.integers(0, classes, answers))
    return Segments(video, moved, ends, label, rng.random(answers).round(1)), true
