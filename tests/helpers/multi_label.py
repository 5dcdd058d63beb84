"""The tiny experiment with sets of classes: a dark video shows one class, a bright one two, some show none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.experiment import FRAMES, make_experiment, write_frames

NAMES = ["night", "day", "sun"]
SETS = {0: "0", 1: "1;2"}
MODEL = {"type": "tsm", "backbone": "mobilenetv2", "num_segments": 2, "num_class": 3, "kwargs": {"scale": 0.25}}


def make_multi_label(root: Path, **common: Any) -> Path:
    """As make_experiment; every list ends with a grey video that shows nothing."""
    config = make_experiment(root, **{"model": MODEL, "multi_label": True} | common)
    for name in ("train", "val"):
        source = root / "lists" / f"{name}.txt"
        lines = [line.rsplit(" ", 1) for line in source.read_text().splitlines()]
        text = "".join(f"{line} {SETS[int(label)]}\n" for line, label in lines)
        write_frames(root / "frames" / f"grey {name}", 0, seed=7)
        source.write_text(f"{text}grey {name} {FRAMES} -\n")
    (root / "lists" / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)))
    return config
