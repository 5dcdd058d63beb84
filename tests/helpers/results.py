"""Makes experiment folders with results for the tests of anal_tools: no network, no training."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import yaml

from utils.scoring.result_files import write_results

PROTOCOL = "1 clip(s) x 1 crop(s) of 4 x 32 x 32, segments sampling, scores averaged, 60 videos"
STRANGE = ["plain", "with space, comma", "<script>alert('x')</script>", "跑步", "مقطع فيديو", 'quote " & </b>']


def scores_of(labels: np.ndarray, num_class: int, *, seed: int = 0, sharpness: float = 3.0) -> np.ndarray:
    """float32 (N, K) softmax that is mostly right."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), num_class))
    logits[np.arange(len(labels)), labels] += sharpness
    values = np.exp(logits)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def make_results(
    folder: Path, names: list[str], *, videos: int = 60, seed: int = 0, sharpness: float = 2.0
) -> np.ndarray:
    """Results of `videos` videos; every class has some. Returns the labels."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(videos) % len(names)
    scores = scores_of(labels, len(names), seed=seed, sharpness=sharpness)
    paths = [f"{names[label].replace('/', '_')}/v {index:04d}" for index, label in enumerate(labels)]
    write_results(folder, paths=paths, labels=labels, scores=scores, class_names=names, protocol=PROTOCOL)
    return labels


def make_sets(folder: Path, names: list[str], *, videos: int = 60, seed: int = 0, sharpness: float = 2.0) -> np.ndarray:
    """The same of videos that show several classes or none, with sigmoid scores. Returns int8 (N, K)."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = (np.random.default_rng(1).random((videos, len(names))) < 0.3).astype(np.int8)
    logits = np.random.default_rng(seed).normal(size=labels.shape) + sharpness * (labels - 0.5)
    paths = [f"videos/v {index:04d}" for index in range(videos)]
    scores = 1 / (1 + np.exp(-logits))
    write_results(folder, paths=paths, labels=labels, scores=scores, class_names=names, protocol=PROTOCOL)
    return labels


def make_config(folder: Path, data: Path, num_class: int, **changes: object) -> None:
    """A small valid config.yaml; `changes` are keys below `common`."""
    common: dict[str, object] = {
        "model": {"type": "tsn", "backbone": "resnet18", "num_segments": 4, "num_class": num_class},
        "augmentation": {"input_size": 32},
        "batch_size": 4,
        "lr_scheduler": {"type": "COSINE", "base_lr": 0.01, "max_iter": 20},
        "train_root": str(data / "frames"),
        "train_source": str(data / "lists/train.txt"),
        "val_root": str(data / "frames"),
        "val_source": str(data / "lists/val.txt"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"common": common | changes}, allow_unicode=True))


def make_data(data: Path, paths: list[str], labels: np.ndarray, *, frames: int = 6, side: int = 32) -> None:
    """Frames and a validation list for the given videos; each video has a colour of its own."""
    (data / "lists").mkdir(parents=True)
    lines = []
    for index, (path, label) in enumerate(zip(paths, labels, strict=True)):
        (data / "frames" / path).mkdir(parents=True)
        for frame in range(1, frames + 1):
            picture = np.full((side, side, 3), (index * 37 % 255, frame * 30, 90), np.uint8)
            cv2.imwrite(str(data / "frames" / path / f"img_{frame:05d}.jpg"), picture)
        lines.append(f"{path} {frames} {label}\n")
    for name in ("train.txt", "val.txt"):
        (data / "lists" / name).write_text("".join(lines))


def make_history(folder: Path, *, steps: int = 200, best: float = 80.0) -> None:
    """A metrics.jsonl as training writes it, with its last line cut off as by a kill."""
    lines = []
    for step in range(0, steps, 10):
        values = {"loss": 2.0 - step / steps, "acc1": 50.0, "acc5": 90.0, "lr": 0.01, "time": 0.5, "data": 0.1}
        lines.append(json.dumps({"kind": "train", "step": step} | values) + "\n")
        if step and step % 50 == 0:
            acc1 = best if step == 100 else best - 10
            values = {"loss": 1.0, "acc1": acc1, "acc5": 95.0, "mean_class": acc1 - 1}
            lines.append(json.dumps({"kind": "val", "step": step, "protocol": PROTOCOL} | values) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines) + '{"kind": "tra')
