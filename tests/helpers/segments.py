"""Makes up true segments and answers to them, for tests."""

from __future__ import annotations

import json
from pathlib import Path
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


NAMES = ("run", "jump", "throw <b>")


def write_files(folder: Path, answers: Segments, truths: Segments) -> tuple[Path, Path]:
    """Writes tables of the classes NAMES in ActivityNet's two forms; videos are called film_0, film_1, ..."""
    database: dict[str, Any] = {
        f"film_{video}": {"duration": 100.0, "subset": "validation", "annotations": []} for video in range(6)
    }
    results: dict[str, Any] = {name: [] for name in database}
    for table, put in ((truths, lambda name: database[name]["annotations"]), (answers, results.get)):
        for video, start, end, label, score in zip(
            *(getattr(table, name).tolist() for name in ("video", "start", "end", "label", "score")), strict=True
        ):
            entry = {"segment": [start, end], "label": NAMES[label]}
            put(f"film_{video}").append(entry if table is truths else entry | {"score": score})
    paths = folder / "truth.json", folder / "answer.json"
    paths[0].write_text(json.dumps({"version": "1", "taxonomy": [], "database": database}))
    paths[1].write_text(json.dumps({"version": "1", "external_data": {}, "results": results}))
    return paths
