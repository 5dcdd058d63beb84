"""Averages the scores of several evaluations of the same videos: two streams, several networks, several seeds.

    python -m tools.fuse exps/ucf101/rgb exps/ucf101/flow --weights 1 1.5
    python -m tools.fuse TEST_RGB TEST_FLOW --search-on VAL_RGB VAL_FLOW --out exps/ucf101/two_stream

Each folder holds the reference_result.* and reference_scores.npz of one evaluation. Prints the numbers of each and of
all together; --out writes the same files for the fused scores, so that every tool for results reads them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # started as `python tools/fuse.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from rich.console import Console
from rich.table import Table

from utils.cli import Parser, run_cli
from utils.errors import UserError
from utils.scoring.fusion import Aligned, align, fuse, protocol, read_evaluation, usable
from utils.scoring.result_files import write_results
from utils.scoring.task import task_for

SHARES = 20  # weights are tried in steps of 1/20
MOST_SEARCHED = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes the fused results if asked to."""
    args = _parse(argv)
    results = align([read_evaluation(folder) for folder in args.folder])
    weights, found = args.weights or [1.0] * len(args.folder), ""
    if args.search or args.search_on:
        held_out = align([read_evaluation(folder) for folder in args.search_on]) if args.search_on else results
        if held_out.scores.shape[::2] != results.scores.shape[::2]:
            raise UserError("--search-on: name as many folders as there are to fuse, with the same classes")
        weights = search(held_out, geometric=args.geometric)
        found = f"found on {', '.join(held_out.names)}" if args.search_on else "found on these same videos: flattering"
    fused = fuse(results, weights, logits=args.geometric)
    show(results, fused, weights, found)
    if args.out:
        kind = "geometric mean" if args.geometric else "mean"
        args.out.mkdir(parents=True, exist_ok=True)
        write_results(
            args.out,
            paths=results.paths,
            labels=results.labels,
            scores=fused,
            class_names=results.class_names,
            protocol=protocol(results, weights, kind=f"{kind} of scores", found=found),
        )
        print(f"written: {args.out}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m tools.fuse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="+", help="experiment folders with results of the same videos")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--weights", type=float, nargs="+", help="one per folder; only their ratio counts; default 1")
    choice.add_argument(
        "--search", action="store_true", help="the weights with the best top-1, or mAP, on these same videos"
    )
    choice.add_argument("--search-on", type=Path, nargs="+", metavar="FOLDER", help="the same on other results: val")
    parser.add_argument("--geometric", action="store_true", help="average logits instead of scores")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the fused results there")
    args = parser.parse_args(argv)
    if len(args.folder) < 2:
        parser.error("name at least two folders to fuse")
    if args.weights and not usable(args.weights, len(args.folder)):
        parser.error(f"--weights: {len(args.folder)} numbers from 0 on, one above 0, not {args.weights}")
    if args.out and args.out.resolve() in {folder.resolve() for folder in args.folder}:
        parser.error(f"--out: {args.out} is one of the folders to fuse")
    return args


def search(results: Aligned, *, geometric: bool = False) -> list[float]:
    """The shares with the best top-1, or mAP, in steps of 1/20; among equals those nearest to equal shares.

    Raises: UserError without labels, or for so many evaluations that trying is no search.
    """
    count = len(results.names)
    if count > MOST_SEARCHED:
        raise UserError(f"--search tries all shares of up to {MOST_SEARCHED} evaluations, not of {count}")
    task = task_for(results.labels)
    if not task.known(results.labels).any():
        raise UserError(f"{results.names[0]}: no video has a label, so no weights can be found on it")

    def quality(shares: Sequence[float]) -> tuple[float, float]:
        fused = fuse(results, shares, logits=geometric)
        return task.best(fused, results.labels), -sum((share - 1 / count) ** 2 for share in shares)

    return max(_shares(count), key=quality)


def _shares(count: int) -> Iterator[list[float]]:
    """All ways to share SHARES parts among `count`."""
    for bars in itertools.combinations(range(SHARES + count - 1), count - 1):
        edges = (-1, *bars, SHARES + count - 1)
        yield [(right - left - 1) / SHARES for left, right in itertools.pairwise(edges)]


def show(results: Aligned, fused: np.ndarray, weights: Sequence[float], found: str) -> None:
    """The table: each evaluation alone, then all together."""
    task = task_for(results.labels)
    table = Table("results", "weight", *(f"{title} %" for title in task.val_numbers.values()))
    rows = [(name, f"{w:g}", s) for name, w, s in zip(results.names, weights, results.scores, strict=True)]
    for name, weight, scores in (*rows, ("fused", "", fused)):
        numbers = task.measure(scores, results.labels)
        table.add_row(name, weight, *(f"{number:.2f}" for number in numbers.values()))
    Console(highlight=False).print(table)
    if found:
        print(f"weights {found}")


if __name__ == "__main__":
    run_cli(main)
