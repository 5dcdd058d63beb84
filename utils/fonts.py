"""Fonts for pictures with names in them: which are there, and what they can draw."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

DEFAULT = "DejaVu Sans"  # matplotlib brings it along
# families that hold scripts DejaVu lacks, as Linux, macOS and Windows ship them
_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Arial Unicode MS"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
)


@lru_cache(maxsize=1)
def families() -> list[str]:
    """The default family and those that this machine has for further scripts, as matplotlib's `font.family` takes."""
    present = {font.name for font in font_manager.fontManager.ttflist}
    return [DEFAULT, *(family for family in _FAMILIES if family in present)]


def readable(text: str) -> str:
    """The text with what no installed font can draw as `?`; matplotlib would warn and draw boxes."""
    known = _characters()
    return "".join(char if ord(char) in known else "?" for char in text)


@lru_cache(maxsize=8)
def picture_font(size: int) -> ImageFont.FreeTypeFont:
    """The default font for Pillow, `size` pixels high."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    known: set[int] = set()
    for family in families():
        known.update(FT2Font(font_manager.findfont(family)).get_charmap())
    return frozenset(known)
