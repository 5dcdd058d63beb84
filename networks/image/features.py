"""Takes features of single frames out of any image network: one vector per frame, or all of its tokens."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from networks.image.backbones import TIMM

Pooling = Literal["cls", "mean", "both"]
TRIAL_SIZE = 128  # side of the frames with which a network is tried out; all networks of torchvision take it


class FrameFeatures:
    """Says which features of a network's frames are taken. It holds no weights: whoever uses it owns the network.

    net: the network without its classifier, as `image_backbone` returns it. width: that of its own features.
    name: how messages call it.
    reads: whether `vectors` will be called, or `tokens`.
    layer: the block whose output is taken, from 0, or from the end if negative; None: the last, with all that the
        network does behind it.
    pooling: what stands for a frame: its class token (`cls`), the mean over its other tokens or its map (`mean`), or
        `both`, one behind the other; None: what the network gives to its classifier; with a layer, the mean.
    registers: tokens in front of those that lie in the picture, the class token among them; None: as the network says.
    trial: frames and channels of the clip with which a network without a list of its blocks is tried out.

    Attributes:
        width: channels of a frame's vector, or of a token.

    Raises: ValueError that begins with the argument's name, for what the network does not have.
    """

    def __init__(
        self,
        net: nn.Module,
        width: int,
        name: str,
        *,
        reads: Literal["vectors", "tokens"],
        layer: int | None = None,
        pooling: Pooling | None = None,
        registers: int | None = None,
        trial: tuple[int, int] = (1, 3),
    ) -> None:
        about: Any = net
        self._name, self._layer, self._pooling, self._trial = name, layer, pooling, trial
        self._is_timm = name.startswith(TIMM)
        self._prefix = int(getattr(about, "num_prefix_tokens", None) or 0) if self._is_timm else 0
        self._skipped = self._prefix if registers is None else registers
        has_class_token = self._prefix and any(key.endswith("cls_token") for key, _ in net.named_parameters())
        if pooling in ("cls", "both") and not has_class_token:
            raise ValueError(f"pooling: {name} has no class token; take `mean`, or leave it out")
        if registers is not None and not self._prefix:
            raise ValueError(f"registers: {name} has no tokens in front of those of the picture; leave it out")
        self._own = reads == "vectors" and pooling is None and layer is None
        self._part = "" if self._own or self._is_timm else _last_map(net, name)
        if self._own:
            self.width = width
            return
        self.width = self._channels(about, layer)
        if reads == "vectors" and pooling == "both":
            self.width *= 2

    def _channels(self, net: Any, layer: int | None) -> int:
        if layer is None:
            return int(net.num_features) if self._is_timm else _channels_of_map(net, self._part, self._trial)
        blocks = getattr(net, "feature_info", None)
        if not self._is_timm or not blocks or not hasattr(net, "forward_intermediates"):
            raise ValueError(f"layer: {self._name} does not name its blocks; leave it out, or take a timm/ backbone")
        if not -len(blocks) <= layer < len(blocks):
            raise ValueError(f"layer: {self._name} has the blocks 0 to {len(blocks) - 1}, and no {layer}")
        return int(blocks[layer]["num_chs"])

    def vectors(self, net: nn.Module, frames: Tensor) -> Tensor:
        """Maps frames (N, C, H, W) to vectors (N, width)."""
        if self._own:
            out: Tensor = net(frames)
            return out
        prefix, tokens = self._split(net, frames)
        if self._pooling == "cls":
            return prefix[:, 0]
        mean = tokens.mean(1)
        return torch.cat([prefix[:, 0], mean], dim=1) if self._pooling == "both" else mean

    def tokens(self, net: nn.Module, frames: Tensor) -> Tensor:
        """Maps frames (N, C, H, W) to the tokens that lie in the picture, (N, L, width)."""
        return self._split(net, frames)[1]

    def _split(self, net: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the tokens in front, (N, P, D), and those of the picture, (N, L, D)."""
        if self._part:
            return frames[:, :0], caught(net, self._part, frames).flatten(2).transpose(1, 2)
        if self._layer is None:
            found, front = net.forward_features(frames), frames[:, :0]
            if found.dim() == 3:
                front = found[:, : self._prefix]
        else:
            also = {"return_prefix_tokens": True} if self._prefix else {}
            places = [self._layer % len(net.feature_info)]
            found = net.forward_intermediates(frames, indices=places, norm=True, intermediates_only=True, **also)[0]
            found, front = found if self._prefix else (found, frames[:, :0])
            if self._prefix:  # as they are without a layer: in a row
                found = torch.cat([front, found.flatten(2).transpose(1, 2)], dim=1)
        if found.dim() == 4:
            is_last = self._layer is None and getattr(net, "output_fmt", "NCHW") == "NHWC"
            found = found.flatten(1, 2) if is_last else found.flatten(2).transpose(1, 2)
        return front, found[:, self._skipped :]


def _last_map(net: nn.Module, name: str) -> str:
    """Returns the part of a network of torchvision that gives its last map. Raises: ValueError if it has no map."""
    if isinstance(net, ResNet):
        return "layer4"  # TDN's has another part behind it
    attends = any("attention" in type(part).__name__.lower() for part in net.modules())
    found = [key for key, part in net.named_children() if any(isinstance(layer, nn.Conv2d) for layer in part.modules())]
    if attends or not found:
        raise ValueError(f"backbone: the tokens of {name} cannot be read; take a network of timm: timm/NAME")
    return found[-1]


@torch.no_grad()
def _channels_of_map(net: nn.Module, part: str, trial: tuple[int, int]) -> int:
    frames = torch.zeros(*trial, TRIAL_SIZE, TRIAL_SIZE, device=next(net.parameters()).device)
    return int(caught(net.eval(), part, frames).shape[1])


def caught(net: nn.Module, part: str, given: Tensor) -> Tensor:
    """Runs a network and returns what one of its parts gives."""
    found: list[Tensor] = []
    handle = net.get_submodule(part).register_forward_hook(lambda module, inputs, output: found.append(output))
    try:
        net(given)
    finally:
        handle.remove()
    return found[0]
