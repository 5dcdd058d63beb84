"""Notes requests to end a run early: signals and the time limit.

The run then finishes its step and saves; several processes, which have to agree first, make two more steps.
"""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any

from utils.system import STOP_SIGNALS


class StopEarly:
    """Catches the first signal and only notes it; a second Ctrl-C ends the run at once, without a checkpoint.

    minutes: the time limit, None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.received: signal.Signals | None = None
        self._minutes = minutes
        self._began = time.monotonic()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopEarly:
        for number in STOP_SIGNALS:
            if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: somebody wants the run to outlive the terminal
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
        """Returns True when the run should end."""
        late = self._minutes is not None and time.monotonic() - self._began >= 60 * self._minutes
        return self.received is not None or late

    def __str__(self) -> str:
        return f"stopped by {self.received.name}" if self.received else "stopped by another process or time_limit"

    @property
    def exit_code(self) -> int:
        """The code that a shell reports for a program ended by this signal; 0 at the time limit, not a failure."""
        return 128 + self.received if self.received else 0
