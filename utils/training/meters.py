"""Computes the running averages that training prints."""

from __future__ import annotations

from collections import deque


class WindowMeter:
    """Computes the weighted mean of the last `window` values; its state is saved in checkpoints."""

    def __init__(self, window: int) -> None:
        self._values: deque[tuple[float, float]] = deque(maxlen=window)

    def update(self, value: float, weight: float = 1.0) -> None:
        """Adds one value; a value with weight 0 is ignored."""
        if weight > 0:
            self._values.append((value, weight))

    @property
    def last(self) -> float:
        """The newest value, nan before the first one."""
        return self._values[-1][0] if self._values else float("nan")

    @property
    def mean(self) -> float:
        """The weighted mean over the window, nan while it is empty."""
        total = sum(weight for _, weight in self._values)
        return sum(value * weight for value, weight in self._values) / total if total else float("nan")

    def state_dict(self) -> list[list[float]]:
        """Returns the (value, weight) pairs of the window as plain lists."""
        return [list(pair) for pair in self._values]

    def load_state_dict(self, state: list[list[float]]) -> None:
        """Replaces the values of the window by those of `state_dict`."""
        self._values.clear()
        self._values.extend((value, weight) for value, weight in state)
