"""Turns BN-Inception and Inception v3, as tsn-pytorch, TRN-pytorch, GSM and GSF write them, into networks over RGB."""

from __future__ import annotations

import re

from torch import Tensor

from networks.checkpoints.layouts.base import State
from networks.first_convolution import RGB

FIRST = {"bn_inception": "conv1_7x7_s2.weight", "inception_v3_tsn": "conv_Conv2D.weight"}  # in files
# their weights come from Caffe: what is subtracted from pixels of 0..255, in 0..1
MEANS = {"rgb": [0.501960784, 0.458823529, 0.407843137], "rgbdiff": [0.0] * RGB, "flow": [0.501960784] * 2}
STEP = 0.003921569  # 1 of 255
GATES = re.compile(r"gs[mf]_(.+)\.(?:conv3D|(bn)|channel_conv([12]))\.(.+)")
V3 = re.compile(r"(?:(mixed(?:_\d+)?)_)?(.+)_(Conv2D|batchnorm)(\..+)?")
V3_PARTS = {"Conv2D": "conv", "batchnorm": "bn"}
V3_GATED = "mixed_3.tower_conv.conv.temporal.bn.weight"  # by GSM; GSF gates another convolution of this block


def inception_of(body: State) -> str:
    """Returns the name of the network of this family that these are the entries of, in files or here; else ""."""
    named_here = {"inception_v3_tsn": "mixed_10.tower_2_conv.conv.weight"}
    return next((name for names in (FIRST, named_here) for name, key in names.items() if key in body), "")


def pixels(modality: str) -> dict[str, list[float]]:
    """Returns the keys of `augmentation` for the pixels that its files take."""
    mean = MEANS[modality]
    return {"mean": mean, "std": [STEP] * len(mean)}


def about_pixels(modality: str) -> str:
    """Says which pixels a file of this family takes, for the user."""
    told = ", ".join(f"augmentation.{key} {values}" for key, values in pixels(modality).items())
    return f"it takes pixels of 0..255 without their mean, as Caffe's networks do: set {told}"


def to_rgb(body: State) -> dict[str, Tensor]:
    """Returns the entries for frames in RGB, under our names; of other networks, the entries as they are.

    Files have the first convolution for BGR, and old ones their norms in two dimensions. Optical flow has no colours.
    Of differences, each one is turned around.
    """
    name = next((name for name, key in FIRST.items() if key in body), "")
    if not name:
        return dict(body)
    norms = ("_bn.", "_batchnorm.")
    found = {
        key: value.squeeze(0) if value.dim() == 2 and any(norm in key for norm in norms) else value
        for key, value in body.items()
    }
    first = found[FIRST[name]]
    if first.shape[1] == RGB or (first.shape[1] % RGB == 0 and first.shape[1] % 2):
        found[FIRST[name]] = first.unflatten(1, (-1, RGB)).flip(2).flatten(1, 2)
    return {_ours(key): value for key, value in found.items()} if name == "inception_v3_tsn" else found


def rename_gates(body: State) -> dict[str, Tensor]:
    """Gives the entries of GSM and GSF our names: `gsm_X.conv3D` is the gate behind the convolution `X`."""
    found = {}
    for key, value in body.items():
        if match := GATES.fullmatch(key):
            part = match[2] or (f"weigh.{int(match[3]) - 1}" if match[3] else "gate")
            key = f"{_ours(match[1])}.temporal.{part}.{match[4]}"
        found[key] = value
    return found


def v3_arguments(state: State) -> dict[str, str]:
    """Returns the arguments of Inception v3 that its entries show: whose choice of convolutions is gated."""
    return {"gates": "gsm"} if V3_GATED in state else {}


def gated_blocks(state: State) -> list[str]:
    """Returns the blocks of Inception v3 that have a gate, in their order; none if all of them have one."""
    blocks = sorted({key.split(".")[0] for key in state if key.startswith("mixed")}, key=_number)
    gated = {key.split(".")[0] for key in state if ".temporal." in key}
    return [] if gated == {*blocks} else [block for block in blocks if block in gated]


def _ours(key: str) -> str:
    """Returns our name for a module of Inception v3, or an entry of it: mixed_3_tower_conv_Conv2D is in mixed_3."""
    if key.startswith(("gsm_", "gsf_")) or not (match := V3.fullmatch(key)):
        return key
    block, unit, part, rest = match.groups()
    return f"{f'{block}.' if block else ''}{unit}.{V3_PARTS[part]}{rest or ''}"


def _number(block: str) -> int:
    return int(block.partition("_")[2] or 0)
