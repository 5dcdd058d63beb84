"""Finds fonts that can draw a text: DejaVu, which matplotlib ships, and installed fonts for other scripts."""

from __future__ import annotations

from functools import lru_cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

DEFAULT = "DejaVu Sans"
# families of Linux, macOS and Windows with scripts that DejaVu lacks
_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Arial Unicode MS"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai"),
)


@lru_cache(maxsize=1)
def font_families() -> list[str]:
    """Returns the default family and the installed ones for other scripts."""
    present = {font.name for font in font_manager.fontManager.ttflist}
    return [DEFAULT, *(family for family in _FAMILIES if family in present)]


def readable(text: str) -> str:
    """Returns the text with `?` for every character that no installed font can draw; it would become an empty box."""
    known = frozenset[int]().union(*(_characters(family) for family in font_families()))
    return "".join(char if ord(char) in known else "?" for char in text)


def pillow_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Returns the first family that can draw the whole text, at `size` pixels; Pillow uses a single font per text."""
    wanted = {ord(char) for char in text if not char.isspace()}
    family = next((family for family in font_families() if wanted <= _characters(family)), DEFAULT)
    return _loaded(family, size)


@lru_cache
def _loaded(family: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), size)


@lru_cache
def _characters(family: str) -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(family)).get_charmap())
