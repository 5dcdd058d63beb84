"""Reads the features of all videos of a data set once, as an evaluation sees the videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.protocol import ClipProtocol
from datasets.split import open_split
from methods.base import fold_frames, unfold_frames
from methods.probe import Probe
from utils.cli import Progress
from utils.config.schema import Common
from utils.errors import FrameError
from utils.processes.launch import Rank
from utils.training.batch import on_device


@dataclass(frozen=True)
class Features:
    """Holds the features of N videos.

    paths: as their lists have them.
    labels: int64 (N,).
    frames: float32 (N, T, D), of the frames in order.
    """

    paths: list[str]
    labels: Tensor
    frames: Tensor

    def __len__(self) -> int:
        return len(self.paths)


@torch.no_grad()
def read_features(common: Common, probe: Probe, protocol: ClipProtocol, rank: Rank) -> Features:
    """Runs the probe's backbone over the validation list of a config. Raises: FrameError for a video without frames."""
    split = open_split(common, "val", protocol)
    probe.eval()
    parts: list[tuple[np.ndarray, Tensor]] = []
    with Progress(len(split), unit="videos seen by the network") as progress:
        for loaded, batch in on_device(split.eval_batches(rank), rank.device):
            if fault := next(filter(None, batch.faults), None):
                raise FrameError(f"{fault}")
            clips = protocol.augment.apply(batch.clips, None)
            frames = unfold_frames(probe.frame_features(fold_frames(clips)), clips.shape[2])
            parts.append((loaded.indices.numpy(), frames.float().cpu()))
            progress.advance(len(batch))
    order = np.argsort(np.concatenate([indices for indices, _ in parts]))
    return Features(
        [split.path(row) for row in range(len(split))],
        torch.as_tensor(np.asarray(split.labels), dtype=torch.int64),
        torch.cat([frames for _, frames in parts])[order],
    )


@torch.no_grad()
def head_inputs(probe: Probe, frames: Tensor) -> Tensor:
    """Returns what the probe's last layer sees of features (N, T, D), float32 (N, inputs of the layer)."""
    seen: list[Tensor] = []
    handle = probe.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        probe.classify(frames)
    finally:
        handle.remove()
    return seen[0]
