"""Tells at which second each frame of a video appears, and which frame appears at a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.videos.scan import VideoTimes


@dataclass(frozen=True, eq=False)
class FrameClock:
    """Holds the times of a video's frames, which count from 0.

    fps: frames per second, on average.
    moments: seconds from the start of the file at which each frame appears, and at which the last one ends, float64
        (n + 1,), increasing; None where nobody has seen the file: then frame k appears at k / fps.
    """

    fps: float
    moments: np.ndarray | None = None

    def second(self, frame: int) -> float:
        """Returns when a frame appears, to a microsecond; before and behind the file the frames go on at `fps`."""
        if self.moments is None or frame < 0:
            return frame / self.fps
        there = min(frame, len(self.moments) - 1)
        return round(float(self.moments[there]) + (frame - there) / self.fps, 6)

    def frame(self, second: float) -> int:
        """Returns the frame that begins nearest to this second."""
        if self.moments is None:
            return round(second * self.fps)
        behind = max(second - float(self.moments[-1]), 0.0) * self.fps
        return round(float(np.interp(second, self.moments, np.arange(len(self.moments)))) + behind)


def clock_of(times: VideoTimes) -> FrameClock | None:
    """Returns when the frames of a video file appear; None if it has only one."""
    if len(times) < 2:
        return None
    fps = round((len(times) - 1) / float(times.seconds[-1]), 6)
    return FrameClock(fps, np.append(times.clock, times.begins + times.duration))
