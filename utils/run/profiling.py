"""Records with torch.profiler how a few training steps spend their time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

from utils.run.folder import RunFolder

SKIPPED = 3  # the first steps warm up; their times would hide those of the others


@contextlib.contextmanager
def profiled(steps: int, folder: RunFolder) -> Iterator[Callable[[], None]]:
    """Records `steps` training steps after the first few; yields a function to call after every step.

    Writes folder/profile/trace.json (for chrome://tracing or Perfetto) and folder/profile/operators.txt, and logs how
    long the GPU worked for one step; during the rest of an ordinary step the GPU is idle.

    steps: number of recorded steps; 0 records nothing.
    folder: the run's; its log gets one line.
    """
    if not steps:
        yield lambda: None
        return
    target = folder.path / "profile"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]

    def write(recorded: profile) -> None:
        target.mkdir(exist_ok=True)
        recorded.export_chrome_trace(str(target / "trace.json"))
        by = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        (target / "operators.txt").write_text(recorded.key_averages().table(sort_by=by, row_limit=40))
        busy = [
            (event.time_range.start, event.time_range.end)
            for event in recorded.events() or []
            if event.device_type == DeviceType.CUDA and not event.is_user_annotation
        ]
        # the idle share of recorded steps would mislead: recording slows down the host, and the GPU waits for it
        worked = f", the GPU worked {busy_time(busy) / 1000 / steps:.1f} ms for each" if busy else ""
        folder.log(f"profile of {steps} steps{worked}: {target / 'operators.txt'}, {target / 'trace.json'}")

    plan = schedule(wait=SKIPPED - 1, warmup=1, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as recorder:
        yield recorder.step


def busy_time(intervals: Iterable[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals (begin, end), in their unit."""
    total, counted_to = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, counted_to))
        counted_to = max(counted_to, end)
    return total
