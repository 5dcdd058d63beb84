"""Finds the backbone that tools/start.py uses: that it exists, what it wants to see, and where its weights are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from networks import CLIP_NETWORKS
from networks.checkpoints.load import known_image_weights
from networks.image.backbones import TIMM, architecture, image_backbone, image_networks
from tools.starting.configs import Network
from tools.starting.video_network import find_video_network, is_video_network, weights_name
from utils.config.build import ArgumentError, check_name
from utils.errors import CheckpointError, UserError
from utils.published.files import check_fetchable, checkpoint_file, fetch, named
from utils.published.libraries import published_statistics
from utils.published.registry import Published, entry
from utils.transforms.presets import IMAGENET_MEAN, IMAGENET_STD

SIZE, RESIZE = 224, 256
LARGEST = 256  # pixels; the sizes of larger inputs are for GPUs, and their networks take smaller ones too


def check_network(backbone: str, weights: str | None, *, num_frames: int | None) -> None:
    """Raises UserError for a backbone, weights or a number of frames that cannot be, before anything is fetched.

    That no server answers which has the weights is an error here too: looking at all videos may take long.
    """
    if weights is not None and named(weights) is None and not Path(weights).is_file():
        raise UserError(f"--weights {weights}: no such file, and no name of tools.weights")
    if is_video_network(backbone):
        if num_frames:
            raise UserError(f"--frames: is for image networks; {backbone} sees the frames that it was trained with")
        published = named(weights_name(backbone, weights))
        if published is not None:
            check_fetchable(published)
        return
    if "/" not in backbone:
        try:
            check_name([*image_networks(), *CLIP_NETWORKS], backbone, where="--backbone")
        except ArgumentError as error:
            raise UserError(f"{error} (docs/models.md has the names)") from None
    try:
        with torch.device("meta"):
            image_backbone(backbone)
    except ValueError as error:
        if "/" in backbone and not backbone.startswith(TIMM):
            entry(backbone)  # raises, with the nearest names of published weights
        raise UserError(
            f"--{error}" if str(error).startswith("backbone") else f"--backbone {backbone}: {error}"
        ) from None
    found = known_image_weights(architecture(backbone)) if weights is None else named(weights) or Path(weights)
    if found is None:
        raise UserError(f"--backbone {backbone}: nobody publishes image weights for it; name a file with --weights")
    if isinstance(found, Published):
        with _saying_which(backbone, weights):
            check_fetchable(found)


def find_network(backbone: str, weights: str | None) -> tuple[Network, Path]:
    """Returns what is known about a backbone, and the file of its weights, which is fetched if it is not here.

    Raises: UserError in one line for weights that cannot be fetched or are of another network. What `check_network`
        refuses must not come here.
    """
    if is_video_network(backbone):
        return find_video_network(backbone, weights)
    file = _published(backbone) if weights is None else checkpoint_file(weights)
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
    assert found is not None
    with _saying_which(backbone, None):
        return fetch(found)


@contextlib.contextmanager
def _saying_which(backbone: str, weights: str | None) -> Iterator[None]:
    """Names the option in an error about weights that cannot be fetched."""
    try:
        yield
    except CheckpointError as error:
        if weights is not None:
            raise
        raise UserError(f"--backbone {backbone}: its weights: {error}, or name it with --weights") from None


def _about(backbone: str) -> Any:
    import timm
    from timm.models import PretrainedCfg

    return timm.get_pretrained_cfg(backbone.removeprefix(TIMM)) or PretrainedCfg()
