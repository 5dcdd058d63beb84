"""Compares ways to score clips on a CPU, in one run: the trained network, folded, exported, in ONNX Runtime, in bf16.

They take turns, and a ratio is the median over the rounds. `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # started as `python benchmarks/inference.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, positive_int, run_cli

HEAD = ["network", "ms", "folded", "torch.export", "ONNX Runtime", "bf16", "difference"]
LEGEND = (
    "ms: of one clip, as it was before batch norms were folded. The next columns say how many times as "
    "fast others are: folded, which is what `predict` and `--evaluate` do now; the same network "
    "written by `tools.export` as .pt2 and as .onnx; and `amp: bf16`. difference: largest one of a logit with folded "
    "batch norms, divided by the spread of the logits."
)


@dataclass(frozen=True)
class Network:
    """One network and the clip (T, H, W) that it scores."""

    name: str
    kind: str
    arguments: dict[str, Any]
    clip: tuple[int, int, int]


NETWORKS = (
    Network("TSN R50 8x224", "tsn", {"backbone": "resnet50", "num_segments": 8}, (8, 224, 224)),
    Network("TSM R50 8x224", "tsm", {"backbone": "resnet50", "num_segments": 8}, (8, 224, 224)),
    Network("TSM MobileNetV2 8x224", "tsm", {"backbone": "mobilenetv2", "num_segments": 8}, (8, 224, 224)),
    Network("SlowFast R50 16x112", "slowfast", {"backbone": "resnet50", "clip_len": 16, "alpha": 4}, (16, 112, 112)),
    Network("R(2+1)D-18 8x112", "clip3d", {"backbone": "r2plus1d_18", "clip_len": 8}, (8, 112, 112)),
)


def measure(network: Network, *, rounds: int) -> list[str]:
    """Returns one row of the table."""
    import numpy as np
    import torch

    from methods import METHODS
    from tools.exporting.export import FORMATS, Exportable, trace
    from utils.training.folding import fold_batch_norms
    from utils.training.precision import Precision

    torch.manual_seed(0)
    method = METHODS[network.kind](num_class=400, **network.arguments).eval()
    frames, height, width = network.clip

    def example(batch: int) -> tuple[torch.Tensor, ...]:
        # the memory order in which clips come: N,T,H,W,C
        return (torch.randn(batch, frames, height, width, 3).permute(0, 4, 1, 2, 3),)

    (clip,) = example(1)
    folded = fold_batch_norms(method, clip).network
    exportable = Exportable(method, ("clips",), ("logits",), example, 1, {})
    program = trace(exportable)
    runs: dict[str, Callable[[], Any]] = {"before": torch.no_grad()(lambda: method(clip))}
    runs["folded"] = torch.inference_mode()(lambda: folded(clip))
    for name, suffix in (("torch.export", ".pt2"), ("ONNX Runtime", ".onnx")):
        run = FORMATS[suffix](program, exportable)[1]
        runs[name] = torch.inference_mode()(lambda run=run: run([clip]))
    bf16 = Precision("bf16", clip.device)

    def in_bf16() -> Any:
        with torch.inference_mode(), bf16.autocast():
            return method(clip)

    runs["bf16"] = in_bf16
    expected, found = runs["before"](), runs["folded"]()
    difference = float((found - expected).abs().max() / (expected.max() - expected.min()))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name in np.random.default_rng(turn).permutation(list(runs)):
            began = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - began)
    times = {name: np.array(found[1:]) for name, found in seconds.items()}  # the first round warms up
    ratios = [f"{np.median(times['before'] / times[name]):.2f}" for name in runs if name != "before"]
    return [network.name, f"{1000 * np.median(times['before']):.0f}", *ratios, f"{difference:.1e}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.inference", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=positive_int, default=20, help="clips for each way (default 20)")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="networks whose name contains one")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)

    from benchmarks._page import table, write_section
    from utils.processes.threads import limit_threads

    threads, rows = limit_threads(), []
    for network in NETWORKS:
        if not args.only or any(part.lower() in network.name.lower() for part in args.only):
            rows.append(measure(network, rounds=args.rounds))
            print(" | ".join(rows[-1]), flush=True)
    body = f"{threads}, float32 but for the column bf16, medians of {args.rounds} rounds taken by turns.\n\n"
    body += table(HEAD, rows) + "\n\n" + LEGEND
    print("\n" + body)
    if args.write:
        write_section("Scoring on a CPU", f"python -m benchmarks.inference --rounds {args.rounds}", body)
    return 0


if __name__ == "__main__":
    run_cli(main)
