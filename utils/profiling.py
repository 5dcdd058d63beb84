"""A look at where the time of a few steps goes, through torch.profiler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

SKIPPED = 3  # the first steps are spent on warming up, and would hide the others


@contextlib.contextmanager
def profiled(steps: int, folder: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Yields what to call after each step; `steps` of them, after the first few, are recorded.

    Writes folder/profile/trace.json (for chrome://tracing or Perfetto) and folder/profile/operators.txt. 0 is off.
    """
    if not steps:
        yield lambda: None
        return
    target = folder / "profile"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]

    def write(recorded: profile) -> None:
        target.mkdir(exist_ok=True)
        recorded.export_chrome_trace(str(target / "trace.json"))
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        (target / "operators.txt").write_text(recorded.key_averages().table(sort_by=by, row_limit=40))
        say(f"profile of {steps} steps: {target / 'operators.txt'}, {target / 'trace.json'}")

    plan = schedule(wait=SKIPPED - 1, warmup=1, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as recorder:
        yield recorder.step
