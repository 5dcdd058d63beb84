"""Writes text into pictures, and pictures into a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from datasets.videos.video import TimedFrame
from utils.errors import UserError
from utils.files import atomic_write
from utils.plots.fonts import pillow_font, readable

CLOCK = Fraction(1, 90_000)  # seconds; MPEG's, a multiple of all usual rates
MARGIN = 0.02  # share of the picture's height
LINE = 0.045  # height of a line of text, as a share of the picture's height


def write_video(path: Path, frames: Iterable[TimedFrame], fps: float) -> int:
    """Encodes uint8 RGB pictures (H, W, 3) of one size as H.264 in an MP4 file; returns how many there were.

    The file is written completely or not at all. Each picture is shown at its own time, so that the varying rate of a
    phone is kept.

    fps: average frame rate, as a hint for players.
    Raises: UserError when the file cannot be written or is not named .mp4.
    """
    if path.suffix.lower() != ".mp4":
        raise UserError(f"{path}: videos are written as .mp4")
    number = 0
    try:
        with atomic_write(path) as file, av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = CLOCK
            tick = -1
            for number, (time, picture) in enumerate(frames, 1):
                if number == 1:
                    stream.height, stream.width = (side - side % 2 for side in picture.shape[:2])
                cropped = np.ascontiguousarray(picture[: stream.height, : stream.width])
                frame = av.VideoFrame.from_ndarray(cropped, format="rgb24")
                tick = max(tick + 1, round(time / CLOCK))
                frame.pts, frame.time_base = tick, CLOCK
                container.mux(stream.encode(frame))
            if number:
                container.mux(stream.encode(None))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    return number


def write_lines(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Returns a copy of uint8 RGB (H, W, 3) with lines of text at its lower left, white on a dark band."""
    height = picture.shape[0]
    text = "\n".join(lines)
    font, margin = pillow_font(text, max(9, round(height * LINE))), max(2, round(height * MARGIN))
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    start = height - margin - (bottom - top)
    draw.rectangle((0, start - margin, right - left + 2 * margin, height), fill=(0, 0, 0, 160))
    draw.multiline_text((margin - left, start - top), text, font=font, fill=(255, 255, 255, 255))
    return np.asarray(image)


def drawn_name(name: str, label: int) -> str:
    """Returns the name of a class for a picture: its index where no font on this machine has the name's script."""
    return name if readable(name) == name else f"class {label}"
