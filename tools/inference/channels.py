"""Finds on which axis of an answer its channels lie: convolutions have them in front, layers over tokens last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

FIRST, LAST = 1, -1
VECTORS = 2  # axes of an answer that has channels alone


@contextmanager
def channel_axes(network: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[dict[str, int | None]]:
    """Notes during a pass on which axis of the answer of each of `layers` the channels lie: FIRST, LAST or None.

    The last layer that said how many channels it makes, inside of the one in question or before it, tells this: an
    answer has as many on the same axis or, behind a permutation, on the other one. Where it has as many on neither
    axis, it keeps the order of a convolution, and nothing is known (None) behind a layer over tokens. Nor is it where
    an answer behind such a layer has as many on both axes, as where a picture is as wide as it has channels.
    """
    found: dict[str, int | None] = {}
    said: list[tuple[int, int, Tensor | None]] = [(0, FIRST, None)]  # how many channels, on which axis, of which answer

    def listen(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() > VECTORS:
            channels, usual = _made(module)
            if (axis := _axis(output, channels, usual)) is not None:
                said[0] = channels, axis, output

    def note(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                channels, axis, made = said[0]
                may_be_either = axis == LAST and output is not made and output.shape[1] == output.shape[-1] == channels
                known = None if may_be_either else _axis(output, channels, axis)
                found[name] = FIRST if output.dim() <= VECTORS else known

        return keep

    handles = [module.register_forward_hook(listen) for module in network.modules() if _made(module)[0]]
    handles += [module.register_forward_hook(note(name)) for name, module in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _made(module: nn.Module) -> tuple[int, int]:
    """Returns how many channels a layer makes, 0 if it does not say so, and on which axis its kind has them."""
    match module:
        case nn.Linear():
            return module.out_features, LAST
        case nn.LayerNorm():
            return module.normalized_shape[-1], FIRST if type(module).__name__.endswith("2d") else LAST
        case _ConvNd():
            return module.out_channels, FIRST
        case _BatchNorm():
            return module.num_features, FIRST
        case nn.GroupNorm():
            return module.num_channels, FIRST
    return 0, FIRST


def _axis(output: Tensor, channels: int, usual: int) -> int | None:
    for axis in (usual, -usual):
        if output.shape[axis] == channels:
            return axis
    return FIRST if usual == FIRST else None
