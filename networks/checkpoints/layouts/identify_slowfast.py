"""What a SlowFast state of ours tells about its network; shared by the projects that publish SlowFast."""

from __future__ import annotations

from typing import Any

from networks.checkpoints.layouts.base import Facts, State
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

# alpha leaves no trace in the weights; these are the published combinations of slow depth, fast depth, lateral kernel
PUBLISHED_ALPHA = {(50, 50, 5): 8, (50, 50, 7): 4, (101, 50, 5): 8, (152, 50, 5): 8}
OTHER_ALPHA = 4


def slowfast_facts(state: State) -> Facts:
    """Facts of method slowfast; without backbone, and with a note, when the pathways are none of ours."""
    try:
        return _slowfast_facts(state)
    except UnknownNetworkError as error:
        return Facts(method="slowfast", notes=[f"backbone: {error}"])


def _slowfast_facts(state: State) -> Facts:
    depth, fast_depth = depth_of(state, "slow."), depth_of(state, "fast.")
    width, fast_width = weight(state, "slow.conv1").shape[0], weight(state, "fast.conv1").shape[0]
    lateral = weight(state, "lateral.0.conv")
    kernel, ratio = int(lateral.shape[2]), int(lateral.shape[0] // lateral.shape[1])
    slow = temporal_blocks(temporal_kernels(state, "slow."), stages_from({}, depth))
    fast = temporal_blocks(temporal_kernels(state, "fast."), stages_from(FAST, fast_depth))
    if slow is None or fast is None or width % fast_width:
        raise UnknownNetworkError("pathways of other temporal kernels or widths than ours")
    alpha = PUBLISHED_ALPHA.get((depth, fast_depth, kernel), OTHER_ALPHA)
    facts = Facts(method="slowfast")
    facts.arguments["slow_frames"] = "linspace"
    facts.arguments |= {"beta": width // fast_width, "fusion_kernel": kernel, "alpha": alpha, "clip_len": 32}
    facts.arguments["frame_stride"] = 2
    facts.backbone, kwargs = _backbone(depth, fast_depth, slow, fast)
    if fast_depth != depth:
        kwargs["fast_depth"] = fast_depth
    if ratio != 2:
        kwargs["fusion_ratio"] = ratio
    if any(attended := non_local_blocks(state, "slow.")):
        kwargs["non_local"] = attended
        facts.notes.append("instantiation of the non-local blocks: not in the file; dot_product assumed")
    if kwargs:
        facts.arguments["kwargs"] = kwargs
    if "fc.weight" in state:
        facts.arguments["num_class"] = int(state["fc.weight"].shape[0])
    facts.assumed += ("alpha", "clip_len", "frame_stride")
    facts.notes.append(f"alpha, clip_len and frame_stride: not in the file; {alpha}, 32 and 2 assumed")
    return facts


def _backbone(depth: int, fast_depth: int, slow: list[int], fast: list[int]) -> tuple[str, dict[str, Any]]:
    """The named backbone with these temporal blocks, or the plain one and the blocks as an argument."""
    for name, (named_depth, *blocks) in BACKBONES.items():
        full = [list(stages_from({}, number).depths) for number in (depth, fast_depth)]
        wanted = [list(given) if given is not None else whole for given, whole in zip(blocks, full, strict=True)]
        if named_depth == depth and [slow, fast] == wanted:
            return name, {}
    return f"resnet{depth}", {"temporal_blocks": [slow, fast]}
