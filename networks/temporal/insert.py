"""Puts temporal parts into an image network that runs on the frames of clips, without changing any of its keys.

A part is a child of the module it acts on. A hook in front of that module or behind it calls the part. That module is
never a Sequential, which would call its child a second time.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from networks.temporal.branches import every_second_block, residual_branches
from networks.temporal.non_local import FrameNonLocal, Instantiation
from networks.temporal.shift import Direction, TemporalPool, TemporalShift, shift_input

Place = Literal["blockres", "block"]
NON_LOCAL = {"layer2": (0, 2), "layer3": (0, 2, 4)}  # blocks that a non-local block follows (TSM's code)
POOLED = ("layer2", "layer3", "layer4")  # stages after the temporal pool (TSM's code)
Temporal = TemporalShift | TemporalPool | FrameNonLocal


def insert_shift(net: nn.Module, name: str, *, shift_div: int, place: Place, direction: Direction) -> None:
    """Adds a shift to every residual branch of `net`.

    name: how messages call the network.
    place: `blockres` shifts the input of the branch and leaves the shortcut alone; a ResNet with 23 or more blocks in
        layer3 is shifted in every second block. `block` shifts the input of a block, shortcut included, in every block.

    Raises: ValueError if the network does not have such places, or has a branch with fewer channels than shift_div.
    """
    branches = residual_branches(net, name)
    if place == "block":
        if any(not branch.block for branch in branches):
            raise ValueError(f"shift_place: {name} has branches without a block around them; use blockres")
        targets = [(branch.block, branch.entry) for branch in branches]
    else:
        targets = [(branch.entry, branch.entry) for branch in every_second_block(branches)]
    entries: dict[str, str] = {}
    for target, entry in targets:
        entries.setdefault(target, entry)  # if a block has two branches, the first gives the width
    for target, entry in entries.items():
        width, channel_dim = _input_channels(net.get_submodule(entry))
        if width < shift_div:
            raise ValueError(f"shift_div: {shift_div} is more than the {width} channels that enter {entry}")
        shift = TemporalShift(shift_div=shift_div, direction=direction, channel_dim=channel_dim)
        module = net.get_submodule(target)
        module.add_module("temporal_shift", shift)
        module.register_forward_pre_hook(shift_input)


def insert_non_local(net: nn.Module, name: str, *, instantiation: Instantiation) -> None:
    """Adds non-local blocks behind blocks 0 and 2 of layer2 and blocks 0, 2 and 4 of layer3.

    Raises: ValueError if the network does not have these blocks.
    """
    for stage, blocks in NON_LOCAL.items():
        for index in blocks:
            block = _resnet_part(net, name, f"{stage}.{index}", option="non_local")
            width = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][-1].num_features
            block.add_module("non_local", FrameNonLocal(width, instantiation=instantiation))
            block.register_forward_hook(_attend_to_output)


def insert_pool(net: nn.Module, name: str) -> None:
    """Adds a temporal pool in front of layer2.

    Raises: ValueError if the network has no layer2.
    """
    first_block = _resnet_part(net, name, f"{POOLED[0]}.0", option="temporal_pool")
    first_block.add_module("temporal_pool", TemporalPool())
    first_block.register_forward_pre_hook(_pool_input, prepend=True)  # before the block's own shift


def temporal_parts(net: nn.Module) -> list[tuple[Temporal, bool]]:
    """Returns the temporal parts of a network, each with whether it sees pooled clips."""
    parts = [(path, module) for path, module in net.named_modules() if isinstance(module, Temporal)]
    pooled = any(isinstance(module, TemporalPool) for _, module in parts)
    return [
        (module, pooled and path.startswith(POOLED) and not isinstance(module, TemporalPool)) for path, module in parts
    ]


def _resnet_part(net: nn.Module, name: str, path: str, *, option: str) -> nn.Module:
    try:
        return net.get_submodule(path)
    except AttributeError:
        raise ValueError(f"{option}: needs a ResNet with {path}, which {name} does not have") from None


def _input_channels(module: nn.Module) -> tuple[int, int]:
    """Returns the number of input channels and their axis: 1 in maps (N, C, H, W), -1 in tokens (N, ..., C)."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels, 1
    width = next(module.parameters()).shape[-1]
    # LayerNorm2d of torchvision and timm is a LayerNorm over maps
    on_maps = isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)) or type(module).__name__.endswith("2d")
    return width, 1 if on_maps else -1


def _pool_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return module.temporal_pool(inputs[0]), *inputs[1:]  # type: ignore[operator]


def _attend_to_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    attended: Tensor = module.non_local(output)  # type: ignore[operator]
    return attended
