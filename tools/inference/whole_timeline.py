"""Scores the moments of a video with a network that sees the features of the whole video."""

from __future__ import annotations

from typing import Any

import torch

from datasets.videos.video import Counted
from datasets.whole_videos import features_of
from methods.segment import Segment
from tools.inference.inputs import Input
from tools.inference.network import TrainedNetwork
from tools.inference.prediction import Timeline
from utils.errors import UserError
from utils.scoring.task import POINTS


def whole_timeline(network: TrainedNetwork, source: Input, *, window: float | None, step: float | None) -> Timeline:
    """Returns the scores of the windows of a whole video, without those of the background, in one pass over it.

    Raises: UserError for other windows than those of the training.
    """
    clip, method = network.protocol.clip, network.method
    for name, value, own in (("window", window, clip.window), ("step", step, clip.step)):
        if value not in (None, own):
            raise UserError(
                f"{name}: {network.path} was trained with {own:g} s and can use nothing else; leave the option out"
            )
    assert isinstance(method, Segment) and source.num_frames is not None
    frames = Counted(source.frames())
    found = features_of(
        method,
        network.protocol,
        frames,
        name=source.name,
        num_frames=source.num_frames,
        fps=source.fps,
        device=network.device,
    )
    with torch.inference_mode():
        said = method.label(torch.from_numpy(found.features)[None].to(network.device))[0]
    task: Any = network.protocol.task
    scores, answers = task.read(said, found)
    network.finite(torch.from_numpy(scores), "scores")
    return Timeline(
        times=found.times,
        scores=scores[:, :-1],
        answers=answers if task is POINTS else None,
        seconds=found.seconds,
        num_frames=frames.number,
        fps=source.fps,
        windows=f"windows of {clip.window:g} s every {clip.step:g} s, read together",
        warnings=list(source.warnings),
    )
