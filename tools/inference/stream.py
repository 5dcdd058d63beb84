"""Runs a one-directional TSM frame by frame, and compares it with the offline network."""

from __future__ import annotations

import argparse
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.videos.video import TimedFrame
from methods.base import fold_frames
from methods.tsm import TSM, StreamingTSM
from tools.inference.inputs import CameraInput, Input, is_camera, open_single
from tools.inference.trained import Top, Trained, best, open_from_arguments
from utils.errors import ConfigError, FrameError

CHECKED_FRAMES = 64
LARGEST_DIFFERENCE = 1e-5


def run(args: argparse.Namespace) -> int:
    """Streams, or checks; returns 1 when the check finds a difference."""
    video = None if args.input is None else open_stream(args.input, args.fps)
    trained = open_from_arguments(args)
    network = streaming(trained)
    if args.check:
        difference = check(trained, network, video, args.every)
        fine = difference < LARGEST_DIFFERENCE
        print(
            f"largest difference from the offline network: {difference:.1e}, {'below' if fine else 'not below'} 1e-05"
        )
        return 0 if fine else 1
    assert video is not None
    timing = Timing()
    try:
        follow(trained, network, video, args, timing)
    except KeyboardInterrupt:
        print()
    if not timing.seconds:
        raise FrameError(
            f"{video.name}: nothing in it can be decoded: {'; '.join(video.warnings) or 'it has no frame'}"
        )
    print(timing)
    return 0


def open_stream(given: str, fps: float) -> Input:
    """The one video, folder of frames or camera that is named. Raises: UserError."""
    return CameraInput(given) if is_camera(given) else open_single(given, fps=fps)


def streaming(trained: Trained) -> StreamingTSM:
    """The checkpoint's network for one frame at a time. Raises: ConfigError when it looks into the future."""
    if trained.protocol.clip.modality != "rgb":
        raise ConfigError(
            f"{trained.path}: streams of RGB frames only, but this network sees {trained.protocol.clip.modality}"
        )
    if not isinstance(trained.method, TSM):
        raise ConfigError(f"{trained.path}: only a TSM with `shift: uni` can stream, this is a {trained.method.name}")
    try:
        return StreamingTSM(trained.method)
    except ConfigError as error:
        raise ConfigError(f"{trained.path}: {error}") from None


class Timing:
    """How long frames took, from pixels to logits."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def add(self, seconds: float) -> None:
        """One more; only the latest thousand are kept."""
        self.seconds = [*self.seconds[-999:], seconds]

    def __str__(self) -> str:
        milliseconds = 1000 * np.array(self.seconds)
        middle, slow = np.percentile(milliseconds, [50, 95])
        return f"{middle:.1f} ms per frame ({1000 / middle:.0f} frames/s), 95 % below {slow:.1f} ms"


@torch.no_grad()
def answers(
    trained: Trained, network: StreamingTSM, frames: Iterator[TimedFrame], timing: Timing
) -> Iterator[tuple[float, Tensor]]:
    """(seconds, logits float32 (crops, K)) of each frame, as it comes."""
    state: tuple[Tensor, ...] = ()
    for moment, picture in frames:
        began = time.perf_counter()
        views = trained.normalise(trained.protocol.transform.apply([picture])[0])
        logits, *rest = network(views[:, :, 0], *state)
        state = tuple(rest)
        result = logits.float().cpu()
        timing.add(time.perf_counter() - began)
        yield moment, result


def follow(trained: Trained, network: StreamingTSM, video: Input, args: argparse.Namespace, timing: Timing) -> None:
    """Prints a line every so often: time, class, score, and how long a frame takes."""
    recent: deque[Tensor] = deque(maxlen=args.over or trained.protocol.clip.num_frames)
    due = 0.0
    for moment, logits in answers(trained, network, itertools.islice(video.frames(), 0, None, args.every), timing):
        recent.append(logits)
        if moment >= due:
            due = moment + args.print
            label, score = answer(trained, recent)[0]
            took = 1000 * timing.seconds[-1]
            print(f"{moment:7.1f} s  {score:.3f}  {trained.name(label)}  ({took:.1f} ms)", flush=True)


def answer(trained: Trained, recent: Sequence[Tensor] | deque[Tensor]) -> Top:
    """The best class of the frames kept: their logits averaged over time, as in training, then over crops."""
    logits = torch.stack(list(recent)).mean(0)
    scores = trained.score(logits)
    return best(scores.numpy(), 1)


@torch.no_grad()
def check(trained: Trained, network: StreamingTSM, video: Input | None, every: int = 1) -> float:
    """The largest difference of a logit from the offline network's, in units of the largest one if that is above 1.

    Over the first 64 frames of a video, or of noise.
    """
    if video is None:
        height, width = trained.protocol.transform.size
        noise = np.random.default_rng(0).integers(0, 256, (CHECKED_FRAMES, height, width, 3), np.uint8)
        pictures: list[np.ndarray] = list(noise)
    else:
        chosen = itertools.islice(video.frames(), 0, CHECKED_FRAMES * every, every)
        pictures = [picture for _, picture in chosen]
    if not pictures:
        raise FrameError(f"{video.name if video else ''}: nothing in it can be decoded")
    views = np.concatenate([trained.protocol.transform.apply([picture])[0][:1] for picture in pictures], axis=1)
    clip = trained.normalise(views)  # 1, 3, T, H, W
    mean = trained.method(clip)
    offline = network.tsm.frame_logits(fold_frames(clip))
    state: tuple[Tensor, ...] = ()
    rows = []
    for frame in clip.unbind(2):
        logits, *rest = network(frame, *state)
        state = tuple(rest)
        rows.append(logits)
    online = torch.cat(rows)
    scale = max(1.0, float(offline.abs().max()))
    frames_differ = (online - offline).abs().max()
    print(f"{len(rows)} frames, largest logit {float(offline.abs().max()):.2f}")
    return float(torch.maximum(frames_differ, (online.mean(0) - mean[0]).abs().max())) / scale
