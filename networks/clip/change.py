"""Changes convolutions, pools, norms and activations of a 3-D network to what the arguments of a builder ask for.

The weights of a convolution stay unless their shape changes. Errors are ValueErrors that name the argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from torch import nn

from networks.clip.resnet3d import same_conv

Build = Callable[..., nn.Module]
ONE = (1, 1, 1)
STAGES = 4


def refuse(**functions: Any) -> None:
    """Raises ValueError for the first function that is given; networks here have their own parts."""
    for key, function in functions.items():
        if function is not None:
            why = "networks here return logits" if key == "head_activation" else "the network here has its own"
            raise ValueError(f"{key}: {why}; leave it out")


def refuse_other(**values: tuple[Any, Any]) -> None:
    """Raises ValueError for the first argument whose value is not the only one that the network here has.

    values: the value that is given and that one.
    """
    for key, (given, only) in values.items():
        if given != only:
            raise ValueError(f"{key}: {given} is not built here; leave it at {only}")


def head_window(head_pool: Build | None, kernel: Sequence[int], output_size: Any, *, averaged: bool) -> Any:
    """Returns the window that the head averages before it classifies, see `ResNet3d`.

    head_pool: nn.AvgPool3d of `kernel`, nn.AdaptiveAvgPool3d of all features, None to classify each of them.
    Raises: ValueError for a head that does not average all positions, or for another pool.
    """
    if not averaged or tuple(output_size) != ONE:
        key = "head_output_size" if averaged else "head_output_with_global_average"
        raise ValueError(f"{key}: the head here averages all positions; take forward_features for a map of them")
    windows = {nn.AvgPool3d: tuple(kernel), nn.AdaptiveAvgPool3d: (None, None, None), None: ONE}
    if head_pool not in windows:
        raise ValueError("head_pool: the head here averages; take nn.AvgPool3d, nn.AdaptiveAvgPool3d or None")
    return windows[head_pool]


def per_stage(key: str, value: Any) -> Sequence[Any]:
    """Returns one value for each stage. Raises: ValueError for another number of them."""
    found = [value] * STAGES if isinstance(value[0], int) else value
    if len(found) != STAGES:
        raise ValueError(
            f"{key}: has {len(found)} entries; give one triple, or one entry for each of the {STAGES} stages"
        )
    return found


def change_stem(
    net: nn.Module,
    *,
    inputs: int,
    stride: Sequence[int],
    pool: Build | None,
    pool_kernel: Sequence[int] = (1, 3, 3),
    pool_stride: Sequence[int] = (1, 2, 2),
    kernel: Sequence[int] | None = None,
) -> None:
    """Gives the stem of a `Pathway` this convolution and this pool."""
    net.add_module("conv1", changed_conv(net.conv1, inputs=inputs, kernel=kernel, stride=stride))  # type: ignore[arg-type]
    padding = tuple(size // 2 for size in pool_kernel)
    net.add_module("maxpool", made_pool(pool, pool_kernel, pool_stride, padding))


def change_stage(
    blocks: Any,
    *,
    stride: Sequence[int],
    kernels: Any,
    kernel_b: Sequence[int],
    dilation: Sequence[int] = ONE,
    groups: int = 1,
    late: bool = False,
) -> None:
    """Gives the bottlenecks of a stage these strides and kernels.

    kernels: of the first convolutions, one triple or a list that is repeated over the blocks. kernel_b, dilation,
    groups: of the middle ones. late: the middle convolution of the first block has all of the stride; otherwise the
    first one has its part in time.
    """
    several = [kernels] if isinstance(kernels[0], int) else kernels
    for index, (block, kernel) in enumerate(zip(blocks, islice(cycle(several), len(blocks)), strict=True)):
        time, *space = stride if index == 0 else ONE
        early, rest = (1, time) if late else (time, 1)
        block.conv1 = changed_conv(block.conv1, kernel=kernel, stride=(early, 1, 1))
        middle: dict[str, Any] = {"kernel": kernel_b, "stride": (rest, *space), "dilation": dilation}
        if isinstance(block.conv2, nn.Sequential):
            _change_factorised(block.conv2, middle, groups)
        else:
            block.conv2 = changed_conv(block.conv2, groups=groups, **middle)
        if block.downsample is not None:
            block.downsample[0] = changed_conv(block.downsample[0], stride=(time, *space))


def _change_factorised(convs: nn.Sequential, triples: Mapping[str, Sequence[int]], groups: int) -> None:
    """Gives the convolution in time and the one in space their parts of each triple."""
    for place, axes in ((0, (True, False, False)), (3, (False, True, True))):
        parts: dict[str, Any] = {
            key: tuple(size if own else 1 for size, own in zip(triple, axes, strict=True))
            for key, triple in triples.items()
        }
        convs[place] = changed_conv(convs[place], groups=groups, **parts)  # type: ignore[arg-type]


def made_pool(kind: Build | None, kernel: Any, stride: Any, padding: Any) -> nn.Module:
    """Makes a pool; with None, a module that does nothing."""
    return nn.Identity() if kind is None else kind(kernel_size=kernel, stride=stride, padding=padding)


def changed_conv(
    old: nn.Conv3d,
    *,
    inputs: int | None = None,
    kernel: Any = None,
    stride: Any = ONE,
    dilation: Any = ONE,
    groups: int = 1,
) -> nn.Conv3d:
    """Returns a convolution with these numbers in place of `old`, which stays if its weights have the same shape."""
    inputs, kernel = inputs or old.in_channels, tuple(kernel or old.kernel_size)
    new = old
    if (inputs, kernel, groups) != (old.in_channels, tuple(old.kernel_size), old.groups):
        if inputs % groups or old.out_channels % groups:
            raise ValueError(f"stage_conv_b_num_groups: {groups} does not divide the {inputs} channels of a block")
        new = same_conv(inputs, old.out_channels, kernel, groups=groups)
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    padding = [kernel[0] // 2]
    padding += [wide if wide > 1 else size // 2 for size, wide in zip(kernel[1:], dilation[1:], strict=True)]
    new.stride, new.dilation, new.padding = tuple(stride), tuple(dilation), tuple(padding)
    return new


def replace(
    net: nn.Module,
    norm: Callable[[int], nn.Module] | None,
    activation: Callable[[], nn.Module] | None,
    *,
    eps: float | None = None,
    momentum: float | None = None,
) -> None:
    """Puts other norms and activations in the place of all batch norms and ReLUs; None leaves them out.

    eps, momentum: of the norms that have them; None leaves theirs.
    """
    for module in [*net.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm3d):
                new = child if norm is nn.BatchNorm3d else nn.Identity() if norm is None else norm(child.num_features)
                for key, value in (("eps", eps), ("momentum", momentum)):
                    if value is not None and hasattr(new, key):
                        setattr(new, key, value)
                module.add_module(name, new)
            elif isinstance(child, nn.ReLU) and activation is not nn.ReLU:
                module.add_module(name, nn.Identity() if activation is None else activation())
