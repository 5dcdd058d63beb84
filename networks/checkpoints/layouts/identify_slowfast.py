"""Identifies the SlowFast network of a state dict under our names, for all projects that publish SlowFast."""

from __future__ import annotations

from typing import Any

from networks.checkpoints.layouts.base import Description, State
from networks.checkpoints.layouts.identify import (
    UnknownNetworkError,
    depth_of,
    non_local_blocks,
    temporal_blocks,
    temporal_kernels,
    weight,
)
from networks.clip.resnet3d import stages_from
from networks.clip.slowfast import BACKBONES, FAST

# weights do not show alpha; these are the published combinations of slow depth, fast depth and lateral kernel
PUBLISHED_ALPHA = {(50, 50, 5): 8, (50, 50, 7): 4, (101, 50, 5): 8, (152, 50, 5): 8}
OTHER_ALPHA = 4


def describe_slowfast(state: State) -> Description:
    """Describes a SlowFast network; if no network here has such pathways, without a backbone and with a note."""
    try:
        return _describe_slowfast(state)
    except UnknownNetworkError as error:
        return Description(method="slowfast", notes=[f"backbone: {error}"])


def _describe_slowfast(state: State) -> Description:
    depth, fast_depth = depth_of(state, "slow."), depth_of(state, "fast.")
    width, fast_width = weight(state, "slow.conv1").shape[0], weight(state, "fast.conv1").shape[0]
    lateral = weight(state, "lateral.0.conv")
    kernel, ratio = int(lateral.shape[2]), int(lateral.shape[0] // lateral.shape[1])
    slow = temporal_blocks(temporal_kernels(state, "slow."), stages_from({}, depth))
    fast = temporal_blocks(temporal_kernels(state, "fast."), stages_from(FAST, fast_depth))
    if slow is None or fast is None or width % fast_width:
        raise UnknownNetworkError("pathways with temporal kernels or widths that no network here has")
    alpha = PUBLISHED_ALPHA.get((depth, fast_depth, kernel), OTHER_ALPHA)
    description = Description(method="slowfast")
    description.arguments["slow_frames"] = "linspace"
    description.arguments |= {"beta": width // fast_width, "fusion_kernel": kernel, "alpha": alpha, "clip_len": 32}
    description.arguments["frame_stride"] = 2
    description.backbone, kwargs = _backbone(depth, fast_depth, slow, fast)
    if fast_depth != depth:
        kwargs["fast_depth"] = fast_depth
    if ratio != 2:
        kwargs["fusion_ratio"] = ratio
    if any(attended := non_local_blocks(state, "slow.")):
        kwargs["non_local"] = attended
        description.notes.append("instantiation of the non-local blocks: not in the file; dot_product is assumed")
    if kwargs:
        description.arguments["kwargs"] = kwargs
    if "fc.weight" in state:
        description.arguments["num_class"] = int(state["fc.weight"].shape[0])
    description.assumed += ("alpha", "clip_len", "frame_stride")
    description.notes.append(f"alpha, clip_len and frame_stride: not in the file; {alpha}, 32 and 2 are assumed")
    return description


def _backbone(depth: int, fast_depth: int, slow: list[int], fast: list[int]) -> tuple[str, dict[str, Any]]:
    """Returns the named backbone with these temporal blocks, or the plain one with the blocks as an argument."""
    for name, (named_depth, *blocks) in BACKBONES.items():
        full = [list(stages_from({}, number).depths) for number in (depth, fast_depth)]
        wanted = [list(given) if given is not None else whole for given, whole in zip(blocks, full, strict=True)]
        if named_depth == depth and [slow, fast] == wanted:
            return name, {}
    return f"resnet{depth}", {"temporal_blocks": [slow, fast]}
