from __future__ import annotations

import os
import signal

import pytest

from utils.run.stop import StopEarly


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_every_signal_that_asks_for_an_end_lets_the_run_save(name: str) -> None:
    number = signal.Signals[name]
    with StopEarly() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop() and str(stop) == f"stopped by {name}" and stop.exit_code == 128 + number


def test_nohup_keeps_a_run_alive_when_its_terminal_is_closed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopEarly() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
