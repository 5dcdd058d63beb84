"""Tiny frames: a bright blob that moves along a known path, so a test can tell which frame it was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = (48, 64)  # height, width


def blob_frame(video: int, frame: int) -> np.ndarray:
    """uint8 (48, 64, 3) RGB: `video` sets the grey level, `frame` moves a red blob along a line."""
    image = np.full((*SIZE, 3), 40 + 20 * video, np.uint8)
    cv2.circle(image, (8 + 4 * (frame % 12), 8 + 2 * (frame % 16)), 4, (255, 0, 0), -1)
    return image


def encode(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_video(folder: Path, video: int, count: int, template: str = "img_{:05d}.jpg", first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(count):
        name = template.format(first + frame)
        (folder / name).write_bytes(encode(blob_frame(video, frame), Path(name).suffix))


@pytest.fixture
def tiny_frames(tmp_path: Path) -> Callable[..., Path]:
    """Makes frames of videos v0, v1, ... and their list; returns the list file. Labels are video % 2."""

    def make(*counts: int, template: str = "img_{:05d}.jpg", first: int = 1) -> Path:
        lines = []
        for video, count in enumerate(counts):
            write_video(tmp_path / "frames" / f"v{video}", video, count, template, first)
            lines.append(f"v{video} {count} {video % 2}\n")
        (tmp_path / "lists").mkdir(exist_ok=True)
        source = tmp_path / "lists" / "train.txt"
        source.write_text("".join(lines))
        return source

    return make
