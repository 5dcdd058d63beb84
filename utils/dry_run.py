"""What a run would do, in words: every value in force, the effective batch, the learning rate, the size of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.config_file import ConfigFile


def explain(config: ConfigFile, defaults: Mapping[str, Any]) -> str:
    """A table of every key with its value and where it came from.

    defaults: further arguments of the method that the file may set below `common.model`, with their defaults.
    """
    rows = config.explain()
    named = {key for key, _, _ in rows}
    place = next(i for i, (key, _, _) in enumerate(rows) if not key.startswith("common.model"))
    rows[place:place] = [(key, value, "default") for key, value in defaults.items() if key not in named]
    texts = [(key, _plain(value), origin) for key, value, origin in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(2)]
    widths[1] = min(widths[1], 60)
    return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in texts)


def learning_rate_trace(rates: np.ndarray) -> str:
    """The rate at telling steps: `step:rate`, six decimals."""
    total = len(rates)
    steps = sorted({0, *(total * part // 10 for part in range(1, 10)), total - 1, int(rates.argmax())})
    return " ".join(f"{step}:{rates[step]:.6f}" for step in steps)


def summary(
    *,
    batch_size: int,
    world_size: int,
    rates: np.ndarray,
    num_train: int | None,
    parameters: int,
    multiply_adds: int,
    view_shape: Sequence[int],
    views: int,
) -> str:
    """The run in a few lines; num_train is None when the training list is missing."""
    effective = batch_size * world_size
    frames, height, width = view_shape[-3:]
    epochs = f", {len(rates) * effective / num_train:.1f} epochs of {num_train} videos" if num_train else ""
    return "\n".join(
        [
            f"effective batch: {batch_size} per process x {world_size} process(es) = {effective} videos per step",
            f"steps: {len(rates)}{epochs}",
            f"learning rate at step: {learning_rate_trace(rates)}",
            f"parameters: {parameters:,}",
            f"GMACs per view: {multiply_adds / 1e9:.3f} at {frames} x {height} x {width} (frames x height x width)",
            f"views per video at test: {views}, GMACs per video: {views * multiply_adds / 1e9:.3f}",
        ]
    )


def _plain(value: Any) -> str:
    return str(dict(value)) if isinstance(value, Mapping) else str(value)
