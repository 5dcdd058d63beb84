"""Identifies the network here that a translated state dict belongs to, by its shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from networks.checkpoints.layouts.base import Description, State, add_modality
from networks.clip import factorised_resnet, torchvision_builders
from networks.clip.resnet3d import DEPTHS, Stages, stages_from
from networks.clip.resnet3d_published import RESNETS_3D


def blocks_of(state: Mapping[str, Any], prefix: str = "") -> tuple[int, ...]:
    """Counts the blocks in each stage of a ResNet whose stages are named layer1 to layer4."""
    found = []
    for stage in range(1, 5):
        pattern = re.compile(rf"{re.escape(prefix)}layer{stage}\.(\d+)\.")
        found.append(len({match[1] for key in state if (match := pattern.match(key))}))
    return tuple(found)


class UnknownNetworkError(Exception):
    """Raised if no network here has these weights; the message says what the file has."""


def depth_of(state: State, prefix: str = "") -> int:
    """Returns the depth: 50, 101 or 152. Raises: UnknownNetworkError for other numbers of blocks."""
    blocks = blocks_of(state, prefix)
    for depth, depths in DEPTHS.items():
        if depths == blocks:
            return depth
    raise UnknownNetworkError(f"{blocks} blocks per stage, which no ResNet here has")


def temporal_kernels(state: State, prefix: str = "") -> list[list[int]]:
    """Returns the temporal kernel of each block's first convolution, stage by stage."""
    depths = blocks_of(state, prefix)
    return [
        [weight(state, f"{prefix}layer{stage + 1}.{block}.conv1").shape[2] for block in range(count)]
        for stage, count in enumerate(depths)
    ]


def weight(state: State, module: str) -> Tensor:
    """Returns the kernel of a 3-D convolution. Raises: UnknownNetworkError if there is no such kernel."""
    value = state.get(f"{module}.weight")
    if value is None or value.ndim != 5:
        raise UnknownNetworkError(f"no 3-D convolution {module}")
    return value


def non_local_blocks(state: State, prefix: str = "") -> list[list[int]]:
    """Returns the blocks of each stage that a non-local block follows."""
    pattern = re.compile(rf"{re.escape(prefix)}layer(\d)\.(\d+)\.non_local\.out\.weight")
    found: list[list[int]] = [[], [], [], []]
    for key in state:
        if match := pattern.fullmatch(key):
            found[int(match[1]) - 1].append(int(match[2]))
    return [sorted(blocks) for blocks in found]


def temporal_blocks(kernels: list[list[int]], full: Stages) -> list[int] | None:
    """Counts the first blocks of each stage that have the kernels of `full`; None if the other blocks do not have 1."""
    counts = []
    for stage, found in enumerate(kernels):
        wanted = full.block_kernels(stage)
        count = len(found)
        while count and found[count - 1] == 1 != wanted[count - 1]:
            count -= 1
        if found[:count] != wanted[:count] or len(found) != len(wanted):
            return None
        counts.append(count)
    return counts


def describe_resnet3d(state: State, *, prefer: str = "") -> Description:
    """Describes a ResNet-3D under our names by a row of RESNETS_3D and further arguments.

    If no row fits, the description has no backbone and a note that says why; loading then names the difference.

    prefer: start of the row's name if several rows fit, such as C2D with and without temporal pooling.
    """
    try:
        return _describe_resnet3d(state, prefer)
    except UnknownNetworkError as error:
        return Description(method="clip3d", notes=[f"backbone: {error}"])


def _describe_resnet3d(state: State, prefer: str) -> Description:
    depth, kernels, attended = depth_of(state), temporal_kernels(state), non_local_blocks(state)
    stem = tuple(weight(state, "conv1").shape[2:])
    middle = _block_kind(state)
    rows = sorted(RESNETS_3D.items(), key=lambda row: not (prefer and row[0].startswith(prefer)))
    exact: list[tuple[int, str, dict[str, Any]]] = []
    near: list[tuple[int, str, dict[str, Any]]] = []
    for name, entry in rows:
        stages = stages_from(entry.stages, depth)
        if (stages.stem_kernel, stages.block) != (stem, middle):
            continue
        partial = temporal_blocks(kernels, stages)
        if partial is None:
            continue
        kwargs: dict[str, Any] = {}
        if entry.depth != depth:
            kwargs["depth"] = depth
        if partial != [len(blocks) for blocks in kernels]:
            kwargs["temporal_blocks"] = partial
        if [list(blocks) for blocks in stages.non_local] != attended:
            kwargs["non_local"] = attended
        (near if kwargs else exact).append((len(kwargs), name, kwargs))
    found = exact or sorted(near, key=lambda row: row[0])
    if not found:
        raise UnknownNetworkError(f"stem {stem} and temporal kernels {kernels}, which no ResNet here has")
    _, name, kwargs = found[0]
    if prefer.endswith("nopool") and RESNETS_3D[name].stages.get("pool_t", 1) > 1:
        kwargs["pool_t"] = 1
    return describe_clip_network(name, state, kwargs=kwargs)


def _block_kind(state: State) -> str:
    if "layer1.0.conv2.0.weight" in state:
        return "factorised"
    return "depthwise" if weight(state, "layer1.0.conv2").shape[2] == 3 else "bottleneck"


def describe_clip_network(
    name: str, state: State, *, kwargs: Mapping[str, Any] | None = None, head: str = "fc"
) -> Description:
    """Describes a network of method clip3d, with the number of classes."""
    description = Description(method="clip3d", backbone=name)
    if f"{head}.weight" in state:
        description.arguments["num_class"] = int(state[f"{head}.weight"].shape[0])
    add_modality(description, state)
    if kwargs:
        description.arguments["kwargs"] = dict(kwargs)
    return description


@cache
def _shapes(name: str) -> dict[str, torch.Size]:
    builders: dict[str, Callable[..., nn.Module]] = {**torchvision_builders.BUILDERS, **factorised_resnet.BUILDERS}
    with torch.device("meta"):
        net = builders[name]()
    return {key: value.shape for key, value in net.state_dict().items()}


def same_network(state: State, names: list[str], *, heads: tuple[str, ...]) -> str:
    """Returns the first of these networks with the state's keys and shapes, ignoring heads and counters; or ""."""

    def body(shapes: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
        skipped = tuple(f"{head}." for head in heads)
        return {
            key: shape
            for key, shape in shapes.items()
            if not key.startswith(skipped) and not key.endswith("num_batches_tracked")
        }

    wanted = body({key: value.shape for key, value in state.items()})
    return next((name for name in names if body(_shapes(name)) == wanted), "")


def with_prefix(state: Mapping[str, Tensor], prefix: str = "network.") -> dict[str, Tensor]:
    """Adds the prefix that the entries of a network have in the method that holds it."""
    return {prefix + key: value for key, value in state.items()}
