"""A tiny experiment on the disk: two classes of eight-frame videos that a small network tells apart in a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

import main
from utils.run import checkpoint

FRAMES = 8
CLASSES = ["dark", "bright"]
MODEL: dict[str, Any] = {
    "type": "tsm", "backbone": "mobilenetv2", "num_segments": 2, "num_class": 2, "dropout": 0.5,
    "kwargs": {"scale": 0.25},
}  # fmt: skip


def write_frames(folder: Path, label: int, seed: int) -> None:
    """FRAMES noisy JPEGs of 40 x 56 pixels, brighter for label 1, with img_%05d.jpg names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(1, FRAMES + 1):
        frame = rng.integers(0, 60, (40, 56, 3), dtype=np.uint8) + np.uint8(120 * label + number)
        cv2.imwrite(str(folder / f"img_{number:05d}.jpg"), frame)


def make_experiment(root: Path, *, train: int = 12, val: int = 6, **common: Any) -> Path:
    """Writes frames, lists and config.yaml below `root`; returns the config. Keyword arguments change top-level keys.

    No pictures are drawn, as matplotlib takes longer than the training; `watch={}` draws those of a real run.
    """
    for name, count in (("train", train), ("val", val)):
        lines = []
        for index in range(count):
            label = index % 2
            path = f"{CLASSES[label]}/{name} {index}"  # a space in the path
            write_frames(root / "frames" / path, label, seed=1000 * (name == "val") + index)
            lines.append(f"{path} {FRAMES} {label}\n")
        (root / "lists").mkdir(exist_ok=True)
        (root / "lists" / f"{name}.txt").write_text("".join(lines))
    (root / "lists" / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(CLASSES)))
    config: dict[str, Any] = {
        "model": MODEL,
        "augmentation": {
            "input_size": 32,
            "colorjitter": [0.2, 0.2, 0.2, 0.1],
            "random_erasing": [0.5, 0.02, 0.4, 0.3],
            "mix_up": 0.2,
        },
        "workers": 0,
        "batch_size": 4,
        "lr_scheduler": {"type": "COSINE", "base_lr": 0.01, "warmup_steps": 1, "warmup_lr": 0.02, "max_iter": 9},
        "label_smooth": 0.1,
        "no_wd": True,
        "nesterov": True,
        "val_freq": 4,
        "print_freq": 2,
        "watch": {"clips": 0, "confusion": False},
        "train_root": str(root / "frames"),
        "train_source": str(root / "lists" / "train.txt"),
        "val_root": str(root / "frames"),
        "val_source": str(root / "lists" / "val.txt"),
    } | common
    folder = root / "exp"
    folder.mkdir(parents=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"common": config}))
    return path


def run(config: Path, *arguments: str) -> int:
    """main.py in this process."""
    return main.main(["--config", str(config), *arguments])


def weights(config: Path, name: str = checkpoint.NEWEST) -> dict[str, np.ndarray]:
    """Every entry of a checkpoint's state dict."""
    state = checkpoint.load(config.parent / name)["state_dict"]
    return {key: value.numpy() for key, value in state.items()}


def same_weights(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Equal to the bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
