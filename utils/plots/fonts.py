"""Which fonts can draw a text: DejaVu, which matplotlib brings along, and what else is installed for other scripts."""

from __future__ import annotations

from functools import lru_cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

DEFAULT = "DejaVu Sans"
# families that hold scripts DejaVu lacks, as Linux, macOS and Windows ship them
_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Arial Unicode MS"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
)


@lru_cache(maxsize=1)
def families() -> list[str]:
    """The default family and those installed here that hold other scripts."""
    present = {font.name for font in font_manager.fontManager.ttflist}
    return [DEFAULT, *(family for family in _FAMILIES if family in present)]


def readable(text: str) -> str:
    """The text with what no installed font can draw as `?`; else there would be warnings and boxes."""
    known = frozenset[int]().union(*(_characters(family) for family in families()))
    return "".join(char if ord(char) in known else "?" for char in text)


def pillow_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The first family that can draw all of a text, at so many pixels; Pillow draws a text with one font."""
    wanted = {ord(char) for char in text if not char.isspace()}
    family = next((family for family in families() if wanted <= _characters(family)), DEFAULT)
    return _loaded(family, size)


@lru_cache
def _loaded(family: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), size)


@lru_cache
def _characters(family: str) -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(family)).get_charmap())
