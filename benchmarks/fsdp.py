"""Compares training with `fsdp: True` with DistributedDataParallel: the memory of each process, the time of a step.

Both are main.py's trainer with AdamW on the same clips, which lie in memory, and take turns, pair by pair. `--write`
puts the table into docs/benchmarks.md; `--quick` trains a small network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # started as `python benchmarks/fsdp.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from torch import Tensor

from benchmarks._page import table, write_section
from benchmarks.ddp import FULL, QUICK, STEPS, Size, config, in_processes, setting, take_turns, trainer_step
from utils.cli import Parser, run_cli
from utils.processes.launch import Rank
from utils.training.trainer import Trainer

HEAD = ["processes", "held by DDP, MB", "by fsdp, MB", "step of DDP, ms", "of fsdp, ms", "fsdp / DDP"]
ENGINES = ("ddp", "fsdp")


def measure(process: Rank, size: Size, rounds: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Returns the megabytes that this process holds, and the milliseconds of a step in each round, by the engine."""
    runs = {name: trainer_step(config(size, optimizer="ADAMW", fsdp=name == "fsdp"), size, process) for name in ENGINES}
    times = take_turns({name: step for name, (_, step) in runs.items()}, process, rounds)
    return {name: sum(map(own_bytes, held(trainer))) / 1e6 for name, (trainer, _) in runs.items()}, times


def held(trainer: Trainer) -> Iterator[Tensor]:
    """Yields weights, gradients and what the optimizer remembers of them."""
    for parameter in trainer.model.parameters():
        yield parameter
        if parameter.grad is not None:
            yield parameter.grad
    for remembered in trainer.optimizer.state.values():
        yield from (value for value in remembered.values() if isinstance(value, Tensor))


def own_bytes(tensor: Any) -> int:
    """Returns the bytes of a tensor in this process: of its own part when it is shared out."""
    own: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return own.numel() * own.element_size()


def row(world_size: int, size: Size, rounds: int) -> list[str]:
    """Returns one row of the table."""
    megabytes, times = in_processes(world_size, measure, size, rounds)
    figures = [f"{megabytes[name]:.0f}" for name in ENGINES] + [f"{np.median(times[name]):.0f}" for name in ENGINES]
    return [str(world_size), *figures, f"{np.median(times['fsdp'] / times['ddp']):.2f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.fsdp", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], metavar="N", help="default: 2 4")
    parser.add_argument("--rounds", type=int, default=8, help="pairs of each number of processes (default 8)")
    parser.add_argument("--quick", action="store_true", help="train a ResNet-18 on small clips")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    size = QUICK if args.quick else FULL
    rows = [row(world_size, size, args.rounds) for world_size in args.processes]
    body = f"{setting(size, args.processes)}, AdamW, medians of {args.rounds} interleaved pairs of {STEPS} steps.\n\n"
    body += table(HEAD, rows) + "\n\n" + LEGEND
    print(body, flush=True)
    if args.write:
        given = " --quick" * args.quick + f" --rounds {args.rounds}" * (args.rounds != 8)
        write_section("Networks shared out", f"python -m benchmarks.fsdp{given}", body)
    return 0


LEGEND = (
    "Held: weights, gradients and the moments of AdamW in one process, between steps. The last column is the median of "
    "the pairs' own ratios."
)

if __name__ == "__main__":
    run_cli(main)
