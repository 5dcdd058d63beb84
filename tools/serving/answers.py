"""What the page of `tools.predict --serve` is told about an upload: whether it is a video, and scores over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from tools.inference.inputs import VideoInput
from tools.inference.prediction import LONG, Settings, predict, spans
from tools.inference.trained import Trained, best
from utils.errors import UserError

# FFmpeg's demuxers for VIDEO_SUFFIXES; it knows others, of playlists, that would open further files and addresses
FORMATS = "mov,matroska,avi,flv,asf,gif,mpegts,mpeg,mpegvideo,m4v,ogg,yuv4mpegpipe"
MOST_PIXELS = 8192 * 4320  # of a frame; a small file may claim any size
PARTS = 5  # windows, without overlap, of a short video for networks that take segments
LINES = 8  # classes that the chart may show
Event = dict[str, Any]


def check_upload(path: Path) -> None:
    """Looks at the content, not at a name. Raises: UserError that says why this is no video for us."""
    try:
        with av.open(str(path), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise UserError("it has no video stream")
            context = container.streams.video[0].codec_context
            if context.width * context.height > MOST_PIXELS:
                raise UserError(f"its frames of {context.width} x {context.height} pixels are too large")
    except (av.FFmpegError, ValueError):
        raise UserError("it is not a video, or of a kind that cannot be read") from None


def answer(trained: Trained, path: Path, settings: Settings) -> Iterator[Event]:
    """`progress` events while windows slide over the video, then one `answer`.

    The classes of a short video are those of its evaluation, of a long one the mean over its windows.
    Raises: UserError.
    """
    video = VideoInput(path)
    assert video.num_frames is not None
    length = video.num_frames / video.fps
    asked = settings.window is not None or settings.step is not None
    slides = asked or length >= LONG
    whole = None if slides else predict(trained, video, settings)
    if not asked:
        settings = replace(settings, window=_window(trained, length))
    video = VideoInput(path)
    starts, ends, rows = [], [], []
    for span, scores in spans(trained, video, settings, video.frames()):
        starts.append(round(span.start, 3))
        ends.append(round(span.end, 3))
        rows.append(scores.astype(np.float16))  # three hours of 400 classes stay below 10 MB
        yield {"event": "progress", "seconds": span.end, "of": length}
    if not rows:
        raise UserError(f"nothing in it can be decoded: {'; '.join(video.warnings) or 'it has no frame'}")
    table = np.stack(rows)
    mean = table.mean(axis=0, dtype=np.float64)
    top = best(mean, settings.topk) if whole is None else whole.top
    yield {
        "event": "answer",
        "seconds": round(ends[-1] + 1 / video.fps, 3),
        "top": [{"class": label, "name": trained.name(label), "score": round(score, 6)} for label, score in top],
        "basis": f"mean over {len(rows)} windows" if whole is None else "as its evaluation would score it",
        "windows": {"start": starts, "end": ends, "best": [trained.name(int(row.argmax())) for row in table]},
        "lines": [
            {"name": trained.name(label), "scores": table[:, label].astype(float).round(4).tolist()}
            for label in _leading(table, mean)
        ],
        "warnings": list(dict.fromkeys([*(whole.warnings if whole else []), *video.warnings])),
    }


def _window(trained: Trained, length: float) -> float | None:
    """Seconds of a window where nobody asked: None, the default, unless it would make one window of a short video."""
    return None if trained.protocol.rule.uses_stride or length >= LONG else min(10.0, max(1.0, length / PARTS))


def _leading(table: np.ndarray, mean: np.ndarray) -> list[int]:
    """The classes that the chart shows: the best on the whole, and those that are the best of most windows."""
    winners, counts = np.unique(table.argmax(axis=1), return_counts=True)
    often = [int(winners[index]) for index in np.argsort(-counts, kind="stable")]
    overall = [label for label, _ in best(mean, LINES)]
    return list(dict.fromkeys([*overall[: LINES // 2], *often, *overall]))[:LINES]
