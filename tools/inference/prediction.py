"""What a network says about one video: scores of the whole, and over time for long ones. Constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets.sampling.rules import window_length
from datasets.videos.video import TimedFrame
from tools.inference.inputs import FlowInput, Input
from tools.inference.trained import Top, Trained, best
from tools.inference.windows import Cut, cut, sliding, whole
from utils.errors import FrameError

LONG = 60.0  # seconds from which a video is looked at in windows
SEGMENTS_WINDOW = 10.0  # seconds of a window for networks that take segments: the length of Kinetics clips


@dataclass(frozen=True)
class Span:
    """A window's answer; start and end in seconds, those of its first and last frame."""

    start: float
    end: float
    top: Top


@dataclass
class Prediction:
    """The answer for one video.

    top: the classes with the best scores, averaged over the timeline if there is one. timeline: empty for a short
    video, which is scored as its evaluation would. warnings: what was wrong with the file.
    """

    path: str
    seconds: float
    frames: int
    top: Top
    timeline: list[Span]
    warnings: list[str] = field(default_factory=list)

    def to_json(self, trained: Trained) -> dict[str, Any]:
        """Plain values with the names of the classes."""

        def named(top: Top) -> list[dict[str, Any]]:
            return [{"class": label, "name": trained.name(label), "score": round(score, 6)} for label, score in top]

        spans = [{"start": round(s.start, 3), "end": round(s.end, 3), "top": named(s.top)} for s in self.timeline]
        return {
            "path": self.path,
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "top": named(self.top),
            "timeline": spans,
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class Settings:
    """topk: classes told. batch_size: clips at once. window, step: seconds; None: by the video and the network."""

    topk: int = 5
    batch_size: int = 8
    window: float | None = None
    step: float | None = None


def predict(trained: Trained, video: Input, settings: Settings) -> Prediction:
    """Scores a video that has an end.

    Short ones go through the checkpoint's own test protocol; from LONG seconds on, or when a window is asked for,
    windows slide over it. Raises: FrameError when nothing of it can be decoded.
    """
    video = as_seen(trained, video)
    assert video.num_frames is not None
    prediction = _predict(trained, video, settings, video.num_frames)
    if prediction.frames != video.num_frames and not prediction.timeline:  # broken: its clips lie elsewhere then
        prediction = _predict(trained, video, settings, prediction.frames)
    return prediction


def as_seen(trained: Trained, video: Input) -> Input:
    """The video as the network's modality takes it: of optical flow, the fields between its frames."""
    return FlowInput(video, trained.protocol.transform.rule) if trained.protocol.clip.modality == "flow" else video


def spans(
    trained: Trained, video: Input, settings: Settings, frames: Iterable[TimedFrame]
) -> Iterator[tuple[Span, np.ndarray]]:
    """The timeline as it comes, each span with all its scores, float32 (K,)."""
    windows = sliding(
        trained.protocol.rule,
        trained.protocol.clip,
        num_frames=video.num_frames,
        **frame_counts(trained, video, settings),
    )
    yield from _scored(trained, cut(frames, windows, trained.protocol.transform), settings)


def frame_counts(trained: Trained, video: Input, settings: Settings) -> dict[str, int]:
    """length and step of the sliding windows in frames of this video."""
    if settings.window is not None:
        length = max(1, round(settings.window * video.fps))
    elif trained.protocol.rule.uses_stride:
        length = window_length(trained.protocol.clip.num_frames, trained.protocol.clip.frame_stride)
    else:
        length = max(1, round(SEGMENTS_WINDOW * video.fps))
    step = max(1, length // 2) if settings.step is None else max(1, round(settings.step * video.fps))
    return {"length": length, "step": step}


def _predict(trained: Trained, video: Input, settings: Settings, num_frames: int) -> Prediction:
    counted = _Counted(video.frames())
    slides = settings.window is not None or settings.step is not None or num_frames / video.fps >= LONG
    timeline: list[Span] = []
    total, number = np.zeros(trained.num_class), 0
    if slides:
        for span, scores in spans(trained, video, settings, counted):
            timeline.append(span)
            total, number = total + scores, number + 1
    else:
        window = whole(
            trained.protocol.rule, trained.protocol.clip, num_frames=num_frames, num_clips=trained.protocol.num_clips
        )
        for _, scores in _scored(trained, cut(counted, [window], trained.protocol.transform), settings):
            total, number = scores, 1
    if not counted.number:
        reason = "; ".join(video.warnings) or "it has no frame"
        raise FrameError(f"{video.name}: nothing in it can be decoded: {reason}")
    top = best(total / max(number, 1), settings.topk)
    seconds = counted.time + 1 / video.fps
    return Prediction(video.name, seconds, counted.number, top, timeline, list(video.warnings))


def _scored(trained: Trained, cuts: Iterator[Cut], settings: Settings) -> Iterator[tuple[Span, np.ndarray]]:
    """Scores windows as soon as there are `batch_size` clips of them."""
    batch: list[Cut] = []
    for item in cuts:
        batch.append(item)
        if sum(len(one.views) for one in batch) >= settings.batch_size:
            yield from _score(trained, batch, settings)
            batch = []
    if batch:
        yield from _score(trained, batch, settings)


def _score(trained: Trained, batch: list[Cut], settings: Settings) -> Iterator[tuple[Span, np.ndarray]]:
    scores = trained.scores([item.views for item in batch], batch_size=settings.batch_size)
    for item, row in zip(batch, scores, strict=True):
        yield Span(item.start, item.end, best(row, settings.topk)), row


class _Counted:
    """Passes pictures on and remembers how many there were and when the last one was shown."""

    def __init__(self, frames: Iterator[TimedFrame]) -> None:
        self._frames = frames
        self.number, self.time = 0, 0.0

    def __iter__(self) -> Iterator[TimedFrame]:
        for time, picture in self._frames:
            self.number, self.time = self.number + 1, time
            yield time, picture
