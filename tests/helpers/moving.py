"""Textures that move by whole pixels, so that their optical flow is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 64


def moving_texture(seed: int, *, frames: int = 6, x: int = 3, y: int = 0) -> np.ndarray:
    """uint8 (frames, HEIGHT, WIDTH, 3): a periodic texture that moves x pixels right and y down from frame to frame."""
    noise = np.random.default_rng(seed).integers(0, 256, (4 * HEIGHT, 4 * WIDTH, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    shifted = [np.roll(texture, (y * index, x * index), axis=(0, 1)) for index in range(frames)]
    return np.stack([frame[HEIGHT : 2 * HEIGHT, WIDTH : 2 * WIDTH] for frame in shifted])


def write_frames(folder: Path, frames: np.ndarray) -> None:
    """img_00001.jpg, ... as dump_frames writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, 1):
        cv2.imwrite(str(folder / f"img_{number:05d}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def make_moving(root: Path, counts: dict[str, int], *, frames: int = 7) -> None:
    """A data set of two classes, left and right: frames/<class>/<split>_<n>, lists/<split>.txt, lists/classInd.txt."""
    (root / "lists").mkdir(parents=True)
    for split, count in counts.items():
        lines = []
        for index in range(count):
            label = index % 2
            video = f"frames/{('left', 'right')[label]}/{split}_{index}"
            write_frames(root / video, moving_texture(1000 * (split == "val") + index, frames=frames, x=6 * label - 3))
            lines.append(f"{video} {frames} {label}\n")
        (root / "lists" / f"{split}.txt").write_text("".join(lines))
    (root / "lists" / "classInd.txt").write_text("0 left\n1 right\n")
