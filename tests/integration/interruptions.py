"""Kills training at random moments and lets it go on, until so many kills were survived; then compares the weights.

    python -m tests.integration.interruptions --kills 200 --seed 0 --write

A seed gives the same moments again. Processes are forked from one that has imported everything, so that a restart takes
a moment and most kills hit training itself; what they hit besides (meeting, loading, writing) is hit as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

import main
from benchmarks._page import table
from tests.helpers.experiment import make_experiment, same_weights, weights
from tests.helpers.ranks import free_port
from utils.cli import run_cli
from utils.files import ROOT, atomic_write
from utils.run import checkpoint

PAGE = ROOT / "docs" / "interruptions.md"
OPTIONS = {"ema": 0.9, "ckpt_freq": 2, "val_freq": 5, "print_freq": 1}
STEPS = 9  # of a run of `make_experiment`
MOST_KILLS = 4  # of one run, before it is let to its end
MEET_SECONDS = 30
UNMET = r"have not come within \d+ s$|does not answer .*set MASTER_PORT to another port$"
PATIENCE = 120.0  # seconds, after which a run counts as hanging


@dataclass
class Tally:
    """What was done to the runs of one world size."""

    world_size: int
    runs: int = 0
    kills: int = 0
    steps_done: list[int] = field(default_factory=list)  # at each kill, by the newest checkpoint; -1 before the first
    unmet: int = 0  # killed before the processes had met: the others wait for it as long as they do for a slow node
    slowest_end: float = 0.0  # seconds from any other kill until the last of the others was gone


def start(config: Path, world_size: int, *arguments: str) -> list[BaseProcess]:
    """Forks the processes of one attempt, as torchrun would start them; arguments: of main.py."""
    context = multiprocessing.get_context("fork")
    port = free_port()
    processes: list[BaseProcess] = []
    for rank in range(world_size):
        process = context.Process(target=_run, args=(config, rank, world_size, port, arguments))
        process.start()
        processes.append(process)
    return processes


def _run(config: Path, rank: int, world_size: int, port: int, arguments: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        os.environ.setdefault("DIST_TIMEOUT", str(MEET_SECONDS))
    with (config.parent / f"output_{rank}.txt").open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        run_cli(main.main, ["--config", str(config), *arguments])


def finish(processes: Sequence[BaseProcess]) -> list[int]:
    """Waits for all; their exit codes. A process that does not end is a failure of what is tested here."""
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
    hanging = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
        process.join()
    assert not hanging, f"rank {hanging} still runs after {PATIENCE} s"
    return [process.exitcode or 0 for process in processes]


def undisturbed(folder: Path, world_size: int) -> tuple[Path, float]:
    """A run that nobody kills, and its seconds."""
    config = make_experiment(folder, **OPTIONS)
    began = time.monotonic()
    codes = finish(start(config, world_size))
    assert codes == [0] * world_size, (config.parent / "output_0.txt").read_text()
    return config, time.monotonic() - began


def disturbed(folder: Path, world_size: int, kills: int, seconds: float, dice: random.Random, tally: Tally) -> Path:
    """A run that is killed up to `kills` times at random moments and then goes on to its end."""
    config = make_experiment(folder, **OPTIONS)
    tally.runs += 1
    for _ in range(kills):
        processes = start(config, world_size)
        _wait(config, dice, seconds)
        victim = processes[dice.randrange(world_size)]
        killed = victim.is_alive()
        if killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim.pid or 0, signal.SIGKILL)
        began = time.monotonic()
        codes = finish(processes)
        if killed and -signal.SIGKILL in codes:
            tally.kills += 1
            found = checkpoint.load_newest(config.parent)
            tally.steps_done.append(found[0]["step"] if found else -1)
            if any(re.search(UNMET, _last_line(config, rank)) for rank, code in enumerate(codes) if code > 0):
                tally.unmet += 1
            else:
                tally.slowest_end = max(tally.slowest_end, time.monotonic() - began)
        if codes == [0] * world_size:
            break
    codes = finish(start(config, world_size))
    assert codes == [0] * world_size, (config.parent / "output_0.txt").read_text()
    return config


def _wait(config: Path, dice: random.Random, seconds: float) -> None:
    """Waits for a random moment: every third time one from the start on, else one after a random step is logged.

    A clock alone would hit little but starts where other work slows this machine down.
    """
    if dice.random() < 1 / 3:
        time.sleep(dice.uniform(0.0, seconds))
        return
    known = _logged(config)
    wanted, end = known + dice.randrange(1, STEPS + 1), time.monotonic() + 10 * seconds
    while _logged(config) < min(wanted, STEPS) and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(dice.uniform(0.0, 0.1))


def _logged(config: Path) -> int:
    """The number of steps in metrics.jsonl."""
    file = config.parent / "metrics.jsonl"
    return file.read_text().count('"kind": "train"') if file.exists() else 0


def _last_line(config: Path, rank: int) -> str:
    return (config.parent / f"output_{rank}.txt").read_text().splitlines()[-1]


def losses(config: Path) -> list[tuple[int, str, float]]:
    """(step, kind, loss) of every line of metrics.jsonl."""
    records = [json.loads(line) for line in (config.parent / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["kind"], record["loss"]) for record in records]


def harass(world_size: int, kills: int, seed: int, folder: Path) -> Tally:
    """Runs until `kills` kills were survived. Raises AssertionError, naming the seed, when a run came out different."""
    dice = random.Random(f"{seed} {world_size}")
    tally = Tally(world_size)
    reference, seconds = undisturbed(folder / "undisturbed", world_size)
    while tally.kills < kills:
        number = tally.runs
        most = min(MOST_KILLS, kills - tally.kills)
        config = disturbed(folder / str(number), world_size, most, seconds, dice, tally)
        about = f"seed {seed}, {world_size} process(es), run {number}"
        assert same_weights(weights(config), weights(reference)), f"{about}: other weights"
        saved, expected = (checkpoint.load(path.parent / checkpoint.NEWEST) for path in (config, reference))
        assert saved["trainer"]["best_prec1"] == expected["trainer"]["best_prec1"], f"{about}: another best score"
        assert losses(config) == losses(reference), f"{about}: other losses"
    return tally


def page(tallies: Sequence[Tally], seed: int) -> str:
    """docs/interruptions.md."""
    rows = [
        [
            str(tally.world_size),
            str(tally.runs),
            str(tally.kills),
            str(sum(step < 0 for step in tally.steps_done)),
            str(len(set(tally.steps_done) - {-1})),
            str(tally.unmet),
            f"{tally.slowest_end:.1f}",
        ]
        for tally in tallies
    ]
    kills = sum(tally.kills for tally in tallies)
    head = ["processes", "runs", "kills", "before the first checkpoint", "different steps hit", "before they met"]
    head.append("others gone after, s")
    return (
        "# Interruptions\n\n"
        f"Written by `python -m tests.integration.interruptions --kills {kills} --seed {seed} --write`. A process of\n"
        "a training run was killed with SIGKILL at a random moment and the same command was given again, until the\n"
        "run came to its end. All runs ended with the weights of an undisturbed run to the bit, its losses and its\n"
        "best score.\n\nA process that is killed before they have met is waited for like one on a slow node, here for "
        f"{MEET_SECONDS} s\n(`DIST_TIMEOUT`); the last column is about all others.\n\n" + table(head, rows) + "\n"
    )


def cli(argv: Sequence[str] | None = None) -> int:
    """Splits the kills over 1, 2 and 4 processes and prints the table."""
    parser = argparse.ArgumentParser(prog="interruptions", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/interruptions.md")
    args = parser.parse_args(argv)
    shares = {1: args.kills - 2 * (args.kills // 4), 2: args.kills // 4, 4: args.kills // 4}
    tallies = []
    for world_size, kills in shares.items():
        with tempfile.TemporaryDirectory() as folder:
            tallies.append(harass(world_size, kills, args.seed, Path(folder)))
            print(tallies[-1], flush=True)
    text = page(tallies, args.seed)
    print(text)
    if args.write:
        with atomic_write(PAGE, "w") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    run_cli(cli)
