"""Measures how long readers of encoded video take for training clips, and whether their frames are the right ones.

`python -m benchmarks.video` encodes a video in four codecs with a key frame every 12, 48 and 250 frames. All readers
run in turn in one thread; times are of the processor. With --peers, decord and the readers of mmaction2 and
PyTorchVideo are asked, too. Exit code 1 if ours gives a wrong frame, or is slower than the gates. --write puts the
tables into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # started as `python benchmarks/video.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks._page import table, write_section
from benchmarks._peer import make_environment
from benchmarks._videos import CODECS, DISTANCES, NEAR, WORKLOADS, Truth, Videos, write_videos
from datasets.loader import start_worker
from datasets.videos.reader import KEPT
from utils.cli import run_cli
from utils.errors import UserError
from utils.files import ROOT

BARE = ("PyAV", "torchcodec exact", "torchcodec approx.", "decord", "OpenCV")
PEERS = ("decord", "mmaction2", "PyTorchVideo")
ONLY = {"near_key": "TSN-8", "ours, each alone": "4 x TSN-8"}  # the workload of readers that have only one
PACKAGES = (
    *("decord==0.6.0", "mmaction2==1.2.0", "mmengine", "mmcv-lite<2.2", "addict", "yapf", "platformdirs", "termcolor"),
    *("scipy", "pytorchvideo==0.1.5", "fvcore", "iopath", "parameterized", "networkx", "portalocker", "tabulate"),
    "yacs",
)
# (workload, reader, what is compared): how many times as fast it has to be; the first is the gate, the second the goal
GOALS = {
    ("32x2", "ours", "bare"): (0.8, 1.0),
    ("TSN-8", "ours", "bare"): (1.0, 1.5),
    ("TSN-8", "near_key", "bare"): (1.3, 3.0),
    ("4 x TSN-8", "ours", "ours, each alone"): (1.3, 2.0),
    ("4 x TSN-8", "ours", "bare"): (1.5, 3.0),
    ("TSN-8", "ours", "mmaction2"): (1.0, 1.5),
    ("32x2", "ours", "mmaction2"): (0.8, 1.5),
    ("TSN-8", "ours", "PyTorchVideo"): (1.0, 2.0),
    ("32x2", "ours", "PyTorchVideo"): (1.0, 2.0),
}
Times = dict[tuple[str, str, str], list[float]]  # milliseconds by video, workload and reader; none where it fails
Wrong = dict[tuple[str, str, str], int]  # frames that are others than those asked for


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(prog="video.py", description=__doc__)
    parser.add_argument("--source", type=Path, help="a video to encode; default: made-up moving pictures")
    parser.add_argument("--rounds", type=int, default=5, help="clips of each video (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="H.264 with a key frame every 48 frames, nothing else")
    parser.add_argument("--peers", action="store_true", help="also ask other projects (made once in .venv-videos)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args(argv)
    if options.quick and (options.peers or options.write):
        raise UserError("--quick leaves peers and page out; give it alone")
    start_worker()  # this process does what a worker does
    codecs, distances = (["h264"], [48]) if options.quick else (list(CODECS), list(DISTANCES))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        videos = Videos(write_videos(Path(folder), options.source, codecs, distances))
        readers: dict[str, Any] = dict(videos.readers())
        if options.peers:
            peers = stack.enter_context(Peers(make_environment(ROOT / ".venv-videos", PACKAGES)))
            readers |= {name: peers.reader(name) for name in PEERS}
        times, wrong = measure(videos, readers, rounds=options.rounds)
    said, passed = verdicts(times, wrong)
    body = report(times, wrong, list(readers), options) + "\n\n" + said
    print(body)
    if options.write:
        command = "python -m benchmarks.video" + " --source FILE" * (options.source is not None)
        write_section("Encoded video", command + " --peers" * options.peers + " --write", body)
    return 0 if passed else 1


def measure(videos: Videos, readers: Mapping[str, Any], *, rounds: int) -> tuple[Times, Wrong]:
    """Lets all readers read the same clips, each time in another order; the first clip of each is also looked at."""
    times: Times = {}
    wrong: Wrong = {}
    order, names = np.random.default_rng(0), list(readers)
    for video, path in videos.files.items():
        truth = Truth(path)
        for workload in WORKLOADS:
            alive = [name for name in names if name not in ONLY or workload == ONLY[name]]
            for number in range(-1, rounds):
                indices = videos.draw(video, workload, number + 1)
                for name in [alive[place] for place in order.permutation(len(alive))]:
                    key, reader = (video, workload, name), readers[name]
                    try:
                        if number >= 0:
                            times.setdefault(key, []).append(_milliseconds(reader, path, indices))
                            continue
                        asked = videos.near(path, indices) if name == "near_key" else indices
                        pictures = reader.pictures(path, indices) if isinstance(reader, Peer) else reader(path, indices)
                        wrong[key] = truth.wrong(pictures, asked.ravel())
                    except (RuntimeError, ValueError, KeyError, OSError) as error:
                        print(f"{name} does not read {video}: {' '.join(str(error).split())[:150]}", file=sys.stderr)
                        alive.remove(name)
    return times, wrong


def _milliseconds(reader: Any, path: Path, indices: np.ndarray) -> float:
    if isinstance(reader, Peer):
        return reader.milliseconds(path, indices)
    KEPT.close()  # as if the sample before had been of another video
    begin = time.process_time()
    reader(path, indices)
    return (time.process_time() - begin) * 1000


class Peers:
    """The process in the other environment. Leaving its `with` block ends the process."""

    def __init__(self, python: Path) -> None:
        driver = Path(__file__).with_name("_peer_videos.py")
        self._process = subprocess.Popen(
            [str(python), str(driver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def reader(self, name: str) -> Peer:
        """Returns one of its readers."""
        return Peer(self, name)

    def ask(self, name: str, path: Path, indices: np.ndarray, out: str) -> tuple[float, float]:
        """Returns wall and CPU seconds that a reader took. out: where to write the pictures; "" for nowhere."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, str(path), indices.tolist(), out]) + "\n")
        answer = json.loads(self._process.stdout.readline() or '"its process has died"')
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer[0], answer[1]


class Peer:
    """One of the readers in the other environment."""

    def __init__(self, peers: Peers, name: str) -> None:
        self._peers, self._name = peers, name

    def milliseconds(self, path: Path, indices: np.ndarray) -> float:
        """Returns the time of the processor that samples (n, T) took."""
        return sum(self._peers.ask(self._name, path, sample, "")[1] for sample in indices) * 1000

    def pictures(self, path: Path, indices: np.ndarray) -> list[np.ndarray]:
        """Returns the frames of samples (n, T)."""
        found: list[np.ndarray] = []
        with tempfile.TemporaryDirectory() as folder:
            out = f"{folder}/pictures.npy"
            for sample in indices:
                self._peers.ask(self._name, path, sample, out)
                found += list(np.load(out))
        return found


def speeds(times: Times, wrong: Wrong, workload: str, name: str, than: str) -> dict[str, float]:
    """Returns how many times as fast a reader is as another, by video: the median of the ratios of all clips.

    than: the name of a reader, or "bare" for the fastest bare decoder whose frames are right.
    """
    found = {}
    for video in dict.fromkeys(video for video, _, _ in times):
        others = BARE if than == "bare" else (than,)
        right = [times[key] for other in others if not wrong.get(key := (video, workload, other), 1) and key in times]
        if right and (ours := times.get((video, workload, name))):
            fastest = min(right, key=lambda one: float(np.median(one)))
            found[video] = float(np.median(np.array(fastest) / np.array(ours)))
    return found


def verdicts(times: Times, wrong: Wrong) -> tuple[str, bool]:
    """Returns a table of what is reached of GOALS, and whether all gates are passed and none of our frames is wrong."""
    rows, passed = [], True
    for (workload, name, than), (gate, goal) in GOALS.items():
        found = speeds(times, wrong, workload, name, than)
        if not found:
            continue
        middle, worst = float(np.median(list(found.values()))), min(found, key=found.__getitem__)
        passed &= middle >= gate
        reached = "reached" if middle >= goal else "missed" if middle >= gate else "BELOW THE GATE"
        what = "the fastest bare decoder" if than == "bare" else than
        slowest = f"{found[worst]:.2f} ({worst})"
        rows.append([f"{workload}, {name} against {what}", f"{middle:.2f}", slowest, f"{goal:g}", reached])
    ours = sum(count for (_, _, name), count in wrong.items() if name in ("ours", "near_key"))
    head = ["times as fast, median over the videos", "median", "least", "goal", ""]
    return f"{table(head, rows)}\n\nWrong frames of ours: {ours}.", passed and not ours


def report(times: Times, wrong: Wrong, names: list[str], options: argparse.Namespace) -> str:
    """Returns the tables of all times."""
    parts = [
        f"Clips of {'made-up moving pictures' if options.source is None else options.source.name}, 280 frames; one "
        f"thread, milliseconds of the processor for one clip, medians of {options.rounds} clips, opening the file "
        f"included. 4 x TSN-8: four samples of the video that share a batch. near_key: {NEAR:g} s. In brackets: "
        "frames of the first clip that were others than those asked for."
    ]
    for workload in WORKLOADS:
        shown = [name for name in names if any(key[1:] == (workload, name) for key in times)]
        rows = []
        for video in dict.fromkeys(video for video, _, _ in times):
            row = [video]
            for name in shown:
                count = wrong.get((video, workload, name), 0)
                cell = times.get((video, workload, name))
                row.append("-" if cell is None else f"{np.median(cell):.0f}" + (f" ({count})" if count else ""))
            rows.append(row)
        parts.append(table([workload, *shown], rows))
    return "\n\n".join(parts)


if __name__ == "__main__":
    run_cli(main)
