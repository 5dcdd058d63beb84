"""A look at where the time of a few steps goes, through torch.profiler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

from utils.run.folder import RunFolder

SKIPPED = 3  # the first steps are spent on warming up, and would hide the others


@contextlib.contextmanager
def profiled(steps: int, folder: RunFolder) -> Iterator[Callable[[], None]]:
    """Yields what to call after each step; `steps` of them, after the first few, are recorded.

    Writes folder/profile/trace.json (for chrome://tracing or Perfetto) and folder/profile/operators.txt, and says how
    long a GPU worked for one step: by how much steps of an ordinary run take longer, the GPU is idle. 0 is off.
    """
    if not steps:
        yield lambda: None
        return
    target = folder.folder / "profile"
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
        # not the idle share of these steps: recording slows the host down, and the GPU waits for it
        worked = f", the GPU worked {covered(busy) / 1000 / steps:.1f} ms for each" if busy else ""
        folder.log(f"profile of {steps} steps{worked}: {target / 'operators.txt'}, {target / 'trace.json'}")

    plan = schedule(wait=SKIPPED - 1, warmup=1, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as recorder:
        yield recorder.step


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the intervals (beginning, end) lasts, in their unit."""
    total, covered_to = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, covered_to))
        covered_to = max(covered_to, end)
    return total
