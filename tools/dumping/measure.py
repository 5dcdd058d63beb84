"""What one video costs to dump. Apart from _estimate.py, so that its workers start without torch."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tools.dumping.video import Job, dump_video
from utils.errors import UserError


@dataclass(frozen=True)
class Cost:
    """What was measured on one video. seconds: of one process. size: bytes of its frames."""

    frames: int
    size: int
    seconds: float


def measure_dump(job: Job) -> Cost:
    """Dumps one video and forgets it; runs in a worker. Raises UserError if it cannot be dumped."""
    began = time.perf_counter()
    answer = dump_video(job)
    if answer["status"] == "failed":
        raise UserError(answer["errors"][0])
    size = sum(file.stat().st_size for file in job.target.iterdir())
    return Cost(answer["frames"], size, time.perf_counter() - began)
