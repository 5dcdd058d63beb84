"""Draws maps over the frames of clips, as a strip of pictures, a film or an animated GIF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from utils.errors import UserError
from utils.files import atomic_write
from utils.plots.fonts import pillow_font

COLORS = "turbo"  # a colour map of matplotlib
STRENGTH = 0.6  # share of the colour where the map is 1
SMALLEST = 128  # pixels; smaller crops are enlarged
COLUMNS = 8  # frames of a clip in a strip at most
GAP = 4
LINE = 18  # pixels of a line of text
BAR, GREY = 120, 190  # pixels of the legend's colours, and what they lie over
ENDS = "colour of a place: nothing comes from it", "the most of this clip"


@dataclass(frozen=True)
class Heat:
    """A clip with its maps.

    title: the line above the clip.
    clip: (T, H, W, 3), 0..255.
    times: seconds (T,).
    maps: (T, H, W) in 0..1, by the line above them.
    """

    title: str
    clip: np.ndarray
    times: np.ndarray
    maps: dict[str, np.ndarray]

    def pictures(self) -> list[list[np.ndarray]]:
        """Returns rows of uint8 pictures with a column per frame: the frames themselves, then each map over them."""
        frames = [_shown(frame) for frame in self.clip]
        layers = [
            [overlay(frame, heat) for frame, heat in zip(frames, maps, strict=True)] for maps in self.maps.values()
        ]
        return [frames, *layers]


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colours uint8 RGB (h, w, 3) by a map (H, W) in 0..1; the picture does not change where the map is 0."""
    fine = np.clip(cv2.resize(heat, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    color = matplotlib.colormaps[COLORS](fine)[..., :3] * 255
    share = STRENGTH * fine[..., None]
    return np.rint(picture * (1 - share) + color * share).astype(np.uint8)


def strip(rows: Sequence[Heat]) -> Image.Image:
    """Draws clips below each other: the title, the frames with their seconds, and the frames under each map.

    The last line says what the colours mean.
    """
    blocks = [*(_block(heat) for heat in rows), legend()]
    width = max(block.width for block in blocks)
    sheet = Image.new("RGB", (width, sum(block.height + GAP for block in blocks) - GAP), "white")
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height + GAP
    return sheet


def legend() -> Image.Image:
    """Draws a line that says what the colours of a map mean: a bar of them, with words at both ends."""
    bar = overlay(np.full((LINE - 2 * GAP, BAR, 3), GREY, np.uint8), np.linspace(0, 1, BAR, dtype=np.float32)[None])
    font = pillow_font("", LINE - 5)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    before, after = (round(pen.textlength(text, font=font)) for text in ENDS)
    line = Image.new("RGB", (before + BAR + after + 4 * GAP, LINE), "white")
    pen = ImageDraw.Draw(line)
    pen.text((GAP, 1), ENDS[0], font=font, fill="black")
    line.paste(Image.fromarray(bar), (before + 2 * GAP, GAP))
    pen.text((before + BAR + 3 * GAP, 1), ENDS[1], font=font, fill="black")
    return line


def side_by_side(heat: Heat) -> Iterable[np.ndarray]:
    """Yields the pictures of a film: each frame, and next to it the same frame under each map."""
    for column in zip(*heat.pictures(), strict=True):
        yield np.concatenate(column, axis=1)


def write_png(path: Path, image: Image.Image) -> None:
    """Writes a PNG file, completely or not at all. Raises: UserError."""
    with _written(path) as file:
        image.save(file, "PNG")


def write_gif(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
    """Writes uint8 RGB pictures of one size as an endless GIF, completely or not at all. Raises: UserError."""
    first, *others = [Image.fromarray(picture).quantize(256) for picture in pictures]
    with _written(path) as file:
        first.save(file, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


@contextmanager
def _written(path: Path) -> Iterator[IO[Any]]:
    try:
        with atomic_write(path) as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _block(heat: Heat) -> Image.Image:
    chosen = np.unique(np.linspace(0, len(heat.clip) - 1, COLUMNS).round().astype(int)).tolist()
    rows = [[row[index] for index in chosen] for row in heat.pictures()]
    high, wide = rows[0][0].shape[:2]
    labels = ["", *heat.maps]
    font = pillow_font(heat.title, LINE - 5)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    longest = max(pen.textlength(text, font=font) for text in (heat.title, *labels))
    width = max(len(chosen) * (wide + GAP) - GAP, int(longest) + 2 * GAP)
    block = Image.new("RGB", (width, LINE * (len(rows) + 1) + len(rows) * (high + GAP)), "white")
    pen = ImageDraw.Draw(block)
    pen.text((GAP, 1), heat.title, font=font, fill="black")
    top = LINE
    for label, pictures in zip(labels, rows, strict=True):
        pen.text((GAP, top + 1), label, font=font, fill="black")
        for column, picture in enumerate(pictures):
            left = column * (wide + GAP)
            if not label:
                pen.text((left + GAP, top + 1), f"{heat.times[chosen[column]]:.2f} s", font=font, fill="black")
            block.paste(Image.fromarray(picture), (left, top + LINE))
        top += LINE + high + GAP
    return block


def _shown(frame: np.ndarray) -> np.ndarray:
    """Returns the frame as uint8, enlarged by a whole number so that no side is below SMALLEST."""
    picture = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
    times = -(-SMALLEST // min(picture.shape[:2]))
    return np.repeat(np.repeat(picture, times, 0), times, 1) if times > 1 else picture
