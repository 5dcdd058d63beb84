"""Knows the image weights that torchvision and timm publish for their own networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.published.registry import Published, published_as, registry

TIMM = "timm/"
HUB_FILE = "model.safetensors"  # as timm names the file of a repository that names none itself


def image_weights(architecture: str) -> Published | None:
    """Returns the library's own weights for an image network; None if it publishes none.

    Of torchvision's it is the first version, IMAGENET1K_V1, from which published video networks started.

    architecture: torchvision's name, or timm/NAME, as Method.arch has it.
    """
    if architecture.startswith(TIMM):
        return _of_timm(architecture.removeprefix(TIMM))
    from torchvision import models

    if architecture not in models.list_models(module=models):
        return None
    url = next(iter(models.get_model_weights(architecture))).url
    name = url.rpartition("/")[2]
    found = published_as(Path(name))
    if found is not None and found.url == url:
        return found
    digits = name.rpartition("-")[2].partition(".")[0]
    return _library_entry("torchvision", architecture, url=url, sha256=digits, licence="BSD-3-Clause")


def published_statistics(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Returns the mean and the standard deviation of pixels, in 0..1, that timm's weights were trained with.

    None for networks of other libraries.
    """
    if not architecture.startswith(TIMM):
        return None
    import timm

    about = timm.get_pretrained_cfg(architecture.removeprefix(TIMM))
    return None if about is None else (tuple(about.mean), tuple(about.std))


def _of_timm(name: str) -> Published | None:
    import timm

    about = timm.get_pretrained_cfg(name)
    if about is None or not (about.hf_hub_id or about.url):
        return None
    full = f"{about.architecture}.{about.tag}" if about.tag else name
    known = registry().get(f"{TIMM}{full}")
    if known is not None:
        return known
    licence = about.license or ""
    place = {"hub": about.hf_hub_id, "file": about.hf_hub_filename or HUB_FILE}
    forbids = "-nc" in licence.lower() or "noncommercial" in licence.lower()
    commercial = "unclear" if not licence else "no" if forbids else "yes"
    return _library_entry(
        "timm", full, licence=licence, commercial=commercial, **(place if about.hf_hub_id else {"url": about.url})
    )


def _library_entry(source: str, architecture: str, **about: Any) -> Published:
    return Published(
        f"{source}/{architecture}", source, backbone=architecture, dataset="imagenet1k", layout="images", **about
    )
