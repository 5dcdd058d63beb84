"""Scores overlapping windows of a video with a network that averages frames: each frame is computed once.

The logits of a window are the mean of those of its frames, so windows that show the same frame share its logits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from datasets.videos.video import TimedFrame
from datasets.windows import Window, gather, sliding, window_and_step
from tools.inference.inputs import Input
from tools.inference.network import TrainedNetwork

TimedLogits = tuple[float, np.ndarray | None]
ScoredWindow = tuple[float, float, np.ndarray]  # seconds of the first and the last frame, scores (K,)


def shares_frames(network: TrainedNetwork) -> bool:
    """Tells whether windows can share frames: the network averages them, and each stands for itself, not in a stack."""
    return network.method.averages_frames and network.protocol.clip.length == 1


def shared_frames(
    network: TrainedNetwork,
    video: Input,
    frames: Iterable[TimedFrame],
    *,
    batch_size: int,
    window: float | None,
    step: float | None,
) -> Iterator[ScoredWindow]:
    """Yields the seconds of the first and the last frame of each sliding window, and its scores, float32 (K,).

    frames: those of the video. batch_size: clips in one forward pass, which runs as many frames as these would have, or
        fewer when windows with this number of clips are complete.
    """
    protocol = network.protocol
    length, distance = window_and_step(protocol, network.trained_on, video.fps, window, step)
    batch = max(1, batch_size * protocol.clip.num_frames // protocol.transform.num_crops)

    def windows() -> Iterator[Window]:
        return sliding(protocol, length=length, step=distance, num_frames=video.longest, fps=video.fps)

    logits = _logits_of_frames(network, frames, windows(), batch=batch, clips=batch_size)
    for found in gather(logits, windows(), _must_be_there):
        views = torch.from_numpy(found.views).mean(1)  # (clips * crops, T, K) -> (clips * crops, K)
        yield found.start, found.end, network.average_views(views).numpy()


def _logits_of_frames(
    network: TrainedNetwork, frames: Iterable[TimedFrame], windows: Iterator[Window], *, batch: int, clips: int
) -> Iterator[TimedLogits]:
    """Yields the time of each frame, and its logits, float32 (crops, 1, K), if a window shows it, else None.

    batch: frames that are computed together. clips: how many of windows that are complete wait for that.
    """
    crops = network.protocol.transform.num_crops
    upcoming = next(windows, None)
    ends: deque[tuple[int, int]] = deque()  # of the open windows, each with its number of clips
    waiting = 0
    shown: set[int] = set()
    times: list[tuple[float, bool]] = []
    pieces: list[np.ndarray] = []
    for index, (time, picture) in enumerate(frames):
        while upcoming is not None and upcoming.first <= index:
            shown.update(upcoming.indices.ravel().tolist())
            ends.append((upcoming.first + upcoming.length, crops * len(upcoming.indices)))
            upcoming = next(windows, None)
        times.append((time, index in shown))
        if index in shown:
            shown.remove(index)
            pieces.append(network.protocol.transform.apply([picture])[0])  # (crops, 1, H, W, C)
        while ends and ends[0][0] <= index + 1:
            waiting += ends.popleft()[1]
        if len(pieces) == batch or waiting >= clips:
            yield from _computed(network, times, pieces)
            times, pieces, waiting = [], [], 0
    yield from _computed(network, times, pieces)


def _computed(
    network: TrainedNetwork, times: list[tuple[float, bool]], pieces: list[np.ndarray]
) -> Iterator[TimedLogits]:
    """Yields each time with the logits of its frame; a frame is a clip of its own."""
    rows: Iterator[np.ndarray] = iter(())
    if pieces:
        views = np.concatenate(pieces)
        logits = network.logits(views, batch_size=len(views)).unflatten(0, (len(pieces), -1))
        rows = iter(logits[:, :, None].numpy())  # (frames, crops, 1, K)
    for time, is_shown in times:
        yield time, next(rows) if is_shown else None


def _must_be_there(logits: np.ndarray | None) -> np.ndarray:
    assert logits is not None
    return logits
