"""Signals that ask a run to end: it finishes its step, writes a checkpoint and goes."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

# SIGINT: Ctrl-C. SIGTERM: the cluster takes the node. SIGUSR1: Slurm's advance signal before the time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopOnSignal:
    """While open, the first signal is only noted; a second Ctrl-C ends at once, without a checkpoint."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number)

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None

    def __str__(self) -> str:
        return f"stopped by {self.received.name}" if self.received else "not stopped"

    @property
    def exit_code(self) -> int:
        """What a shell reports for a program that this signal ended; 0 without one."""
        return 128 + self.received if self.received else 0
