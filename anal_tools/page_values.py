"""How values travel into the report's page: rounded, on one line, as JSON that no text can break out of."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import yaml

SCORE_UNIT = 10000  # scores travel as whole numbers of 1/10000


def score_units(scores: np.ndarray) -> np.ndarray:
    """int64, in units of 1/SCORE_UNIT, of scores in 0..1."""
    units: np.ndarray = np.rint(np.asarray(scores, np.float64) * SCORE_UNIT).astype(np.int64)
    return units


def rounded(value: Any, *, digits: int = 6) -> Any:
    """The same as plain numbers and lists: floats cut to `digits` significant digits, None for nan."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item, digits=digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits=digits) for item in value]
    return value


def config_text(value: Any) -> str:
    """A config value on one line, as YAML has it."""
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def to_json(data: dict[str, Any]) -> str:
    """JSON that can stand inside a <script> element whatever text it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: any byte of a path survives
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
