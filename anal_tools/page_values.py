"""Converts values for the page of a report: rounded, on one line, and as JSON that is safe inside HTML."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import yaml

SCORE_UNIT = 10000  # scores are written as multiples of 1/10000


def score_units(scores: np.ndarray) -> np.ndarray:
    """Returns scores in 0..1 as multiples of 1/SCORE_UNIT, int64."""
    units: np.ndarray = np.rint(np.asarray(scores, np.float64) * SCORE_UNIT).astype(np.int64)
    return units


def rounded(value: Any, *, digits: int = 6) -> Any:
    """Returns a value as plain numbers, lists and dicts, with floats rounded to `digits` digits and None for nan."""
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
    """Returns a config value as YAML on one line."""
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def to_json(data: dict[str, Any]) -> str:
    """Returns JSON that is safe inside a <script> element, whatever text it contains."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII, so any byte of a path survives
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
