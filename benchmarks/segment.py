"""Measures tools.segment on a CPU: memory on long videos, and speed against real time, with what it waits for.

Memory: peaks of processes that find segments in a video of three minutes and in one of three hours, both 160x120 at 25
frames a second, and that scan them for an index. Speed: a film of 340x256 at 25 frames a second, a zoom into the
Mandelbrot set, in which windows slide in steps of several lengths. Networks have random weights, which compute as long
as trained ones. Needs the program ffmpeg. `--quick` takes short films and a small network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # started as `python benchmarks/segment.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor

from benchmarks._page import table, write_section
from datasets.videos.video import TimedFrame
from methods.build import build_method
from tools.inference import Recognizer, load
from tools.inference.inputs import Input, open_input
from utils.cli import Parser, run_cli
from utils.config.schema import Common
from utils.errors import UserError
from utils.files import ROOT
from utils.processes.threads import limit_threads
from utils.run import checkpoint

FPS = 25
WINDOWS = ((2.0, 1.0), (2.0, 0.5), (1.0, 0.25))  # seconds of a window, and from one to the next
PEAK = """
import importlib, json, sys, time
from utils.system import peak_memory
began = time.perf_counter()
module = importlib.import_module(sys.argv[1])
getattr(module, sys.argv[2])(sys.argv[3] if sys.argv[2] == "scan" else sys.argv[3:])
print(json.dumps([peak_memory() / 1024**2, time.perf_counter() - began]))
"""


def make_film(path: Path, source: str, seconds: float) -> Path:
    """Makes a film of a test source of ffmpeg. Raises: UserError without that program."""
    given = ["-f", "lavfi", "-i", source, "-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast"]
    try:
        subprocess.run(["ffmpeg", "-v", "error", "-y", *given, "-pix_fmt", "yuv420p", str(path)], check=True)
    except FileNotFoundError:
        raise UserError("the benchmark needs the program ffmpeg: apt-get install ffmpeg") from None
    return path


def make_checkpoint(folder: Path, model: dict[str, Any], side: int) -> Path:
    """Writes a network with random weights as a run would leave it."""
    raw = {
        "model": {"num_class": 20, "pretrained": False, **model},
        "augmentation": {"input_size": side},
        "lr_scheduler": {"base_lr": 0.1, "max_iter": 1},
    }
    torch.manual_seed(0)
    method = build_method(Common.model_validate(raw).model)
    about = {"step": 1, "arch": method.name, "config": {"common": raw}, "class_names": None}
    folder.mkdir()
    checkpoint.save(folder, {**about, "state_dict": method.state_dict()}, best=False)
    return folder / checkpoint.NEWEST


def peak_of(*arguments: object) -> tuple[float, float]:
    """Returns the megabytes that a process of its own needed at most, and its seconds."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return float(peak), float(seconds)


def memory_rows(folder: Path, ckpt: Path, *, lengths: tuple[float, float]) -> list[list[str]]:
    """Returns a row for finding segments and a row for scanning."""
    size = f"testsrc=size=160x120:rate={FPS}"
    films = [make_film(folder / f"{seconds:g}.mp4", size, seconds) for seconds in lengths]
    commands = {
        "tools.segment --window 2 --step 1": lambda film: (
            "tools.segment", "main", ckpt, film, "--window", 2, "--step", 1, "--out", folder / "out.json"
        ),
        "scan for the index": lambda film: ("datasets.videos.scan", "scan", film),
    }  # fmt: skip
    rows = []
    for name, command in commands.items():
        (short, _), (long, seconds) = (peak_of(*command(film)) for film in films)
        speed = f"{lengths[1] / seconds:.0f}"
        rows.append([name, f"{short:.0f}", f"{long:.0f}", f"{long - short:.0f}", f"{seconds:.0f}", speed])
    return rows


class _Timed(Recognizer):
    """Adds up the seconds that the network takes."""

    seconds = 0.0

    def logits(self, views: np.ndarray, *, batch_size: int) -> Tensor:
        """Runs the network."""
        began = time.perf_counter()
        found = super().logits(views, batch_size=batch_size)
        _Timed.seconds += time.perf_counter() - began
        return found


class _TimedVideo(Input):
    """Adds up the seconds until the next frame is there."""

    def __init__(self, video: Input) -> None:
        self._video, self.seconds = video, 0.0
        self.name, self.fps, self.num_frames, self.warnings = video.name, video.fps, video.num_frames, video.warnings

    def frames(self) -> Iterator[TimedFrame]:
        frames = self._video.frames()
        while True:
            began = time.perf_counter()
            item = next(frames, None)
            self.seconds += time.perf_counter() - began
            if item is None:
                return
            yield item


def speed_rows(name: str, ckpt: Path, film: Path, seconds: float) -> list[list[str]]:
    """Returns a row for each of WINDOWS."""
    loaded = load(ckpt, device="cpu")
    timed = _Timed(*(getattr(loaded, field.name) for field in dataclasses.fields(loaded) if field.init))
    timed.timeline(film, window=1, step=1)  # the first run finds out how the network is made
    rows = []
    for window, step in WINDOWS:
        _Timed.seconds = 0.0
        began, used = time.perf_counter(), time.process_time()
        video = _TimedVideo(open_input(film))
        timed.timeline(video, window=window, step=step)
        whole, used = time.perf_counter() - began, time.process_time() - used
        network, decoding = 100 * _Timed.seconds / whole, 100 * video.seconds / whole
        shares = [f"{share:.0f} %" for share in (network, decoding, 100 - network - decoding)]
        rows.append(
            [f"{name}, {window:g} s every {step:g} s", f"{whole:.1f}", f"{seconds / whole:.2f}", f"{used:.1f}", *shares]
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both tables."""
    parser = Parser(prog="benchmarks.segment", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short films and a small network")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    args = parser.parse_args(argv)
    lengths, seconds, side = ((4.0, 40.0), 4.0, 32) if args.quick else ((180.0, 10800.0), 60.0, 224)
    threads, small = limit_threads(), {"backbone": "mobilenetv2", "kwargs": {"scale": 0.25} if args.quick else {}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        networks = {
            f"{name} MobileNetV2 8x{side}": make_checkpoint(
                folder / kind, {"type": kind, "num_segments": 8, **small}, side
            )
            for name, kind in (("TSM", "tsm"), ("TSN", "tsn"))
        }
        tiny = {"type": "tsn", "backbone": "mobilenetv2", "num_segments": 3, "kwargs": {"scale": 0.25}}
        memory = memory_rows(folder, make_checkpoint(folder / "tiny", tiny, 32), lengths=lengths)
        film = make_film(folder / "film.mp4", f"mandelbrot=size=340x256:rate={FPS}", seconds)
        rows = [row for name, ckpt in networks.items() for row in speed_rows(name, ckpt, film, seconds)]
    said = [
        "3 minutes" if not args.quick else f"{lengths[0]:g} s",
        "3 hours" if not args.quick else f"{lengths[1]:g} s",
    ]
    head = ["peak memory in MB", *said, "difference", f"s for {said[1]}", "x real time"]
    other = ["network, windows", f"s for {seconds:g} s", "x real time", "s of cores", "network", "decoding", "the rest"]
    body = f"{threads}, float32, videos of {FPS} frames a second.\n\n{table(head, memory)}\n\n{table(other, rows)}\n\n"
    body += "TSN averages the scores of frames, so each is computed once; TSM computes every window by itself. "
    body += (
        "s of cores: computing time of all threads, which other work on the machine makes hardly longer; shares are "
    )
    body += "of the time by the clock, and the rest is mostly cutting pictures to size."
    print(body)
    if args.write:
        write_section("Segments of long videos", "python -m benchmarks.segment --write", body)
    return 0


if __name__ == "__main__":
    run_cli(main)
