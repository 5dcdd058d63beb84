"""Finds the backbone that tools/start.py uses: that it exists, what it wants to see, and where its weights are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from networks.checkpoints.load import known_image_weights
from networks.image.backbones import TIMM, architecture, image_backbone
from tools.starting.configs import Network
from tools.starting.video_network import find_video_network, is_video_network
from utils.errors import CheckpointError, UserError
from utils.published.files import checkpoint_file, fetch
from utils.published.libraries import published_statistics
from utils.published.registry import entry
from utils.transforms.presets import IMAGENET_MEAN, IMAGENET_STD

SIZE, RESIZE = 224, 256
LARGEST = 256  # pixels; the sizes of larger inputs are for GPUs, and their networks take smaller ones too


def find_network(backbone: str, weights: str | None) -> tuple[Network, Path]:
    """Returns what is known about a backbone, and the file of its weights, which is fetched if it is not here.

    Raises: UserError for an unknown name, and in one line for weights that are neither here nor can be fetched.
    """
    if is_video_network(backbone):
        return find_video_network(backbone, weights)
    try:
        with torch.device("meta"):
            image_backbone(backbone)
    except ValueError as error:
        if "/" in backbone and not backbone.startswith(TIMM):
            entry(backbone)  # raises, with the nearest names of published weights
        raise UserError(
            f"--{error}" if str(error).startswith("backbone") else f"--backbone {backbone}: {error}"
        ) from None
    file = _published(backbone) if weights is None else checkpoint_file(weights)
    if not file.is_file():
        raise UserError(f"--weights {weights}: no such file, and no name of tools.weights")
    size, resize = SIZE, RESIZE
    mean, std = published_statistics(backbone) or (IMAGENET_MEAN, IMAGENET_STD)
    if backbone.startswith(TIMM):
        about = _about(backbone)
        if about.input_size[-1] <= LARGEST:
            size = about.input_size[-1]
            resize = round(size / about.crop_pct)
    pixels = {"input_size": size, "test_resize": resize, "mean": list(mean), "std": list(std)}
    return Network(backbone, True if weights is None else weights, pixels), file


def _published(backbone: str) -> Path:
    """Returns the file that `pretrained: True` will take, and fetches it if it is not here."""
    found = known_image_weights(architecture(backbone))
    if isinstance(found, Path):
        return found
    if found is None:
        raise UserError(f"--backbone {backbone}: nobody publishes image weights for it; name a file with --weights")
    try:
        return fetch(found)
    except CheckpointError as error:
        raise UserError(f"--backbone {backbone}: its weights: {error}, or name it with --weights") from None


def _about(backbone: str) -> Any:
    import timm
    from timm.models import PretrainedCfg

    return timm.get_pretrained_cfg(backbone.removeprefix(TIMM)) or PretrainedCfg()
