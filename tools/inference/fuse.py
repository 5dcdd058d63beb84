"""Fuses the results of several evaluations and finds weights for them, for tools/fuse.py."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table

from utils.console import TextConsole
from utils.errors import UserError
from utils.scoring.fusion import Aligned, align, fuse, protocol, read_evaluation
from utils.scoring.result_files import write_results
from utils.scoring.task import task_for

SHARES = 20  # weights are tried in steps of 1/20
MOST_SEARCHED = 4


def run(args: argparse.Namespace) -> int:
    """Prints the table, and writes the fused results if asked to; returns the exit code."""
    results = align([read_evaluation(folder) for folder in args.folder])
    weights, found = args.weights or [1.0] * len(args.folder), ""
    if args.search or args.search_on:
        held_out = align([read_evaluation(folder) for folder in args.search_on]) if args.search_on else results
        if held_out.scores.shape[::2] != results.scores.shape[::2]:
            raise UserError("--search-on: name as many folders as there are to fuse, with the same classes")
        weights = search(held_out, geometric=args.geometric)
        found = (
            f"found on {', '.join(held_out.names)}"
            if args.search_on
            else "found on these same videos, so the score is too good"
        )
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


def search(results: Aligned, *, geometric: bool = False) -> list[float]:
    """Returns the shares with the best top-1, or mAP, in steps of 1/20; among equals those nearest to equal shares.

    Raises: UserError without labels, or for too many evaluations to try all shares.
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
    """Yields every way to share SHARES parts among `count` evaluations."""
    for bars in itertools.combinations(range(SHARES + count - 1), count - 1):
        edges = (-1, *bars, SHARES + count - 1)
        yield [(right - left - 1) / SHARES for left, right in itertools.pairwise(edges)]


def show(results: Aligned, fused: np.ndarray, weights: Sequence[float], found: str) -> None:
    """Prints the table: each evaluation alone, then all together."""
    task = task_for(results.labels)
    table = Table("results", "weight", *(f"{title} %" for title in task.val_numbers.values()))
    rows = [(name, f"{w:g}", s) for name, w, s in zip(results.names, weights, results.scores, strict=True)]
    for name, weight, scores in (*rows, ("fused", "", fused)):
        numbers = task.measure(scores, results.labels)
        table.add_row(name, weight, *(f"{number:.2f}" for number in numbers.values()))
    TextConsole().print(table)
    if found:
        print(f"weights {found}")
