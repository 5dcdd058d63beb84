"""Finds a video network for tools/start.py: which published weights, what they want to see, and what that costs."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from methods.build import build_method
from methods.trunk import METHODS as KINDS
from networks import CLIP_NETWORKS
from networks.checkpoints.file import RawCheckpoint, load_checkpoint_file
from networks.image.backbones import TIMM
from tools.importing.own_config import config_of
from tools.starting.configs import WINDOWS, Network
from utils.clip_spec import ClipSpec
from utils.config.build import parameters_of
from utils.config.file import load_config
from utils.config.sections import Model
from utils.errors import UserError
from utils.files import ROOT
from utils.published.registry import Published, registry
from utils.transforms.presets import find_preset

METHODS = ("clip3d", "slowfast", "tsm", "tsn")
CLIP = ("clip_len", "frame_stride", "num_segments")  # keys of `model` that a probe has by the same names
PIXELS = ("preset", "input_size", "test_resize", "mean", "std")  # keys of `augmentation` that belong to the weights
IMAGES = "image-"  # in front of the tasks of image networks in the registry
OF_ITS_TRAINING = ("type", "num_class", "dropout", "pretrained", "init_std")


def is_video_network(name: str) -> bool:
    """Says whether a backbone is a network of clips, or the name of published weights of a video network.

    Raises: UserError for the name of an image network's weights, with what to give instead.
    """
    if name in CLIP_NETWORKS:
        return True
    if name.startswith(TIMM) or name not in registry():
        return False
    published = registry()[name]
    if published.task.startswith(IMAGES):
        instead = published.backbone + ("" if published.backbone in CLIP_NETWORKS else f" --weights {name}")
        raise UserError(f"--backbone {name}: names weights that have learned from images; give --backbone {instead}")
    return True


def weights_name(backbone: str, weights: str | None) -> str:
    """Returns the file or the published name of the weights that a video network gets.

    Raises: UserError if nobody publishes weights for it, or both arguments name some.
    """
    if backbone in CLIP_NETWORKS:
        return weights or _published(backbone).id
    if weights is None:
        return backbone
    raise UserError(f"--weights {weights}: --backbone {backbone} names weights already; give one of the two")


def find_video_network(backbone: str, weights: str | None) -> tuple[Network, Path]:
    """Returns what is known about a video network, and the file of its weights, which is fetched if it is not here.

    Raises: UserError in one line if nobody publishes weights for it, or what they hold cannot be a backbone.
    """
    name = weights_name(backbone, weights)
    file = load_checkpoint_file(name)
    raw, notes = config_of(file)
    model: Mapping[str, Any] = raw["common"]["model"]
    given = _backbone(model, name)
    if backbone in CLIP_NETWORKS and given["backbone"] != backbone:
        raise UserError(f"--weights {weights}: are of {given['backbone']}, and --backbone is {backbone}")
    augmentation = raw["common"].get("augmentation", {})
    pixels = {key: augmentation[key] for key in PIXELS if augmentation.get(key) is not None}
    clip = {key: value for key, value in given.items() if key != "backbone"}
    assumed = _assumed(file, notes)
    about, clip_spec, seconds, has_bn = _about(given, pixels, windows=model["type"] in WINDOWS, assumed=assumed)
    network = Network(
        given["backbone"],
        name,
        pixels,
        clip=clip,
        method=str(model["type"]),
        whole={key: value for key, value in model.items() if key not in OF_ITS_TRAINING},
        about=[*about, *notes],
        span=(clip_spec.num_frames - 1) * clip_spec.frame_stride + 1,
        seconds=seconds,
        has_bn=has_bn,
    )
    return network, file.path


def _published(backbone: str) -> Published:
    """Returns the weights that are taken where nobody names any: of Kinetics-400, those of a recipe in exps/ first.

    Several sizes of a network may have one name; torchvision's weights are those of the size that has it.
    """
    found = [
        one
        for one in registry().values()
        if one.support == "now" and one.modality == "rgb" and (one.url or one.hub)
        if not one.task.startswith(IMAGES)
        if backbone == (_recipes_backbone(one.recipe) if one.recipe else one.backbone)
    ]
    order = ("published", "same_network", "same_network_other_source")
    found.sort(
        key=lambda one: (
            one.dataset != "kinetics400",
            order.index(one.relation) if one.relation in order else len(order),
            one.source != "torchvision",
            one.id,
        )
    )
    if not found:
        raise UserError(
            f"--backbone {backbone}: no weights are listed under this name; give the name of weights in its place: "
            f"`python -m tools.weights {backbone}` lists some"
        )
    return found[0]


@functools.cache
def _recipes_backbone(recipe: str) -> str:
    """Returns the network of clips that a recipe in exps/ trains; "" for a recipe of another method."""
    path = ROOT / "exps" / recipe / "config.yaml"
    if not path.is_file():
        return ""
    model = load_config(path).common.model
    return str(model.backbone) if model.type == "clip3d" and not (model.model_extra or {}).get("neck") else ""


def _assumed(file: RawCheckpoint, notes: Sequence[str]) -> bool:
    """Says whether the clip is only likely, as the file does not show it and no recipe says it."""
    shown_by_file = bool({*file.description.notes} & {*notes})
    return shown_by_file and any(key in file.description.assumed for key in CLIP)


def _backbone(model: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the keys of a probe that keeps the network of a config as it is."""
    kind = str(model["type"])
    wants = {"modality": model.get("modality", "rgb") != "rgb", "neck": kind == "clip3d" and bool(model.get("neck"))}
    for key, differs in wants.items():
        if differs:
            raise UserError(f"--backbone: {name} has {key}: {model[key]}, which a probe does not take")
    if kind not in METHODS:
        raise UserError(f"--backbone: {name} is of type {kind}; give weights of {', '.join(METHODS)}")
    if kind == "clip3d":
        backbone, kwargs = str(model["backbone"]), dict(model.get("kwargs") or {})
    else:
        backbone = f"{kind}/{model['backbone']}"
        known = ("backbone", "modality", "stack", *CLIP, *OF_ITS_TRAINING)
        kwargs = {key: value for key, value in model.items() if key not in known}
    clip = {key: model[key] for key in CLIP if model.get(key) is not None}
    windows = kwargs.pop("segments", 1)  # the head of a probe reads what the network says of one
    if "clip_len" in clip:
        clip["clip_len"] //= windows
    kwargs.pop("read_blocks", None)
    if kind in ("tsm", "tsn"):
        clip.setdefault("num_segments", parameters_of(KINDS[kind])["num_segments"].default)
    return {"backbone": backbone, **clip, **({"kwargs": kwargs} if kwargs else {})}


def _about(
    given: Mapping[str, Any], pixels: Mapping[str, Any], *, windows: bool, assumed: bool
) -> tuple[list[str], ClipSpec, float, bool]:
    """Returns what is said of a network, its clip, the seconds of one on the CPU, and whether it has batch norms."""
    probe = build_method(Model.model_validate({"type": "probe", "num_class": 2, **given})).eval()
    size = pixels.get("input_size", find_preset(pixels.get("preset", "tsn")).input_size)
    height, width = (size, size) if isinstance(size, int) else size
    clip = torch.zeros(1, probe.clip.in_channels, probe.clip.num_frames, height, width)
    with torch.inference_mode():
        probe(clip)  # the first one takes longer
        began = time.monotonic()
        probe(clip)
        seconds = time.monotonic() - began
    frames, stride = probe.clip.num_frames, probe.clip.frame_stride
    shown = f"{frames} frames, {stride} apart, from the middle" if windows else f"{frames} frames, spread evenly,"
    why = "not all of this is known of these weights" if assumed else f"{given['backbone']} was trained so"
    lines = [
        f"{shown} of each video, at {height} x {width}: {why}",
        "one head learns, and not two: a video network has learned from videos, and sees the order of frames itself",
    ]
    norms = (nn.modules.batchnorm._BatchNorm,)
    return lines, probe.clip, seconds, any(isinstance(module, norms) for module in probe.modules())
