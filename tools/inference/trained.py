"""From a checkpoint file to a network that is ready: its weights, its classes, and all that stands before its input.

Nothing but the file is needed: the config in it names the method and the preprocessing. Used by every tool that runs a
trained network; how frames come from a video is in _inputs.py and _windows.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.protocol import ClipProtocol, clip_protocol
from methods.base import Method
from methods.build import build_method
from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.checkpoints.load import load_into
from utils.config.file import load_config, stored_config
from utils.config.schema import Common
from utils.errors import CheckpointError, ConfigError
from utils.scoring.metrics import top_classes

Top = list[tuple[int, float]]  # classes with their scores, the best first


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode and what it was validated with.

    path: the checkpoint.
    method: the network, in evaluation mode, on `device`.
    common: the config it was trained with.
    protocol: how its evaluation turns a video into views, and their logits into scores.
    class_names: by label; None when the checkpoint does not hold them.
    """

    path: Path
    method: Method
    common: Common
    protocol: ClipProtocol
    class_names: list[str] | None
    device: torch.device

    @property
    def num_class(self) -> int:
        """K."""
        return self.common.model.num_class

    def name(self, label: int) -> str:
        """The name of a class, `class 3` when it has none."""
        named = self.class_names is not None and label < len(self.class_names)
        return self.class_names[label] if named and self.class_names else f"class {label}"

    def normalise(self, views: np.ndarray) -> Tensor:
        """(V, T, H, W, C), uint8 or float32 0..255, as `protocol.transform` cuts them -> the network's input (V, C, T, H, W).

        T and C are those of the clip's pictures first, and of the network, with stacks in its channels, then.
        """
        clips = torch.from_numpy(views).permute(0, 4, 1, 2, 3)[None]
        return self.protocol.augment.apply(clips.to(self.device))

    @torch.no_grad()
    def logits(self, views: np.ndarray, *, batch_size: int) -> Tensor:
        """(V, T, H, W, C) -> float32 (V, K) on the CPU, `batch_size` views at a time."""
        parts = [self.method(self.normalise(part)).float().cpu() for part in _chunks(views, batch_size)]
        return torch.cat(parts)

    def scores(self, videos: Sequence[np.ndarray], *, batch_size: int) -> np.ndarray:
        """Views (V, T, H, W, C) of each of N videos -> float32 (N, K), averaged over views as its evaluation does."""
        logits = self.logits(np.concatenate(videos), batch_size=batch_size).split([len(views) for views in videos])
        return torch.stack([self.score(part) for part in logits]).numpy()

    def score(self, logits: Tensor) -> Tensor:
        """Logits (V, K) of the views of a video -> its scores (K,)."""
        return self.finite(self.protocol.average_views(logits), "scores")

    def finite(self, values: Tensor, what: str) -> Tensor:
        """The same. Raises: CheckpointError when they are no numbers, as those of a training that diverged."""
        if not values.isfinite().all():
            raise CheckpointError(f"{self.path}: its {what} are not numbers (NaN); did the training diverge?")
        return values


def open_from_arguments(args: argparse.Namespace) -> Trained:
    """Loads the network that the options of tools/inference/arguments.py name."""
    return open_checkpoint(args.checkpoint, config=args.config, device=args.device, trust_pickle=args.trust_pickle)


def open_checkpoint(
    path: Path, *, config: Path | None = None, device: str = "auto", trust_pickle: bool = False
) -> Trained:
    """Builds and fills the network that a checkpoint holds.

    config: read instead of the one in the file, for weights of other projects.
    Raises: CheckpointError for a file that is damaged or does not say what it is; ConfigError for a wrong config.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no GPU here; use auto or cpu")
    file = load_checkpoint_file(path, trust_pickle=trust_pickle)
    common = _config_of(file) if config is None else load_config(config).common
    try:
        method = build_method(common.model)
        load_into(method, file)
        trained = Trained(
            path=Path(path),
            method=method.eval().requires_grad_(False).to(device),
            common=common,
            protocol=clip_protocol(common, method.clip, train=False),
            class_names=file.class_names,
            device=torch.device(device),
        )
    except ConfigError as error:
        raise ConfigError(f"{config or path}: {error}") from None
    return trained


def _config_of(file: RawCheckpoint) -> Common:
    raw = file.others.get("config")
    if raw is None:
        raise CheckpointError(
            f"{file.path}: weights alone ({file.layout}), it does not say which network; name the config that does, "
            "--config exps/<dataset>/<experiment>/config.yaml"
        )
    return stored_config(raw, file.path)


def best(scores: np.ndarray, count: int) -> Top:
    """The `count` best classes of (K,) scores."""
    return [(int(label), float(scores[label])) for label in top_classes(scores[None], k=count)[0]]


def _chunks(views: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (views[start : start + size] for start in range(0, len(views), size))
