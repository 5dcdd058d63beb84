"""Builds HTML pages of one file: from the parts in report_page/, data, and the charts library plotly.js."""

from __future__ import annotations

import html
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anal_tools.page_values import to_json
from utils.errors import UserError

PARTS = Path(__file__).with_name("report_page")
COMMON = ("core", "table", "charts")  # scripts of every page, in this order


def build_page(title: str, data: dict[str, Any], scripts: Sequence[str], *, plays: bool = False) -> str:
    """Returns a page with these scripts of report_page/, in their order, that draws the data.

    plays: whether it may play the videos of its own folder and of others on the same machine.
    """
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _part("style.css"),
        "DATA": to_json(data),
        "MEDIA": "media-src 'self' file:; " if plays else "",
        "CHARTS": plotly_script() if "charts" in scripts else "",
        "SCRIPT": "\n".join(_part(f"{name}.js") for name in scripts),
    }
    pieces = _part("page.html").split("@")  # every second piece is a name; the parts are not searched for "@"
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def plotly_script() -> str:
    """Returns the charts library plotly.js (MIT licence), which the Python package plotly contains."""
    try:
        script = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
        text = script.read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise UserError("the charts need plotly: pip install -r requirements.txt") from None
    return text.replace("</script", "<\\/script")
