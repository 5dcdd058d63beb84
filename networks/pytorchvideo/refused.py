"""Refuses the parts of PyTorchVideo that score boxes around people, by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from utils.errors import UserError

SCORES_BOXES = "scores boxes around people, and networks here classify whole clips"


def detector(name: str, instead: str) -> Callable[..., NoReturn]:
    """Returns a function of this name that raises UserError and says what classifies whole clips instead."""

    def refuse(*args: Any, **arguments: Any) -> NoReturn:
        raise UserError(f"{name}: {SCORES_BOXES}: take {instead}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Refuses {name}, which scores boxes. Raises: UserError."
    return refuse
