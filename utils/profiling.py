"""A look at where the time of a few steps goes, through torch.profiler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

SKIPPED = {"cpu": 3, "cuda": 20}  # the first steps are spent on warming up, and would hide the others


@contextlib.contextmanager
def profiled(steps: int, folder: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Yields what to call after each step; `steps` of them, after the first few, are recorded.

    Writes folder/profile/trace.json (for chrome://tracing or Perfetto) and folder/profile/operators.txt. Where there is
    a GPU, as many steps before those say which share of the time it had nothing to do. 0 is off.
    """
    if not steps:
        yield lambda: None
        return
    target = folder / "profile"
    has_gpu = torch.cuda.is_available()
    skipped = SKIPPED["cuda" if has_gpu else "cpu"]

    def tell_idle(recorded: profile) -> None:
        busy = [
            (event.time_range.start, event.time_range.end)
            for event in recorded.events() or []
            if event.device_type == DeviceType.CUDA and not event.is_user_annotation
        ]
        if busy:
            say(f"the GPU was idle for {idle_share(busy):.1%} of {steps} steps")

    def write(recorded: profile) -> None:
        target.mkdir(exist_ok=True)
        recorded.export_chrome_trace(str(target / "trace.json"))
        by = "self_device_time_total" if has_gpu else "self_cpu_time_total"
        (target / "operators.txt").write_text(recorded.key_averages().table(sort_by=by, row_limit=40))
        say(f"profile of {steps} steps: {target / 'operators.txt'}, {target / 'trace.json'}")

    def recorder(activities: list[ProfilerActivity], ready: Callable[[profile], None], waiting: int) -> profile:
        plan = schedule(wait=waiting - 1, warmup=1, active=steps, repeat=1)
        return profile(activities=activities, schedule=plan, on_trace_ready=ready)

    # recording what the host does slows it down, and a GPU that waits for its host would look idle
    plans = [([ProfilerActivity.CUDA], tell_idle)] if has_gpu else []
    plans.append(([ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if has_gpu else [])], write))
    with contextlib.ExitStack() as running:
        done = 0
        now = running.enter_context(recorder(*plans.pop(0), skipped))

        def step() -> None:
            nonlocal done, now
            now.step()
            done += 1
            if done == skipped + steps and plans:
                running.close()
                now = running.enter_context(recorder(*plans.pop(0), 1))

        yield step


def idle_share(busy: Iterable[tuple[float, float]]) -> float:
    """The share, 0..1, of the time from the first beginning to the last end that none of the intervals covers."""
    ordered = sorted(busy)
    first = covered_to = ordered[0][0]
    idle = 0.0
    for begin, end in ordered:
        idle += max(0.0, begin - covered_to)
        covered_to = max(covered_to, end)
    return idle / (covered_to - first) if covered_to > first else 0.0
