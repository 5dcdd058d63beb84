"""Turns BN-Inception, as tsn-pytorch, TRN-pytorch, GSM and GSF write it, into a network over RGB frames."""

from __future__ import annotations

import re

from torch import Tensor

from networks.checkpoints.layouts.base import State
from networks.first_convolution import RGB

FIRST = "conv1_7x7_s2.weight"
# its weights come from Caffe: what is subtracted from pixels of 0..255, in 0..1
MEANS = {"rgb": [0.501960784, 0.458823529, 0.407843137], "rgbdiff": [0.0] * RGB, "flow": [0.501960784] * 2}
STEP = 0.003921569  # 1 of 255
GATES = re.compile(r"gs[mf]_(inception_\w+)\.(?:conv3D|(bn)|channel_conv([12]))\.(.+)")


def is_bn_inception(body: State) -> bool:
    """Tells whether an image network under its own names is BN-Inception."""
    return FIRST in body


def pixels(modality: str) -> dict[str, list[float]]:
    """Returns the keys of `augmentation` for the pixels that its files take."""
    mean = MEANS[modality]
    return {"mean": mean, "std": [STEP] * len(mean)}


def about_pixels(modality: str) -> str:
    """Says which pixels a file of this network takes, for the user."""
    told = ", ".join(f"augmentation.{key} {values}" for key, values in pixels(modality).items())
    return f"it takes pixels of 0..255 without their mean, as Caffe's networks do: set {told}"


def to_rgb(body: State) -> dict[str, Tensor]:
    """Returns the entries for frames in RGB, which files have for BGR, and norms in one dimension, which old ones lack.

    Optical flow has no colours. Of differences, each one is turned around.
    """
    found = {key: value.squeeze(0) if "_bn." in key and value.dim() == 2 else value for key, value in body.items()}
    first = found[FIRST]
    if first.shape[1] == RGB or (first.shape[1] % RGB == 0 and first.shape[1] % 2):
        found[FIRST] = first.unflatten(1, (-1, RGB)).flip(2).flatten(1, 2)
    return found


def rename_gates(body: State) -> dict[str, Tensor]:
    """Gives the entries of GSM and GSF our names: `gsm_X.conv3D` is the gate behind the convolution `X`."""
    found = {}
    for key, value in body.items():
        if match := GATES.fullmatch(key):
            part = match[2] or (f"weigh.{int(match[3]) - 1}" if match[3] else "gate")
            key = f"{match[1]}.temporal.{part}.{match[4]}"
        found[key] = value
    return found
