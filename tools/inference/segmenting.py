"""Makes segments of a network's scores over time, with the thresholds of its classes."""

from __future__ import annotations

import argparse
import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.lists.json_objects import each_once
from tools.inference.prediction import Timeline
from utils.errors import UserError
from utils.segments.finding import find_at_heights, smooth
from utils.segments.suppression import suppress, suppress_softly
from utils.segments.table import Segments


@dataclass(frozen=True, eq=False)
class Cutting:
    """Says how scores over time become segments; docs/segments.md has the options one by one.

    high: heights at which the scores are cut. low: a segment goes on down to it; None: down to the height.
    smoothing, min_length: seconds.
    nms: largest overlap (0..1) with a better segment; None: no limit.
    soft_nms: sigma of Soft-NMS; None: scores stay.
    least: float64 (K,), the lowest score of a segment of each class, nan for none at all; None: any.
    background: class that gives no segments.
    """

    high: Sequence[float]
    low: float | None = None
    smoothing: float = 0.0
    min_length: float = 0.0
    nms: float | None = None
    soft_nms: float | None = None
    least: np.ndarray | None = None
    background: int | None = None

    def segments(self, timeline: Timeline) -> Segments:
        """Returns the segments of a video, by class, height and time; the first and the last reach its ends.

        Scores have 6 digits behind the point, as files have them, from which the thresholds in `least` are chosen.
        """
        kept = timeline.answers
        if kept is None:
            times = timeline.times
            scores = smooth(timeline.scores, times, seconds=self.smoothing)
            kept = find_at_heights(
                scores, times, self.high, seconds=timeline.seconds, low=self.low, background=self.background
            )
        else:  # a network that finds segments by their ends has nothing to cut
            kept = kept.take(kept.score >= min(self.high))
        kept = kept.take(kept.end - kept.start >= self.min_length)
        if self.nms is not None:
            kept = suppress(kept, iou=self.nms)
        if self.soft_nms is not None:
            kept = suppress_softly(kept, sigma=self.soft_nms)
        kept = kept.with_scores(kept.score.round(6))
        return kept if self.least is None else kept.take(kept.score >= self.least[kept.label])


def cutting_from_arguments(args: argparse.Namespace, classes: Sequence[str]) -> tuple[Cutting, list[str]]:
    """Returns what the options of tools/segment.py ask for, and lines about classes without a threshold."""
    background = None if args.background is None else _label(args.background, classes, "--background")
    least = None if args.thresholds is None else read_thresholds(args.thresholds, classes)
    notes = []
    if least is not None:
        silent = [name for label, name in enumerate(classes) if math.isnan(least[label]) and label != background]
        if silent:
            notes.append(f"{args.thresholds} has no threshold for {', '.join(silent)}: no segments of them")
    cutting = Cutting(
        high=args.high,
        low=args.low,
        smoothing=args.smoothing,
        min_length=args.min_length,
        nms=args.nms,
        soft_nms=args.soft_nms,
        least=least,
        background=background,
    )
    return cutting, notes


def read_thresholds(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Reads the thresholds of the JSON of tools.score_segments, float64 (K,), nan for classes without one.

    Raises: UserError for a file that is missing or of another form, and for a class that is not in `classes`.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_once(path))
        found = {str(name): row["threshold"] for name, row in content["classes"].items()}
        values = {name: math.nan if value is None else float(value) for name, value in found.items()}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(f"{path}: holds no thresholds; python -m tools.score_segments --json writes them") from None
    least = np.full(len(classes), np.nan)
    for name, value in values.items():
        least[_label(name, classes, str(path))] = value
    return least


def _label(name: str, classes: Sequence[str], where: str) -> int:
    if name not in classes:
        near = difflib.get_close_matches(name, classes, n=1)
        hint = f"; perhaps {near[0]!r} is meant" if near else f"; it has {', '.join(classes[:5])}, ..."
        raise UserError(f"{where}: class {name!r} is not in the checkpoint{hint}")
    return list(classes).index(name)
