"""Puts temporal parts into an image network that runs on the frames of clips, without changing any of its keys.

A part is a child of the module it acts on. A hook in front of that module or behind it calls the part. That module is
never a Sequential, which would call its child a second time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from networks.temporal.adapters import FrameMean, transformer_blocks
from networks.temporal.branches import Branch, every_second_block, residual_branches
from networks.temporal.module import OF_THE_PLACE, Spot, TemporalModule
from networks.temporal.non_local import FrameNonLocal, Instantiation
from networks.temporal.shift import Place, TemporalPool, TemporalShift, call_before, call_behind
from utils.config.build import check_arguments

NON_LOCAL = {"layer2": (0, 2), "layer3": (0, 2, 4)}  # blocks that a non-local block follows (TSM's code)
POOLED = ("layer2", "layer3", "layer4")  # stages after the temporal pool (TSM's code)
LAYER_SCALE = re.compile(r"(^|\.)(layer_scale(_\d)?|gamma(_\d)?)$")  # torchvision's and timm's names for it
Temporal = TemporalModule | TemporalPool | FrameNonLocal


def insert_temporal(
    net: nn.Module,
    name: str,
    kind: type[TemporalModule],
    *,
    num_frames: int,
    stages: Sequence[str] | None = None,
    **arguments: Any,
) -> None:
    """Adds a temporal module of one kind to the residual branches of `net`.

    name: how messages call the network.
    kind: what is added; an entry of TEMPORAL_MODULES.
    num_frames: T of the clips that the network will see.
    stages: prefixes of modules of `net` whose branches get one; default: the stages of its kind, as far as they exist.
    arguments: of the module's constructor.

    Raises: ValueError if the network has no such places, or a branch cannot take the module; ArgumentError, which is
        one, for an argument that the module does not take.
    """
    name_of_it = f"this module ({kind.__name__})"
    arguments = check_arguments(kind, arguments, name=name_of_it, where="", without=OF_THE_PLACE)
    if kind.spot == "transformer":
        _into_blocks(net, name, kind, num_frames=num_frames, stages=stages, **arguments)
        return
    branches = residual_branches(net, name)
    if stages is None and any(_is_in(branch.entry, kind.stages) for branch in branches):
        stages = kind.stages
    if stages:
        branches = [branch for branch in branches if _is_in(branch.entry, stages)]
        if not branches:
            raise ValueError(f"stages: no residual branch of {name} begins with {' or '.join(stages)}")
    targets = (
        _shifted(branches, name, **arguments) if issubclass(kind, TemporalShift) else _at(branches, kind.spot, name)
    )
    for target, entry in targets.items():
        width, channel_dim = _channels(net.get_submodule(entry), behind=kind.spot in ("end", "block"))
        if channel_dim != 1 and not kind.takes_tokens:
            raise ValueError(f"name: this module needs maps of features, and {entry} of {name} gets tokens")
        try:
            part = kind(width, num_frames=num_frames, channel_dim=channel_dim, **arguments)
        except ValueError as error:
            raise ValueError(f"{error}, at {entry}") from None
        module = net.get_submodule(target)
        module.add_module("temporal", part)
        if kind.spot == "block":
            kind.attach(module, name)
        elif kind.spot == "end":
            module.register_forward_hook(call_behind)
        else:
            module.register_forward_pre_hook(call_before)
    kind.complete(net, name, num_frames=num_frames, **arguments)


def _into_blocks(
    net: nn.Module,
    name: str,
    kind: type[TemporalModule],
    *,
    num_frames: int,
    stages: Sequence[str] | None,
    **arguments: Any,
) -> None:
    """Adds a module of the spot `transformer`, as insert_temporal does; `stages` names blocks."""
    widths = transformer_blocks(net, name)
    chosen = {path: width for path, width in widths.items() if not stages or _is_in(path, stages)}
    if not chosen:
        raise ValueError(f"stages: no block of {name} is in {' or '.join(stages or ())}; they are {', '.join(widths)}")
    for path, width in chosen.items():
        block = net.get_submodule(path)
        block.add_module("temporal", kind(width, num_frames=num_frames, channel_dim=-1, **arguments))
        kind.attach(block, name)
    kind.complete(net, name, num_frames=num_frames, **arguments)


def _is_in(path: str, stages: Sequence[str]) -> bool:
    return any(f"{path}.".startswith(f"{stage}.") for stage in stages)


def _shifted(branches: list[Branch], name: str, *, shift_place: Place = "blockres", **_: Any) -> dict[str, str]:
    """Returns the modules whose input TSM shifts, each with one that knows the width.

    `blockres` leaves the shortcut alone; a ResNet with 23 or more blocks in layer3 is shifted in every second block.
    `block` shifts the input of a block, shortcut included, in every block.
    """
    if shift_place == "blockres":
        return {branch.entry: branch.entry for branch in every_second_block(branches)}
    if any(not branch.block for branch in branches):
        raise ValueError(f"shift_place: {name} has branches without a block around them; use blockres")
    return {branch.block: branch.entry for branch in reversed(branches)}  # of two branches, the first gives the width


def _at(branches: list[Branch], spot: Spot, name: str) -> dict[str, str]:
    """Returns the modules that get a temporal module, each with one that knows the width."""
    if spot == "block":  # of the branches inside, the first gives the width
        return {branch.block or branch.entry: branch.entry for branch in reversed(branches)}
    found = [getattr(branch, spot) for branch in branches]
    if spot == "inner":  # a branch with one convolution has only its entry
        found = [inner or branch.entry for inner, branch in zip(found, branches, strict=True)]
    if not all(found):
        raise ValueError(f"name: this module sits between a convolution and its norm, which {name} does not have")
    return {path: path for path in found}


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


def layer_scale(net: nn.Module) -> float | None:
    """Returns the factor by which a network with layer scale weighs its branches, half of them less; None without it.

    Its factors are parameters of the blocks, one for each channel (Touvron et al. 2021, arXiv 2103.17239).
    """
    found = [value.detach().abs().mean() for key, value in net.named_parameters() if LAYER_SCALE.search(key)]
    return float(torch.stack(found).median()) if found else None


def leaves_one_row(net: nn.Module) -> bool:
    """Tells whether a network averages the frames of a clip itself, and gives one row of features for each clip."""
    return any(isinstance(module, FrameMean) for module in net.modules())


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


def _channels(module: nn.Module, *, behind: bool) -> tuple[int, int]:
    """Returns the number of channels in front of a module or behind it, and their axis: 1 in maps, -1 in tokens."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels if behind else module.in_channels, 1
    width = next(module.parameters()).shape[-1]
    # LayerNorm2d of torchvision and timm is a LayerNorm over maps
    on_maps = isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)) or type(module).__name__.endswith("2d")
    return width, 1 if on_maps else -1


def _pool_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return module.temporal_pool(inputs[0]), *inputs[1:]  # type: ignore[operator]


def _attend_to_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    attended: Tensor = module.non_local(output)  # type: ignore[operator]
    return attended
