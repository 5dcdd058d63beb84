"""Implements adapters that make a frozen image transformer of timm see time: ST-Adapter and AIM.

They stand in the blocks of `VisionTransformer` (CLIP, DINOv2, SigLIP) and of `Eva` (DINOv3, PE).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import gelu
from torchvision.ops import StochasticDepth

from networks.temporal.module import Spot, TemporalModule, correlate_in_time
from networks.temporal.shift import call_before

BLOCKS = {("timm.models.vision_transformer", "Block"), ("timm.models.eva", "EvaBlock")}
PARTS = ("norm_pre", "norm", "head")  # of both networks of timm, around their blocks
Half = Literal["attention", "mlp"]


def transformer_blocks(net: nn.Module, name: str) -> dict[str, int]:
    """Returns the blocks of a vision transformer of timm by their paths, each with its width.

    name: how messages call the network.
    Raises: ValueError for another network.
    """
    blocks = getattr(net, "blocks", None)
    known = isinstance(blocks, nn.Sequential | nn.ModuleList) and all(_is_block(block) for block in blocks)
    if not known or not all(isinstance(getattr(net, part, None), nn.Module) for part in PARTS):
        raise ValueError(
            f"name: this module stands in the blocks of timm's vision transformers (CLIP, DINOv2, DINOv3, SigLIP, "
            f"...), which {name} does not have"
        )
    items: Any = blocks
    return {f"blocks.{index}": len(block.norm1.weight) for index, block in enumerate(items)}


def _is_block(block: nn.Module) -> bool:
    return any((kind.__module__, kind.__name__) in BLOCKS for kind in type(block).__mro__)


class FrameMean(TemporalModule):
    """Averages the features of a clip's frames, after which a clip has one row: (B*T, ...) -> (B, ...)."""

    takes_tokens: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        """Maps features of frames (B*T, ...) to those of clips (B, ...)."""
        return x.unflatten(0, (-1, self.num_frames)).mean(1)


class FramePlaces(TemporalModule):
    """Adds a learned vector for each frame of a clip to all its tokens; the vectors begin at zero."""

    takes_tokens: ClassVar[bool] = True
    any_length = False
    looks_ahead: ClassVar[str] = "which belongs to AIM, whose attention over time sees all frames of a clip"

    def __init__(self, channels: int, *, num_frames: int, channel_dim: int = -1) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        self.embedding = nn.Embedding(num_frames, channels)
        self.embedding.decays = False  # type: ignore[assignment]  # with no_wd, like other tables of places
        nn.init.zeros_(self.embedding.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B*T, L, C) to the same shape."""
        return (x.unflatten(0, (-1, self.num_frames)) + self.embedding.weight[:, None]).flatten(0, 1)


class STAdapter(TemporalModule):
    """Lets the patches of frames see those at the same place of their neighbours (Pan et al. 2022, arXiv 2206.13559).

    In front of the halves of a block, patches pass a narrow layer, a convolution over three frames for each channel,
    and a layer back, and are added to what they were. Class tokens and registers stay. The frames are averaged in front
    of the transformer's last norm.

    width: channels of the narrow layer.
    halves: halves of a block that get an adapter in front of them: `mlp`, `attention` or both.
    """

    spot: ClassVar[Spot] = "transformer"
    takes_tokens: ClassVar[bool] = True
    looks_ahead: ClassVar[str] = "whose convolution over time sees the frame behind each, and which averages all frames"

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = -1,
        width: PositiveInt = 384,
        halves: Annotated[Sequence[Half], Field(min_length=1)] = ("mlp",),
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        self.attention = OverTime(channels, width) if "attention" in halves else None
        self.mlp = OverTime(channels, width) if "mlp" in halves else None
        self.prefix = 0

    @classmethod
    def attach(cls, module: nn.Module, name: str) -> None:
        """Makes a block run with the adapters in it."""
        kind: Any = type(module)
        module.__class__ = _mixed(kind, _with_st_adapter)

    @classmethod
    def complete(cls, net: nn.Module, name: str, *, num_frames: int, **_: Any) -> None:
        """Averages the frames in front of the last norm, and tells the adapters which tokens are no patches."""
        for part in net.modules():
            if isinstance(part, cls):
                part.prefix = int(net.num_prefix_tokens)  # type: ignore[arg-type]
        _put_before(net, "norm", FrameMean(int(net.num_features), num_frames=num_frames))  # type: ignore[arg-type]

    def before(self, half: nn.Module | None, x: Tensor) -> Tensor:
        """Adds what an adapter sees to the patches among tokens (B*T, L, C); without an adapter they stay."""
        if half is None:
            return x
        rest, patches = x[:, : self.prefix], x[:, self.prefix :]
        return torch.cat([rest, patches + half(patches, self.num_frames)], 1)


class OverTime(nn.Module):
    """Maps patches through a narrow layer with a convolution over time; it begins as zero."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, width), nn.Linear(width, channels)
        self.time = nn.Conv1d(width, width, 3, padding=1, groups=width)
        values: Any = (self.down.bias, self.up.bias, *self.time.parameters())
        for value in values:
            nn.init.zeros_(value)

    def forward(self, patches: Tensor, num_frames: int) -> Tensor:
        """Maps patches (B*T, L, C) to the same shape."""
        narrow = self.down(patches).unflatten(0, (-1, num_frames))
        taps, bias = self.time.weight[:, 0].unbind(-1), self.time.bias
        assert bias is not None
        out: Tensor = self.up((correlate_in_time(narrow, *taps) + bias).flatten(0, 1))
        return out


class AIM(TemporalModule):
    """Uses the attention of each block over time too, with adapters (Yang et al. 2023, arXiv 2302.03024).

    First each place attends over the frames, by the block's own weights, and an adapter decides what of it is added;
    then each frame attends over its places, which an adapter changes; a third one stands beside the MLP. Learned
    vectors tell the frames apart. The features of frames are averaged behind the transformer. The paper trains its last
    norm too, and `freeze: [base]` does so.

    squeeze: factor by which the adapters have fewer channels inside.
    scale: factor of the adapter beside the MLP: 0.5 for Kinetics and Diving48, 1 for Something-Something.
    before_time: whether an adapter stands in front of the attention over time too, as for Something-Something.
    drop_path: probability of leaving out, in training, what the last block's temporal attention and the adapter beside
        its MLP add; earlier blocks have less.
    """

    spot: ClassVar[Spot] = "transformer"
    takes_tokens: ClassVar[bool] = True
    trains: ClassVar[tuple[str, ...]] = ("norm", "fc_norm")  # timm's last norm, in front of its pooling or behind it
    looks_ahead: ClassVar[str] = "whose attention over time sees all frames of a clip"

    def __init__(
        self,
        channels: int,
        *,
        num_frames: int,
        channel_dim: int = -1,
        squeeze: PositiveInt = 4,
        scale: float = 0.5,
        before_time: bool = False,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    ) -> None:
        super().__init__(channels, num_frames=num_frames, channel_dim=channel_dim)
        if squeeze > channels:
            raise ValueError(f"squeeze: {squeeze} is more than the {channels} channels of a token")
        width = channels // squeeze
        self.before_time = Adapter(channels, width) if before_time else None
        self.time, self.space, self.mlp = (Adapter(channels, width) for _ in range(3))
        self.scale = scale
        self.drop_path = StochasticDepth(drop_path, "row")

    @classmethod
    def attach(cls, module: nn.Module, name: str) -> None:
        """Makes a block run with the adapters in it."""
        kind: Any = type(module)
        module.__class__ = _mixed(kind, _with_aim)

    @classmethod
    def complete(cls, net: nn.Module, name: str, *, num_frames: int, **_: Any) -> None:
        """Adds the vectors of the frames, the average behind the transformer, and smaller drops in earlier blocks."""
        width = int(net.num_features)  # type: ignore[arg-type]
        parts = [part for part in net.modules() if isinstance(part, cls)]
        for index, part in enumerate(parts):
            part.drop_path.p *= index / max(len(parts) - 1, 1)
        _put_before(net, "norm_pre", FramePlaces(parts[0].channels, num_frames=num_frames))
        _put_before(net, "head", FrameMean(width, num_frames=num_frames))

    def dropped(self, x: Tensor) -> Tensor:
        """Leaves out what would be added to tokens (B*T, L, C), of whole clips at random in training."""
        if not self.training:
            return x
        kept: Tensor = self.drop_path(x.unflatten(0, (-1, self.num_frames)))
        return kept.flatten(0, 1)

    def by_place(self, x: Tensor) -> Tensor:
        """Turns tokens of frames (B*T, L, C) into those of places (B*L, T, C)."""
        return x.unflatten(0, (-1, self.num_frames)).transpose(1, 2).flatten(0, 1)

    def by_frame(self, x: Tensor, places: int) -> Tensor:
        """Turns tokens of places (B*L, T, C) back into those of frames (B*T, L, C)."""
        return x.unflatten(0, (-1, places)).transpose(1, 2).flatten(0, 1)


class Adapter(nn.Module):
    """Maps tokens through a narrow layer; it begins as zero."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, width), nn.Linear(width, channels)
        for value in self.up.parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., C) to the same shape."""
        out: Tensor = self.up(gelu(self.down(x)))
        return out


def _put_before(net: nn.Module, path: str, part: TemporalModule) -> None:
    """Puts a part in front of a module of a network, as its child."""
    module = net.get_submodule(path)
    module.add_module("temporal", part)
    module.register_forward_pre_hook(call_before)


def _scaled(block: Any, half: int, x: Tensor) -> Tensor:
    """Multiplies what a half of a block gives by its layer scale, if it has one."""
    if hasattr(block, "ls1"):
        out: Tensor = (block.ls1 if half == 1 else block.ls2)(x)
        return out
    factor = block.gamma_1 if half == 1 else block.gamma_2
    return x if factor is None else factor * x


def _with_st_adapter(block: Any, x: Tensor, **given: Any) -> Tensor:
    """Maps tokens (B*T, L, C) to those behind the block. given: what the block's own attention takes."""
    adapters: STAdapter = block.temporal
    x = adapters.before(adapters.attention, x)
    x = x + block.drop_path1(_scaled(block, 1, block.attn(block.norm1(x), **given)))
    x = adapters.before(adapters.mlp, x)
    out: Tensor = x + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(x))))
    return out


def _with_aim(block: Any, x: Tensor, **given: Any) -> Tensor:
    """Maps tokens (B*T, L, C) to those behind the block. given: what its own attention takes, which is over places."""
    adapters: AIM = block.temporal
    over_time = adapters.by_place(block.norm1(x))
    if adapters.before_time is not None:
        over_time = over_time + adapters.before_time(over_time)
    over_time = adapters.by_frame(adapters.time(block.attn(over_time)), x.shape[1])
    x = x + adapters.dropped(over_time)
    seen = _scaled(block, 1, block.attn(block.norm1(x), **given))
    x = x + block.drop_path1(seen + adapters.space(seen))
    normed = block.norm2(x)
    beside = adapters.dropped(adapters.scale * adapters.mlp(normed))
    out: Tensor = x + block.drop_path2(_scaled(block, 2, block.mlp(normed))) + beside
    return out


@functools.cache
def _mixed(kind: Any, forward: Any) -> Any:
    """Returns the class of blocks that run as `forward` says."""
    return type(kind.__name__, (kind,), {"forward": forward})
