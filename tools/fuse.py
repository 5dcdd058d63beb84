"""Averages the scores of several evaluations of the same videos: two streams, several networks, several seeds.

    python -m tools.fuse exps/ucf101/rgb exps/ucf101/flow --weights 1 1.5
    python -m tools.fuse TEST_RGB TEST_FLOW --search-on VAL_RGB VAL_FLOW --out exps/ucf101/two_stream

Each folder holds the reference_result.* and reference_scores.npz of one evaluation. Prints the accuracy of each and of
all together; --out writes the same files for the fused scores, so that every tool for results reads them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # started as `python tools/fuse.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from rich.console import Console
from rich.table import Table

from tools._cli import Parser
from utils.errors import UserError, run_cli
from utils.metrics import mean_class_accuracy, topk_accuracy
from utils.results import read_results, write_results

SHARES = 20  # weights are tried in steps of 1/20
MOST_SEARCHED = 4
SMALLEST = 1e-12  # below it the logarithm of a score says nothing


@dataclass(frozen=True)
class Aligned:
    """Evaluations of the same N videos. scores: float64 (M, N, K), one row of scores per evaluation and video."""

    names: list[str]
    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray
    class_names: list[str] | None
    protocols: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes the fused results if asked to."""
    args = _parse(argv)
    results = align(args.folder)
    weights, found = args.weights or [1.0] * len(args.folder), ""
    if args.search or args.search_on:
        held_out = align(args.search_on) if args.search_on else results
        if held_out.scores.shape[::2] != results.scores.shape[::2]:
            raise UserError("--search-on: name as many folders as there are to fuse, with the same classes")
        weights = search(held_out, geometric=args.geometric)
        found = f"found on {', '.join(held_out.names)}" if args.search_on else "found on these same videos: flattering"
    fused = fuse(results.scores, weights, geometric=args.geometric)
    show(results, fused, weights, found)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_results(
            args.out,
            paths=results.paths,
            labels=results.labels,
            scores=fused,
            class_names=results.class_names,
            protocol=protocol(results, weights, geometric=args.geometric, found=found),
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
    choice.add_argument("--search", action="store_true", help="the weights with the best top-1 on these same videos")
    choice.add_argument("--search-on", type=Path, nargs="+", metavar="FOLDER", help="the same on other results: val")
    parser.add_argument("--geometric", action="store_true", help="average the logarithms of the scores")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the fused results there")
    args = parser.parse_args(argv)
    if len(args.folder) < 2:
        parser.error("name at least two folders to fuse")
    if args.weights and (len(args.weights) != len(args.folder) or not _usable(args.weights)):
        parser.error(f"--weights: {len(args.folder)} numbers from 0 on, one above 0, not {args.weights}")
    if args.out and args.out.resolve() in {folder.resolve() for folder in args.folder}:
        parser.error(f"--out: {args.out} is one of the folders to fuse")
    return args


def _usable(weights: Sequence[float]) -> bool:
    return all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0


def align(folders: Sequence[Path]) -> Aligned:
    """Reads results and brings them into the order of the first.

    Raises: UserError where scores are missing, or videos, labels or classes differ, naming the first that does.
    """
    every = [read_results(folder) for folder in folders]
    first = every[0]
    places = {path: index for index, path in enumerate(first.paths)}
    if len(places) != len(first):
        raise UserError(f"{folders[0]}: some video is listed twice, so results cannot be matched by path")
    stacked = []
    for folder, one in zip(folders, every, strict=True):
        if one.scores is None or first.scores is None:
            raise UserError(f"{folder}: no reference_scores.npz; only whole scores can be fused: evaluate it again")
        if one.scores.shape[1] != first.scores.shape[1]:
            raise UserError(f"{folder}: {one.scores.shape[1]} classes, but {folders[0]} has {first.scores.shape[1]}")
        if one.class_names and first.class_names and one.class_names != first.class_names:
            raise UserError(f"{folder}: its classes have other names or another order than those of {folders[0]}")
        order = {path: index for index, path in enumerate(one.paths)}
        if different := sorted(places.keys() ^ order.keys()):
            raise UserError(f"{folder}: not the same videos as {folders[0]}: {different[0]!r} is in one of them only")
        chosen = np.array([order[path] for path in first.paths])
        if (wrong := np.flatnonzero(one.labels[chosen] != first.labels)).size:
            raise UserError(f"{folder}: another true class of {first.paths[wrong[0]]!r} than {folders[0]} has")
        stacked.append(one.scores[chosen].astype(np.float64))
    names = next((one.class_names for one in every if one.class_names), None)
    protocols = [one.protocol for one in every]
    return Aligned([str(folder) for folder in folders], first.paths, first.labels, np.stack(stacked), names, protocols)


def fuse(scores: np.ndarray, weights: Sequence[float], *, geometric: bool = False) -> np.ndarray:
    """Weighted mean of (M, N, K) scores -> (N, K) whose rows add up to what the inputs' do, geometric: to one."""
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    if not geometric:
        return np.tensordot(shares, scores, 1)
    logs = np.tensordot(shares, np.log(np.maximum(scores, SMALLEST)), 1)
    powers = np.exp(logs - logs.max(1, keepdims=True))
    mean: np.ndarray = powers / powers.sum(1, keepdims=True)
    return mean


def search(results: Aligned, *, geometric: bool = False) -> list[float]:
    """The shares with the best top-1, in steps of 1/20; among equals those nearest to equal shares.

    Raises: UserError without labels, or for so many evaluations that trying is no search.
    """
    count = len(results.names)
    if count > MOST_SEARCHED:
        raise UserError(f"--search tries all shares of up to {MOST_SEARCHED} evaluations, not of {count}")
    if not (results.labels >= 0).any():
        raise UserError(f"{results.names[0]}: no video has a label, so no weights can be found on it")

    def quality(shares: Sequence[float]) -> tuple[float, float]:
        fused = fuse(results.scores, shares, geometric=geometric)
        return topk_accuracy(fused, results.labels), -sum((share - 1 / count) ** 2 for share in shares)

    return max(_shares(count), key=quality)


def _shares(count: int) -> Iterator[list[float]]:
    """All ways to share SHARES parts among `count`."""
    for bars in itertools.combinations(range(SHARES + count - 1), count - 1):
        edges = (-1, *bars, SHARES + count - 1)
        yield [(right - left - 1) / SHARES for left, right in itertools.pairwise(edges)]


def protocol(results: Aligned, weights: Sequence[float], *, geometric: bool, found: str) -> str:
    """How the fused numbers came about."""
    parts = [
        f"{weight:g} x {name} ({how})"
        for weight, name, how in zip(weights, results.names, results.protocols, strict=True)
    ]
    kind = "geometric mean" if geometric else "mean"
    return f"{kind} of scores: {' + '.join(parts)}" + (f", weights {found}" if found else "")


def show(results: Aligned, fused: np.ndarray, weights: Sequence[float], found: str) -> None:
    """The table: each evaluation alone, then all together."""
    table = Table("results", "weight", "top-1 %", "top-5 %", "mean class accuracy %")
    rows = [(name, f"{w:g}", s) for name, w, s in zip(results.names, weights, results.scores, strict=True)]
    for name, weight, scores in (*rows, ("fused", "", fused)):
        numbers = (
            topk_accuracy(scores, results.labels),
            topk_accuracy(scores, results.labels, k=5),
            mean_class_accuracy(scores, results.labels),
        )
        table.add_row(name, weight, *(f"{number:.2f}" for number in numbers))
    Console(highlight=False).print(table)
    if found:
        print(f"weights {found}")


if __name__ == "__main__":
    run_cli(main)
