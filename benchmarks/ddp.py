"""Compares a step of main.py's trainer in several processes with a bare loop over torch's DistributedDataParallel.

Both train the same network on the same clips, which lie in memory, and take turns, pair by pair. They use gloo, or NCCL
where every process has a GPU. `--write` puts the table into docs/benchmarks.md; `--quick` trains a small network.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # started as `python benchmarks/ddp.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks._page import table, write_section
from methods.slowfast import SlowFast
from methods.tsm import TSM
from methods.tsn import TSN
from utils.cli import Parser, run_cli
from utils.config.schema import Common
from utils.errors import UserError
from utils.processes import session
from utils.processes.launch import Rank
from utils.system import cores
from utils.training.batch import Batch
from utils.training.precision import Precision
from utils.training.trainer import Trainer

HEAD = ["processes", "bare loop, ms", "main.py, ms", "main.py / bare", "bare without sending, ms"]
CLASSES = 400
STEPS = 2  # in a row, so that what one of them leaves for the next one is timed as well


# of `on_paper`: bytes per second in one direction, of NVLink 4 for a GPU, and of a node with 8 x 400 or 1 x 100 Gbit/s
GPUS, PER_NODE = (8, 32, 256), 8
IN_NODE, BETWEEN_NODES = 450e9, (400e9, 12.5e9)
BUCKET_BYTES = [2**20, 25 * 2**20]  # DistributedDataParallel's: a small first one, so that sending begins early
PAPER_HEAD = ["network", "GPUs", "collectives", "gradients, MB", "sent by a GPU, MB"]
PAPER_HEAD += ["ms over NVLink", "ms over 3200 Gbit/s a node", "ms over 100 Gbit/s a node"]


class Size(NamedTuple):
    """The work of a step in one process: `batch` clips of `frames` frames of side x side."""

    backbone: str
    frames: int
    side: int
    batch: int


FULL, QUICK = Size("resnet50", 2, 64, 4), Size("resnet18", 2, 32, 2)


class Clips:
    """Made-up clips in memory, as the trainer sees its list."""

    def __init__(self, size: Size) -> None:
        self.labels = np.arange(CLASSES)
        self.protocol = self
        self.augment = self
        generator = torch.Generator().manual_seed(session.rank())
        shape = size.batch, 1, size.frames, size.side, size.side, 3  # in the order in which pixels are decoded
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator).permute(0, 1, 5, 2, 3, 4)
        labels = torch.randint(CLASSES, (size.batch,), generator=generator)
        self.batch = Batch(pixels, labels, torch.arange(size.batch), faults=[""] * size.batch)

    def __len__(self) -> int:
        return CLASSES

    def path(self, index: int) -> str:
        """Returns a name for messages."""
        return str(index)

    def apply(self, clips: Tensor, drawn: Any) -> Tensor:
        """Returns normalised clips (B, C, T, H, W)."""
        return clips.flatten(0, 1).float() / 255

    def clips(self, rank: Rank, *, start: int, count: int) -> Iterator[Tensor]:
        """Returns no clips: precise batch norm is off."""
        return iter(())


def trainer_step(common: Common, size: Size, process: Rank) -> tuple[Trainer, Callable[[], object]]:
    """Returns the trainer of main.py, and what runs one step of it."""
    data = Clips(size)
    model = network(size, process)
    trainer = Trainer(model, common, data, rank=process, precision=Precision("off", process.device))
    steps = trainer.steps(itertools.repeat(data.batch), until=lambda: False)
    return trainer, lambda: next(steps)


def bare_step(size: Size, process: Rank, *, sends: bool = True) -> Callable[[], object]:
    """Returns what runs one step of a loop as torch's tutorial has it. sends: whether gradients are averaged."""
    data = Clips(size)
    model = DistributedDataParallel(network(size, process), gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        batch = data.batch.to(process.device)
        optimizer.zero_grad(set_to_none=True)
        with contextlib.nullcontext() if sends else model.no_sync():
            criterion(model(data.apply(batch.clips, None)), batch.labels).backward()
        optimizer.step()

    return step


def network(size: Size, process: Rank) -> nn.Module:
    """Returns the network that all train, on the device of this process."""
    torch.manual_seed(0)
    model = TSN(backbone=size.backbone, num_class=CLASSES, num_segments=size.frames)
    return model.to(process.device).train()


def config(size: Size, **keys: Any) -> Common:
    """Returns the config of a run that does nothing but steps. keys: further keys of `common`."""
    return Common.model_validate(
        {
            "model": {"type": "tsn", "backbone": size.backbone, "num_class": CLASSES},
            "lr_scheduler": {"type": "STEP", "base_lr": 1e-6, "lr_steps": [10**6], "max_iter": 10**6},
            "batch_size": size.batch,
            "val_freq": 10**6,
            "ckpt_freq": 10**6,
            "watch": {"clips": 0},
        }
        | keys
    )


def measure(process: Rank, size: Size, rounds: int) -> dict[str, np.ndarray]:
    """Returns the milliseconds of a step, by what ran, one figure for each round."""
    runs = {
        "ours": trainer_step(config(size), size, process)[1],
        "bare": bare_step(size, process),
        "silent": bare_step(size, process, sends=False),
    }
    return take_turns(runs, process, rounds)


def take_turns(runs: Mapping[str, Callable[[], object]], process: Rank, rounds: int) -> dict[str, np.ndarray]:
    """Returns the milliseconds of a step of each run, one figure for each round, in which each has its turn."""
    for step in runs.values():  # not timed: buckets, caches, threads
        for _ in range(3):
            step()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in np.random.default_rng(turn).permutation(list(runs)):  # the same order in all processes
            found[name].append(timed(runs[name], process))
    return {name: np.array(values) for name, values in found.items()}


def timed(step: Callable[[], object], process: Rank) -> float:
    """Returns the milliseconds of a step of all processes, from when the last begins until the last is done."""
    session.barrier()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    if process.device.type == "cuda":
        torch.cuda.synchronize(process.device)
    session.barrier()
    return 1000 * (time.perf_counter() - began) / STEPS


def in_processes(world_size: int, measure: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `measure(process, *arguments)` in processes of its own and returns what the first one measured."""
    context: Any = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    receive, send = context.Pipe(duplex=False)
    processes = [
        context.Process(target=_one_rank, args=(rank, world_size, port, send, measure, arguments), daemon=True)
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        raise UserError(f"{world_size} processes: none has measured anything; see the errors above") from None
    finally:
        for process in processes:
            process.join()


def _one_rank(
    rank: int, world_size: int, port: int, send: Connection, measure: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(max(1, cores() // world_size))
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with session.session("cuda" if torch.cuda.device_count() >= world_size else "cpu") as process:
        found = measure(process, *arguments)
        if process.is_first:
            send.send(found)


def row(world_size: int, found: dict[str, np.ndarray]) -> list[str]:
    """Returns one row of the table."""
    ours, bare, silent = (float(np.median(found[name])) for name in ("ours", "bare", "silent"))
    ratio = float(np.median(found["ours"] / found["bare"]))
    return [str(world_size), f"{bare:.0f}", f"{ours:.0f}", f"{ratio:.3f}", f"{silent:.0f}"]


def setting(size: Size, processes: Sequence[int]) -> str:
    """Returns what computed what, for the text above a table."""
    where = "CPU, gloo"
    if torch.cuda.device_count() >= max(processes):
        where = f"{max(processes)} x {torch.cuda.get_device_name()}, NCCL"
    clips = f"{size.frames} frames of {size.side}x{size.side}, batches of {size.batch}"
    return f"{where}, TSN over {size.backbone}, {clips}, float32"


def on_paper() -> str:
    """Returns a table of what the gradients of a step cost on many GPUs, without running anything."""
    with torch.device("meta"):
        networks = {
            "TSM R50": TSM(backbone="resnet50", num_class=CLASSES, num_segments=8),
            "SlowFast R50 8x8": SlowFast(backbone="resnet50", num_class=CLASSES, clip_len=32, alpha=4, fusion_kernel=7),
        }
    rows = []
    for name, model in networks.items():
        gradients: list[Tensor] = list(reversed(list(model.parameters())))  # in about the order in which they come
        buckets, _ = dist._compute_bucket_assignment_by_size(gradients, BUCKET_BYTES)
        sizes = [sum(4 * gradients[index].numel() for index in bucket) for bucket in buckets]
        for gpus in GPUS:
            sent = 2 * (gpus - 1) / gpus * np.array([sum(sizes), sizes[-1]])  # of a ring; the last bucket alone
            links = [IN_NODE] if gpus <= PER_NODE else BETWEEN_NODES
            times = [f"{1000 * sent[0] / link:.1f} ({1000 * sent[1] / link:.1f})" for link in links]
            times = ["", *times] if gpus > PER_NODE else [*times, "", ""]
            rows.append(
                [name, str(gpus), f"{len(sizes)} + 1", f"{sum(sizes) / 1e6:.0f}", f"{sent[0] / 1e6:.0f}", *times]
            )
    return table(PAPER_HEAD, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.ddp", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], metavar="N", help="default: 2 4")
    parser.add_argument("--rounds", type=int, default=30, help="pairs of each number of processes (default 30)")
    parser.add_argument("--quick", action="store_true", help="train a ResNet-18 on small clips, three pairs")
    parser.add_argument("--on-paper", action="store_true", help="only print what a step costs on 8, 32 and 256 GPUs")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    if args.on_paper:
        print(on_paper())
        return 0
    size, rounds = (QUICK, 3) if args.quick else (FULL, args.rounds)
    rows = []
    for world_size in args.processes:
        rows.append(row(world_size, in_processes(world_size, measure, size, rounds)))
        print(" | ".join(rows[-1]), flush=True)
    body = f"{setting(size, args.processes)}, medians of {rounds} interleaved pairs of {STEPS} steps.\n\n"
    body += table(HEAD, rows) + "\n\n" + LEGEND
    print("\n" + body)
    if args.write:
        given = " --quick" * args.quick + f" --rounds {rounds}" * (not args.quick and rounds != 30)
        write_section("Several processes", f"python -m benchmarks.ddp{given}", body)
    return 0


LEGEND = (
    "The ratio is the median of the pairs' own ratios; the goal is 1.03 at most. The last column is the bare loop "
    "without averaging gradients."
)

if __name__ == "__main__":
    run_cli(main)
