"""Measures what the feature cache of `type: probe` saves: seconds of each epoch with it and without.

Linear probes of EfficientNet-Lite0, the middle frames of 8 segments at 224x224, and of X3D-S, the middle clip of 13
frames at 112x112, train on made-up JPEG frames of 340x256 from the disk, with random weights, which compute as long as
trained ones. `--quick` runs small networks. An epoch's seconds are the sum of its steps, without validation.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # started as `python benchmarks/features.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

import main as framework
from benchmarks._page import table, write_section
from benchmarks._workload import VIDEOS, make_frames, write_config
from utils.cli import Parser, run_cli

BATCH = 8
EPOCHS = 3
FRAMES, CLIP = {"num_segments": 8}, {"clip_len": 13, "frame_stride": 2}


class Network(NamedTuple):
    """A frozen network, and what it is shown of a video."""

    backbone: str
    shown: dict[str, int]
    side: int

    @property
    def sampling(self) -> str:
        """The rule that shows the same in every epoch."""
        return "middle" if self.shown is FRAMES else "middle_clip"

    def __str__(self) -> str:
        return f"{self.backbone}, {next(iter(self.shown.values()))} x {self.side} x {self.side}"


NETWORKS = [Network("timm/efficientnet_lite0", FRAMES, 224), Network("x3d_s", CLIP, 112)]
SMALL = [Network("mobilenetv2", FRAMES, 64), Network("x3d_xs", CLIP, 56)]


def experiment(folder: Path, source: Path, network: Network, cache: Path | None) -> Path:
    """Writes the config.yaml of one run and returns its path."""
    common: dict[str, Any] = {
        "model": {"type": "probe", "backbone": network.backbone, **network.shown, "num_class": 4},
        "augmentation": {"input_size": network.side, "crop": "test", "flip": False},
        "data": {"sampling": network.sampling, "feature_cache": None if cache is None else str(cache)},
        "workers": 1,
        "batch_size": BATCH,
        "lr_scheduler": {"type": "COSINE", "base_lr": 1e-3, "epochs": EPOCHS},
        "val_freq": 1_000_000,
        "ckpt_freq": 1_000_000,
        "print_freq": 1,
    }
    return write_config(folder, source, **common)


def seconds_of_epochs(config: Path) -> list[float]:
    """Trains and returns the seconds of each epoch."""
    with contextlib.redirect_stdout(io.StringIO()):
        framework.main(["--config", str(config)])
    lines = map(json.loads, (config.parent / "metrics.jsonl").read_text().splitlines())
    steps = np.array([line["time"] for line in lines if line["kind"] == "train"])
    return steps.reshape(EPOCHS, -1).sum(1).tolist()


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = Parser(prog="benchmarks.features", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small networks and small frames")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = make_frames(root / "frames")
        rows: list[list[str]] = []
        for number, network in enumerate(SMALL if args.quick else NETWORKS):
            cache = root / f"cache{number}"
            for name, kept in {"no cache": None, "an empty cache": cache, "the same cache again": cache}.items():
                run = root / f"run{len(rows)}"
                found = seconds_of_epochs(experiment(run, source, network, kept))
                rows.append(
                    [str(network), name, *(f"{seconds:.2f}" for seconds in found), f"{found[0] / found[1]:.1f}"]
                )
    head = [
        "frozen network",
        "probe",
        *(f"s in epoch {number + 1}" for number in range(EPOCHS)),
        "first / second epoch",
    ]
    body = f"{VIDEOS} videos, batches of {BATCH}, one worker.\n\n{table(head, rows)}"
    print(body)
    if args.write:
        write_section("Features of a frozen network", "python -m benchmarks.features --write", body)
    return 0


if __name__ == "__main__":
    run_cli(main)
