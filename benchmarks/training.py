"""Measures whole training runs of main.py on a GPU: clips/s, how long a step waits for its batch, and the idle time.

The runs train TSM-R50 8x224 in batches of 32 with the original project's full augmentation. Frames of 340x256 come from
the disk and are decoded in the workers or on the GPU, with many workers and with few. Idle is the share of a step in
which no kernel and no copy runs: torch.profiler (`--profile`) gives the GPU's working time, a run without it the time
of a step. `--write` puts the table into docs/benchmarks.md; `--quick` runs a small network, also on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # started as `python benchmarks/training.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch

import main as framework
from benchmarks._page import table, write_section
from benchmarks._readers import COLORJITTER, ERASING, MIX_UP
from benchmarks._workload import VIDEOS, make_frames, write_config
from utils.cli import Parser, run_cli
from utils.system import cores

HEAD = ["decoded on", "workers", "clips/s", "ms per step", "of it waiting", "GPU works", "GPU idle"]
_WORKED = re.compile(r"the GPU worked ([0-9.]+) ms")


class Size(NamedTuple):
    """The run that is timed: TSM on `backbone` with 8 frames of side x side.

    print_freq: steps between two lines of the log; printing waits for the device.
    """

    backbone: str
    side: int
    batch: int
    print_freq: int


FULL, QUICK = Size("resnet50", 224, 32, 10), Size("resnet18", 64, 8, 2)


def experiment(folder: Path, source: Path, size: Size, *, decode: str, workers: int, steps: int) -> Path:
    """Writes the config.yaml of one run and returns its path."""
    common: dict[str, Any] = {
        "model": {
            "type": "tsm",
            "backbone": size.backbone,
            "num_segments": 8,
            "num_class": 4,
        },
        "augmentation": {
            "input_size": size.side,
            "colorjitter": COLORJITTER,
            "random_erasing": ERASING,
            "mix_up": MIX_UP,
        },
        "data": {"decode": decode},
        "workers": workers,
        "batch_size": size.batch,
        "amp": "auto",
        "channels_last": True,
        "lr_scheduler": {"type": "COSINE", "base_lr": 1e-3, "warmup_steps": 1, "warmup_lr": 1e-3, "max_iter": steps},
        "val_freq": 10 * steps,
        "ckpt_freq": 10 * steps,
        "print_freq": size.print_freq,
    }
    return write_config(folder, source, **common)


def measure(config: Path, *, profile: int) -> tuple[float, float, float | None]:
    """Returns milliseconds of a step, of its wait for the batch, and of the GPU's work (None without `profile`).

    The first two are medians without the first third of the steps.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        framework.main(["--config", str(config), "--profile", str(profile)])
    lines = map(json.loads, (config.parent / "metrics.jsonl").read_text().splitlines())
    found = np.array([[line["time"], line["data"]] for line in lines if line["kind"] == "train"])
    steps, waits = np.median(found[len(found) // 3 :], axis=0)
    worked = _WORKED.search((config.parent / "log.txt").read_text())
    return 1000 * float(steps), 1000 * float(waits), float(worked[1]) if worked else None


def row(decode: str, workers: int, batch: int, *, step: float, wait: float, worked: float | None) -> list[str]:
    """Returns one row of the table; times are in milliseconds."""
    on_gpu = ["", ""] if worked is None else [f"{worked:.1f}", f"{max(0.0, 1 - worked / step):.1%}"]
    return [decode, str(workers), f"{1000 * batch / step:.0f}", f"{step:.1f}", f"{wait:.1f}", *on_gpu]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=90, help="steps of each run; the first third does not count (default 90)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        nargs="*",
        default=[],
        metavar="N",
        help="numbers of workers (default: all cores, and two)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="train a ResNet-18 at 64x64 in batches of 8 for a few steps"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    size, steps = (QUICK, 12) if args.quick else (FULL, args.steps)
    on_gpu = torch.cuda.is_available()
    many = cores()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = make_frames(Path(folder) / "frames")
        for decode in ("cpu", "cuda") if on_gpu else ("cpu",):
            for workers in args.workers or sorted({many, 2}, reverse=True):
                where = Path(folder) / f"{decode} {workers}"
                timed = experiment(where / "timed", source, size, decode=decode, workers=workers, steps=steps)
                step, wait, _ = measure(timed, profile=0)
                looked = experiment(where / "profiled", source, size, decode=decode, workers=workers, steps=15)
                worked = measure(looked, profile=8)[2] if on_gpu else None
                rows.append(row(decode, workers, size.batch, step=step, wait=wait, worked=worked))
                print(" | ".join(rows[-1]), flush=True)
    where_run = torch.cuda.get_device_name() if on_gpu else "CPU"
    what = f"TSM over {size.backbone}, 8x{size.side}, batches of {size.batch}"
    body = f"{where_run}, {what}, all augmentation, {VIDEOS} videos, medians over {steps - steps // 3} steps.\n\n"
    body += table(HEAD, rows)
    print("\n" + body)
    if args.write:
        write_section("Whole runs", "python -m benchmarks.training" + " --quick" * args.quick, body)
    return 0


if __name__ == "__main__":
    run_cli(main)
