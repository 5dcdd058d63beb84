"""Measures how fast frames become batches, where the time goes, and how that compares: `python -m benchmarks.loader`.

One process, one thread, all readers in turn on the same batches. Exit code 1 below the gate: 0.6 of the speed of bare
decoding, and with --peer that of mmaction2's reader. Writes its section of docs/benchmarks.md, but not with --quick.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as `python benchmarks/loader.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import _page
from benchmarks._pairs import Times, race
from benchmarks._peer import Peer, PeerReader, make_environment
from benchmarks._readers import BareDecode, MITReader, Ours, OursFull, PillowFull, PillowReader, Reader
from benchmarks._stages import Stages, measure
from benchmarks._stores import NO_MEMCACHED, open_stores
from benchmarks._workers import measure_handover
from benchmarks._workload import Workload, make_frames, open_frames
from datasets.loader import start_worker
from utils.cli import run_cli
from utils.errors import UserError
from utils.files import ROOT
from utils.processes.memory import keep_freed_memory

BARE, MIT, PEER, OURS = "bare cv2.imdecode", "PIL + torchvision as MIT", "mmaction2 1.2.0", "ours, disk"
PILLOW = "PIL, without MIT's transposing"
SIMPLE, FULL, PILLOW_FULL = "bare simplejpeg", "ours, full augmentation", "PIL + torchvision, full augmentation"
GATE_BARE, GATE_PEER = 0.6, 1.0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="loader.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; no peer, no page")
    parser.add_argument("--peer", action="store_true", help="also race mmaction2 (made once in .venv-mmaction2)")
    parser.add_argument("--list", type=Path, help="list file of your own frames; default: frames made up for the run")
    parser.add_argument("--root", type=Path, help="folder that its paths begin in (default: the list's)")
    parser.add_argument("--segments", type=int, default=8, help="frames per video (default %(default)s)")
    parser.add_argument("--input-size", type=int, default=224, help="of a crop (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="videos (default %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="for the stage wait (default: cores)")
    parser.add_argument("--rounds", type=int, help="batches that every reader makes (default 200, quick 40)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs everything; returns the exit code."""
    options = parse_arguments(argv)
    if options.quick and options.peer:
        raise UserError("--quick leaves the peer out; give one of --quick and --peer")
    start_worker()  # this process does what a worker does
    with tempfile.TemporaryDirectory(prefix="bench") as folder, contextlib.ExitStack() as stack:
        workload = _workload(options, Path(folder) / "frames")
        stores = stack.enter_context(open_stores(workload, Path(folder)))
        readers: dict[str, Reader] = {BARE: BareDecode(workload)}
        readers |= {f"ours, {name}": Ours(workload, store) for name, store in stores.items()}
        readers |= {MIT: MITReader(workload), PILLOW: PillowReader(workload)}
        peer = None
        if options.peer:
            peer = stack.enter_context(Peer(make_environment(ROOT / ".venv-mmaction2"), workload))
            readers |= {PEER: PeerReader(peer, "mmaction2"), SIMPLE: PeerReader(peer, "simplejpeg")}
        rounds = options.rounds or (40 if options.quick else 200)
        times = race(workload, readers, rounds=rounds)
        keep_freed_memory()  # as main.py does where the batch stays on the CPU
        full = race(
            workload,
            {FULL: OursFull(workload, workload.store), PILLOW_FULL: PillowFull(workload)},
            rounds=max(5, rounds // 5),
        )
        stages = measure(workload, rounds=max(10, rounds // 4), workers=options.workers)
        lines = [f"{workload.describe()}; medians of {rounds} rounds.", "", _race_table(times, full)]
        lines += ["", _stage_table(stages), "", _bottleneck(stages)]
        if options.workers:
            handover = measure_handover(
                workload, workers=options.workers, batches=rounds, pairs=3 if options.quick else 7, peer=peer
            )
            lines += ["", handover.describe()]
    if "ours, memcached" not in readers:
        lines += ["", NO_MEMCACHED]
    body, passed = "\n".join(lines), _passed(times)
    print(body)
    for verdict in _verdicts(times, full):
        print(verdict)
    if not options.quick:
        command = "python -m benchmarks.loader" + " --peer" * options.peer
        _page.write_section("Frames to batches", command, body)
    return 0 if passed else 1


def _workload(options: argparse.Namespace, folder: Path) -> Workload:
    if options.list is None:
        source, root = make_frames(folder), folder
    else:
        source, root = options.list, options.root or options.list.parent
    return open_frames(
        source, root, segments=options.segments, input_size=options.input_size, batch_size=options.batch_size
    )


def _race_table(times: Times, full: Times) -> str:
    rows = []
    for group, reference in ((times, BARE), (full, PILLOW_FULL)):
        for name in group.wall:
            slow = MIT if reference == BARE else PILLOW_FULL
            ratios = [group.speed(name, than) if than in group.wall else None for than in (BARE, PEER, slow)]
            speeds = [f"{group.frames_per_second(name):.0f}"]
            rows.append([name, *speeds, *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    head = ["reader", "frames/s", "x bare", "x mmaction2", "x PIL"]
    if PEER not in times.wall:
        head, rows = [head[i] for i in (0, 1, 2, 4)], [[row[i] for i in (0, 1, 2, 4)] for row in rows]
    note = "frames/s by the clock on the wall; the ratios are medians of paired rounds in CPU time."
    if "ours, memcached" in times.wall:
        ratio = times.speed_on_the_wall("ours, memcached", OURS)
        note += f" Memcached has {ratio:.2f} of the disk's speed, waiting for the server included."
    return _page.table(head, rows) + "\n\n" + note


def _stage_table(stages: Stages) -> str:
    rows = [[stage, f"{ms:.1f}", f"{1000 * ms / stages.frames:.0f}"] for stage, ms in stages.milliseconds.items()]
    return _page.table(["stage", "ms per batch", "us per frame"], rows)


def _bottleneck(stages: Stages) -> str:
    stage, advice = stages.bottleneck()
    return (
        f"With {stages.workers} workers and a loop that only augments: {stages.frames_per_second:.0f} frames/s. "
        f"Bottleneck: {stage}. To change it: {advice}."
    )


def _passed(times: Times) -> bool:
    return times.speed(OURS, BARE) >= GATE_BARE and (PEER not in times.cpu or times.speed(OURS, PEER) >= GATE_PEER)


def _verdicts(times: Times, full: Times) -> list[str]:
    found = [(times.speed(OURS, BARE), "x bare decoding", GATE_BARE, 0.7)]
    if PEER in times.cpu:
        found.append((times.speed(OURS, PEER), "x mmaction2", GATE_PEER, 1.2))
    found.append((times.speed(OURS, MIT), "x PIL as MIT", 0.0, 2.5))
    found.append((full.speed(FULL, PILLOW_FULL), "x PIL with the full augmentation", 0.0, 3.0))
    lines = []
    for value, what, gate, goal in found:
        verdict = "goal reached" if value >= goal else "gate passed" if value >= gate > 0 else "below the goal"
        lines.append(f"{value:5.2f} {what}: {'BELOW THE GATE' if value < gate else verdict} (goal {goal})")
    return lines


if __name__ == "__main__":
    run_cli(main)
