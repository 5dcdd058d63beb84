"""Measures what `activation_checkpointing` saves: the peak memory of a process that trains, and what it costs in time.

Each row is two processes on the CPU, one after the other. Each takes two steps of main.py's trainer with AdamW on the
same clips, so its peak holds all that a training keeps: weights, gradients, moments and activations. `--write` puts the
table into docs/benchmarks.md; `--quick` trains a small network.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # started as `python benchmarks/recompute.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks._page import table, write_section
from utils.cli import Parser, run_cli

HEAD = ["network", "clips", "keeps all, MB", "computes again, MB", "again / all", "CPU time, again / all"]
LEGEND = (
    "MB: peak of the resident memory of a process that takes two steps, the interpreter and torch included. The last "
    "column is the CPU time of the second step, in which the blocks' forward pass runs twice."
)
STEPS = 2


@dataclass(frozen=True)
class Work:
    """Says what is trained: `videos` clips (T, H, W) at a step. kwargs: of the network."""

    name: str
    backbone: str
    clip: tuple[int, int, int]
    videos: int
    kwargs: dict[str, Any] = field(default_factory=dict)


FULL = (Work("VideoMAE-B", "videomae_b", (16, 224, 224), 3),)
QUICK = (Work("VideoMAE-S, 2 blocks", "videomae_s", (8, 64, 64), 2, {"depth": 2}),)


def train(work: Work, again: bool) -> tuple[float, float]:
    """Returns the megabytes at the peak of this process, and the seconds of CPU time of the second step."""
    import torch

    from benchmarks.ddp import CLASSES, Clips, Size, config
    from methods.clip3d import Clip3D
    from networks.recompute import recompute_blocks
    from utils.processes.launch import Rank
    from utils.processes.memory import keep_freed_memory, return_freed_memory
    from utils.system import peak_memory
    from utils.training.precision import Precision
    from utils.training.trainer import Trainer

    return_freed_memory() if again else keep_freed_memory()  # as main.py does on a CPU
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size, cpu = Size(work.backbone, work.clip[0], work.clip[1], work.videos), torch.device("cpu")
    model = Clip3D(backbone=work.backbone, num_class=CLASSES, clip_len=work.clip[0], kwargs=work.kwargs)
    if again:
        recompute_blocks(model)
    data, rank = Clips(size), Rank(0, 1, 0, "python", "", 0, cpu, "", "")
    trainer = Trainer(model.train(), config(size, optimizer="ADAMW"), data, rank=rank, precision=Precision("off", cpu))
    steps, began = trainer.steps(itertools.repeat(data.batch), until=lambda: False), 0.0
    for _ in range(STEPS):
        began = time.process_time()
        next(steps)
    seconds, peak = time.process_time() - began, peak_memory()
    return (0.0 if peak is None else peak / 1e6), seconds


def row(work: Work) -> list[str]:
    """Returns one row of the table; both processes start afresh."""
    found = []
    for again in (False, True):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found.append(pool.submit(train, work, again).result())
    (kept, usual), (less, longer) = found
    clips = f"{work.videos} x {' x '.join(map(str, work.clip))}"
    return [work.name, clips, f"{kept:.0f}", f"{less:.0f}", f"{less / kept:.2f}", f"{longer / usual:.2f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.recompute", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="train a small network on small clips")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    rows = [row(work) for work in (QUICK if args.quick else FULL)]
    body = "One process of one thread, float32, AdamW.\n\n" + table(HEAD, rows) + "\n\n" + LEGEND
    print(body, flush=True)
    if args.write:
        write_section(
            "Blocks that are computed again", f"python -m benchmarks.recompute{' --quick' * args.quick}", body
        )
    return 0


if __name__ == "__main__":
    run_cli(main)
