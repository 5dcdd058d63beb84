"""Translates PyTorchVideo's networks over a clip, from SlowFast to X3D, also as trained by PySlowFast."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from networks.checkpoints.layouts.base import Description, Layout, State
from networks.checkpoints.layouts.identify import describe_resnet3d, with_prefix
from networks.checkpoints.layouts.identify_slowfast import describe_slowfast
from networks.checkpoints.layouts.renaming import Rule, rename
from networks.checkpoints.layouts.x3d import EFFICIENT, convert_x3d, is_x3d, read_name

CLIPS = {"csn_r101": (32, 2), "r2plus1d_r50": (16, 4)}  # frames and stride of the hub's files; others have 8 and 8


def _block(prefix: str, ours: str) -> list[Rule]:
    """Makes rules for one residual block, including R(2+1)D's factorised convolution, whose temporal half is first."""
    rules = [
        (rf"{prefix}\.branch1_conv\.(.+)", rf"{ours}.downsample.0.\2"),
        (rf"{prefix}\.branch1_norm\.(.+)", rf"{ours}.downsample.1.\2"),
        (rf"{prefix}\.branch2\.conv_b\.conv_t\.(.+)", rf"{ours}.conv2.0.\2"),
        (rf"{prefix}\.branch2\.conv_b\.norm\.(.+)", rf"{ours}.conv2.1.\2"),
        (rf"{prefix}\.branch2\.conv_b\.conv_xy\.(.+)", rf"{ours}.conv2.3.\2"),
    ]
    for number, letter in enumerate("abc", start=1):
        rules += [
            (rf"{prefix}\.branch2\.conv_{letter}\.(.+)", rf"{ours}.conv{number}.\2"),
            (rf"{prefix}\.branch2\.norm_{letter}\.(.+)", rf"{ours}.bn{number}.\2"),
        ]
    return rules


def _pathway(blocks: list[int], inside: str, ours: str) -> list[Rule]:
    """Makes rules for one pathway.

    blocks: indices of its stem and stages; pools, which have no weights, are between them.
    """
    stem, *stages = blocks
    rules = [
        (rf"blocks\.{stem}\.{inside}conv\.(.+)", rf"{ours}conv1.\1"),
        (rf"blocks\.{stem}\.{inside}norm\.(.+)", rf"{ours}bn1.\1"),
    ]
    for number, place in enumerate(stages[:4], start=1):
        rules += _block(rf"blocks\.{place}\.{inside}res_blocks\.(\d+)", rf"{ours}layer{number}.\1")
    return rules


def _recognises(state: State) -> bool:
    in_blocks = any(key.startswith("blocks.0.") for key in state) and any(".res_blocks." in key for key in state)
    return in_blocks or EFFICIENT in state


def _convert(state: State, others: Mapping[str, Any]) -> tuple[dict[str, Tensor], Description]:
    if is_x3d(state):
        return convert_x3d(state)
    places = sorted({int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))})
    *body, head = places
    two = any(".multipathway_blocks." in key for key in state)
    rules: list[Rule] = [(rf"blocks\.{head}\.proj\.(.+)", r"fc.\1")]
    if two:
        for pathway, name in enumerate(("slow.", "fast.")):
            rules += _pathway(body, rf"multipathway_blocks\.{pathway}\.", name)
        fusion = r"multipathway_fusion\."
        for number, place in enumerate(body):
            rules += [
                (rf"blocks\.{place}\.{fusion}conv_fast_to_slow\.(.+)", rf"lateral.{number}.conv.\1"),
                (rf"blocks\.{place}\.{fusion}norm\.(.+)", rf"lateral.{number}.bn.\1"),
            ]
        ours = rename(state, rules)
        return with_prefix(ours), describe_slowfast(ours)
    ours = rename(state, rules + _pathway(body, "", ""))
    pooled = len(body) > 1 and body[2:3] == [3]  # stage 1 is at index 1; a temporal pool behind it takes index 2
    description = describe_resnet3d(ours, prefer="c2d" if pooled else "c2d_nopool")
    clip_len, stride = CLIPS.get(description.backbone, (8, 8))
    description.arguments |= {"clip_len": clip_len, "frame_stride": stride}
    description.assumed += ("clip_len", "frame_stride")
    if description.backbone == "r2plus1d_r50":  # the only network of its hub whose head averages after a softmax
        description.arguments.setdefault("kwargs", {})["position_average"] = "scores"
    description.notes.append(
        f"clip_len and frame_stride: not in the file; {clip_len} and {stride} are assumed, as in its hub"
    )
    return with_prefix(ours), description


LAYOUT = Layout("PyTorchVideo", _recognises, _convert, read_name)
