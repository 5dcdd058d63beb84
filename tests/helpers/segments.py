"""Makes up true segments and answers to them, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.requirements import ROOT
from utils.scoring.result_files import write_results
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


def make_span_results(folder: Path, rng: np.random.Generator) -> None:
    """Results of an experiment whose list has the true segments of `made_up`.

    Videos are called films/film_0.mp4, films/film_1.mp4, ...
    """
    _, truths = made_up(rng)
    folder.mkdir(parents=True, exist_ok=True)
    scores = rng.dirichlet(np.ones(len(NAMES)), len(truths))
    scores[np.arange(len(truths)), truths.label] += 0.5
    columns = (truths.video.tolist(), truths.start.round(2).tolist(), truths.end.round(2).tolist())
    paths = [f"films/film_{video}.mp4#t={start},{end}" for video, start, end in zip(*columns, strict=True)]
    shares = scores / scores.sum(1, keepdims=True)
    write_results(folder, paths=paths, labels=truths.label, scores=shares, class_names=NAMES, protocol="a protocol")
