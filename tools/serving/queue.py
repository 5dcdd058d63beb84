"""A line in front of something that only one thread may use at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Queue:
    """First come, first served."""

    def __init__(self) -> None:
        self._tickets: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def ticket(self) -> Iterator[Callable[[float], int]]:
        """Takes a place; what it gives waits up to some seconds for a change and says how many are before us."""
        mine = object()
        with self._changed:
            self._tickets.append(mine)

        def ahead(seconds: float) -> int:
            with self._changed:
                if self._tickets[0] is not mine:
                    self._changed.wait(seconds)
                return self._tickets.index(mine)

        try:
            yield ahead
        finally:
            with self._changed:
                self._tickets.remove(mine)
                self._changed.notify_all()
