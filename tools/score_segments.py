"""Scores answers that say when something happens: a model's segments against the true ones.

    python -m tools.score_segments TRUTH ANSWER
    python -m tools.score_segments TRUTH ANSWER --tiou thumos --background nothing --page segments.html

TRUTH and ANSWER are label files of any format that tools.spans reads, or folders or patterns of them, such as
ActivityNet's two forms of JSON: a `database` of annotations, and `results` with scores. Prints mAP at each overlap,
AR@AN, point-level mAP and the kinds of false answers; with --background also F1@10, 25 and 50, the edit score and frame
accuracy. All have 95 % intervals over the videos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python tools/score_segments.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, finite_float, positive_float, run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the scores, and writes JSON and the page if asked to."""
    args = parse_arguments(argv)
    from anal_tools.segment_report import run

    return run(args)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        prog="python -m tools.score_segments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="the true segments")
    parser.add_argument("answer", type=Path, metavar="ANSWER", help="the answers, with scores")
    parser.add_argument(
        "--tiou",
        nargs="+",
        default=["activitynet"],
        metavar="OVERLAP",
        help="overlaps from which an answer has found a segment: numbers, activitynet (0.5 to 0.95, the default) or "
        "thumos (0.3 to 0.7)",
    )
    parser.add_argument(
        "--background", metavar="NAME", help="name of moments without a segment; scores labels over time"
    )
    parser.add_argument(
        "--least-score",
        type=finite_float,
        metavar="SCORE",
        help="with --background: answers below it count in no label",
    )
    parser.add_argument("--subset", metavar="NAME", help="only the videos of this subset of TRUTH, such as validation")
    parser.add_argument("--fps", type=positive_float, help="frames per second where a file counts frames only")
    parser.add_argument(
        "--precision",
        type=_percent,
        metavar="PERCENT",
        help="choose each class's threshold for at least this precision, in place of the best F1",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, also those of each class")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write an HTML page with timelines and charts")
    args = parser.parse_args(argv)
    if args.least_score is not None and args.background is None:
        parser.error("--least-score is for labels over time: add --background")
    return args


def _percent(text: str) -> float:
    if not 0 < float(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and up to 100")
    return float(text)


if __name__ == "__main__":
    run_cli(main)
