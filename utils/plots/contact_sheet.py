"""Draws clips as one picture: a row per clip, with its frames from left to right and a caption above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from utils.plots.fonts import pillow_font, readable

CAPTION = 16  # pixels above a row
GAP = 2


def sheet(rows: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """Draws one row per clip, one below the other.

    rows: pairs of a caption and frames, uint8 (T, H, W, 3); T, H and W are the same in all rows.
    """
    frames, height, width = rows[0][1].shape[:3]
    tall = height + CAPTION + GAP
    texts = [readable(caption) for caption, _ in rows]
    fonts = [pillow_font(text, CAPTION - 5) for text in texts]
    lengths = [4 + round(font.getlength(text)) for font, text in zip(fonts, texts, strict=True)]
    wide = max(frames * (width + GAP), *lengths)
    image = Image.new("RGB", (wide, len(rows) * tall), "white")
    pen = ImageDraw.Draw(image)
    for row, (text, font, (_, clip)) in enumerate(zip(texts, fonts, rows, strict=True)):
        pen.text((2, row * tall + 1), text, fill="black", font=font)
        for column, frame in enumerate(clip):
            image.paste(Image.fromarray(frame), (column * (width + GAP), row * tall + CAPTION))
    return image
