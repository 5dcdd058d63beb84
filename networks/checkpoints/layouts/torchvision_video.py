"""Reads torchvision.models.video: our networks are its modules, so keys stay and only the network is identified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_clip_network, same_network, with_prefix
from networks.clip.torchvision_builders import BUILDERS, EXAMPLES

# a key that every network of a family has -> names of the family and its classifier
FAMILIES: dict[str, tuple[list[str], str]] = {
    "stem.0.weight": (["r3d_18", "mc3_18", "r2plus1d_18"], "fc"),
    "features.0.0.0.weight": (["s3d"], "classifier.1"),
    "conv_proj.weight": ([name for name in BUILDERS if name.startswith("mvit")], "head.1"),
    "patch_embed.proj.weight": ([name for name in BUILDERS if name.startswith("swin3d")], "head"),
}


# name -> frames of the clips in training, if they are not those of the published cost
LENGTHS = {"s3d": 64}
# name -> step between the frames that the published weights see; of the others 2, for their 15 frames a second
STRIDES = {"mvit_v1_b": 4, "mvit_v2_s": 4}


def _name(state: State) -> tuple[str, str]:
    """Returns the name of the network and of its classifier, or two empty strings."""
    for key, (names, head) in FAMILIES.items():
        if key in state and (name := same_network(state, names, heads=(head,))):
            return name, head
    return "", ""


def _recognises(state: State) -> bool:
    return any(key in state and state[key].ndim == 5 for key in FAMILIES)


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    name, head = _name(state)
    if not name:
        return with_prefix(state), Description(method="clip3d", notes=["backbone: no network here has these shapes"])
    description = describe_clip_network(name, state, head=head)
    clip_len, stride = LENGTHS.get(name, EXAMPLES.get(name, (16, 112, 112))[0]), STRIDES.get(name, 2)
    description.arguments |= {"clip_len": clip_len, "frame_stride": stride}
    description.assumed += ("clip_len", "frame_stride")
    description.notes.append(f"clip_len and frame_stride: not in the file; {clip_len} and {stride} are assumed")
    return with_prefix(state), description


LAYOUT = Layout("torchvision video", _recognises, _convert)
