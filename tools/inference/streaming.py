"""Runs a one-directional network frame by frame: each frame once, with what it remembers of those before."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from datasets.videos.video import TimedFrame
from methods.base import fold_frames
from methods.frame_by_frame import FrameByFrame
from methods.tsn import TSN
from tools.inference.inputs import Input
from tools.inference.network import TrainedNetwork
from tools.inference.prediction import FramePrediction
from utils.errors import ConfigError

CHECKED_FRAMES = 64


def streaming_network(recognizer: TrainedNetwork, method: nn.Module) -> FrameByFrame:
    """Returns the network for one frame at a time.

    method: the recognizer's network, as it is or folded.
    Raises: ConfigError when it looks into the future or at motion.
    """
    path, modality = recognizer.path, recognizer.protocol.clip.modality
    if modality != "rgb":
        raise ConfigError(f"{path}: only RGB frames can be streamed, but this network takes {modality}")
    if not isinstance(method, TSN):
        raise ConfigError(
            f"{path}: only `shift: uni` of a TSM, or of another temporal module, can run frame by frame; this is "
            f"{recognizer.method.name}"
        )
    try:
        return FrameByFrame(method)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def stream_frames(
    recognizer: TrainedNetwork, network: FrameByFrame, video: Input, *, every: int, over: int | None, topk: int
) -> Iterator[FramePrediction]:
    """Yields a prediction after each frame. `Recognizer.stream` explains the arguments.

    Logits are averaged over the last frames, as in training, and then over the crops.
    """
    recent: deque[Tensor] = deque(maxlen=over or recognizer.protocol.clip.num_frames)
    for moment, logits, latency in stream_logits(recognizer, network, itertools.islice(video.frames(), 0, None, every)):
        recent.append(logits)
        scores = recognizer.average_views(torch.stack(list(recent)).mean(0)).numpy()
        yield FramePrediction(moment, recognizer.top(scores, topk), scores, latency)
    if not recent:
        raise video.nothing_decoded()


@torch.no_grad()
def stream_logits(
    recognizer: TrainedNetwork, network: FrameByFrame, frames: Iterable[TimedFrame]
) -> Iterator[tuple[float, Tensor, float]]:
    """Yields (seconds, logits float32 (crops, K), seconds of computing) for each frame as it comes."""
    state: tuple[Tensor, ...] = ()
    for moment, picture in frames:
        began = time.perf_counter()
        views = recognizer.normalise(recognizer.protocol.transform.apply([picture])[0])
        with torch.inference_mode():
            logits, *rest = network(views[:, :, 0], *state)
        state = tuple(rest)
        result = logits.float().cpu()
        yield moment, result, time.perf_counter() - began


@dataclass(frozen=True)
class StreamCheck:
    """The distance of the stream from the offline network.

    num_frames: frames compared.
    largest_logit: of the offline network.
    difference: largest one of any frame's logits or of their mean, divided by the largest logit if that is above 1.
    """

    num_frames: int
    largest_logit: float
    difference: float


@torch.no_grad()
def check_stream(
    recognizer: TrainedNetwork, network: FrameByFrame, video: Input | None = None, *, every: int = 1
) -> StreamCheck:
    """Compares the stream with the offline network over the first 64 frames of a video, or of noise.

    Raises: FrameError when nothing of the video can be decoded.
    """
    if video is None:
        height, width = recognizer.protocol.transform.size
        noise = np.random.default_rng(0).integers(0, 256, (CHECKED_FRAMES, height, width, 3), np.uint8)
        pictures: list[np.ndarray] = list(noise)
    else:
        pictures = [picture for _, picture in itertools.islice(video.frames(), 0, CHECKED_FRAMES * every, every)]
        if not pictures:
            raise video.nothing_decoded()
    views = np.concatenate([recognizer.protocol.transform.apply([picture])[0][:1] for picture in pictures], axis=1)
    clip = recognizer.normalise(views)  # 1, 3, T, H, W
    mean = recognizer.folded.network(clip)
    offline = network.method.frame_logits(fold_frames(clip))
    state: tuple[Tensor, ...] = ()
    rows = []
    for frame in clip.unbind(2):
        logits, *rest = network(frame, *state)
        state = tuple(rest)
        rows.append(logits)
    online = torch.cat(rows)
    frames_differ, mean_differs = (online - offline).abs().max(), (online.mean(0) - mean[0]).abs().max()
    largest = float(offline.abs().max())
    return StreamCheck(len(rows), largest, float(torch.maximum(frames_differ, mean_differs)) / max(1.0, largest))
