"""Draws tables and bars with rich: its own codes reach the terminal, those in the texts that it is given do not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from utils.plain_text import plain_stream, printable


class TextConsole(Console):
    """Prints to the standard output or error, and reads neither markup nor control characters in what it is given."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(
            file=plain_stream(sys.stderr if stderr else sys.stdout),
            markup=False,
            highlight=False,
            emoji=False,
            **options,
        )

    def on_broken_pipe(self) -> None:
        """Raises BrokenPipeError, which rich would turn into exit code 1: `utils.cli` decides how a command ends."""
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns the text of a cell, whose width is that of what is shown."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the parts of what is drawn."""
        for part in super().render(renderable, options):
            yield part if part.is_control else Segment(printable(part.text), part.style)
