"""Builds 3-D ResNets from stages as data: Slow, I3D, C2D, PyTorchVideo's networks, both pathways of SlowFast.

Keys follow torchvision's image ResNet (conv1, bn1, layer1.0.conv1 ... downsample.0, fc), so an image checkpoint differs
from ours only by the time axis of its kernels (see inflate.py). The named networks are in resnet3d_published.py; those
built on torchvision's video ResNet are in factorised_resnet.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Literal

from torch import Tensor, nn

from networks.clip.clip_head import PositionAverage, average_positions, classify_positions, pool_positions
from networks.clip.stem_conv import ALIGNED, StemConv3d
from networks.temporal.non_local import Instantiation, NonLocal
from networks.temporal.tpn import TPN

Triple = tuple[int, int, int]
Depth = Literal[50, 101, 152]
DEPTHS: dict[int, tuple[int, ...]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
Block = Literal["bottleneck", "depthwise", "factorised"]


@dataclass(frozen=True)
class Stages:
    """Describes a pathway as data. Tuples have one entry per stage (layer1 to layer4); kernels are (t, h, w).

    depths: number of blocks in each stage.
    width: channels of the stem; stage i has width * 4 * 2**i output channels.
    inner: output channels of a bottleneck divided by its inner channels.
    stem_kernel: kernel of the stem.
    stem_pool: add a 1x3x3 max pool of stride 2 behind the stem.
    stem_pool_padding: padding of that pool; with 0 it sees whole windows only.
    stem_stride_t, stem_pool_stride_t: strides in time of the stem and of its pool (mmaction2's I3D has 2 and 2).
    kernels_t: temporal kernel of each block's first convolution; a tuple is repeated over the blocks of its stage.
    temporal_blocks: number of first blocks of each stage that have this kernel, the others have 1 ("R101_50_50"); None
        means all blocks.
    pool_t: size of the temporal max pool behind layer1.
    strides_s, strides_t: strides in space and in time.
    block: `bottleneck` (t,1,1 / 1,3,3 / 1,1,1), `depthwise` (1,1,1 / 3,3,3 per channel / 1,1,1) or
        `factorised` (1,1,1 / 3,1,1 then 1,3,3 / 1,1,1).
    stride_1x1: put the spatial stride on a block's first convolution (Caffe's ResNet) instead of the second.
    non_local: blocks of each stage that a non-local block follows.
    instantiation, non_local_pool, non_local_pool_after: arguments of the non-local blocks, see `NonLocal`.
    lateral: channels that another pathway appends to the input of each stage.
    """

    depths: tuple[int, ...] = DEPTHS[50]
    width: int = 64
    inner: int = 4
    stem_kernel: Triple = (1, 7, 7)
    stem_pool: bool = True
    stem_pool_padding: int = 1
    stem_stride_t: int = 1
    stem_pool_stride_t: int = 1
    kernels_t: tuple[tuple[int, ...], ...] = ((1,), (1,), (3,), (3,))
    temporal_blocks: tuple[int, ...] | None = None
    pool_t: int = 1
    strides_s: tuple[int, ...] = (1, 2, 2, 2)
    strides_t: tuple[int, ...] = (1, 1, 1, 1)
    block: Block = "bottleneck"
    stride_1x1: bool = False
    non_local: tuple[tuple[int, ...], ...] = ((), (), (), ())
    instantiation: Instantiation = "softmax"
    non_local_pool: Triple = (1, 2, 2)
    non_local_pool_after: bool = False
    lateral: tuple[int, ...] = (0, 0, 0, 0)

    def block_kernels(self, stage: int) -> list[int]:
        """Returns the temporal kernel of each block of a stage.

        Raises: ValueError if temporal_blocks asks for more blocks than the stage has.
        """
        depth = self.depths[stage]
        temporal = depth if self.temporal_blocks is None else self.temporal_blocks[stage]
        if not 0 <= temporal <= depth:
            raise ValueError(f"temporal_blocks: asks for {temporal} blocks of layer{stage + 1}, which has {depth}")
        return list(islice(cycle(self.kernels_t[stage]), temporal)) + [1] * (depth - temporal)

    def channels(self, stage: int) -> int:
        """Returns the number of output channels of a stage; stage -1 is the stem."""
        return self.width if stage < 0 else self.width * 4 * 2**stage


def same_conv(inputs: int, outputs: int, kernel: Triple, *, stride: Triple = (1, 1, 1), groups: int = 1) -> nn.Conv3d:
    """Makes a convolution without bias that keeps the size at stride 1."""
    padding = tuple(size // 2 for size in kernel)
    conv = StemConv3d if inputs < ALIGNED else nn.Conv3d
    return conv(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)  # type: ignore[arg-type]


class Bottleneck(nn.Module):
    """Applies a residual block of three convolutions (He et al. 2016, arXiv 1512.03385), the first one temporal.

    The stride is on the second convolution; with `stride_1x1` its spatial part is on the first (Caffe's ResNet).
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel_t: int, stride: Triple, stages: Stages, attend: bool
    ) -> None:
        super().__init__()
        inner = outputs // stages.inner
        time, height, width = stride
        early, late = ((1, height, width), (time, 1, 1)) if stages.stride_1x1 else ((1, 1, 1), stride)
        self.conv1 = same_conv(inputs, inner, (kernel_t, 1, 1), stride=early)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = self._middle(inner, late, stages.block)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = same_conv(inner, outputs, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if inputs != outputs or max(stride) > 1:
            self.downsample = nn.Sequential(
                same_conv(inputs, outputs, (1, 1, 1), stride=stride), nn.BatchNorm3d(outputs)
            )
        self.non_local: nn.Module | None = None
        if attend:
            self.non_local = NonLocal(
                outputs,
                instantiation=stages.instantiation,
                pool=stages.non_local_pool,
                pool_after=stages.non_local_pool_after,
            )

    @staticmethod
    def _middle(channels: int, stride: Triple, block: Block) -> nn.Module:
        if block == "depthwise":
            return same_conv(channels, channels, (3, 3, 3), stride=stride, groups=channels)
        if block == "factorised":
            return nn.Sequential(
                same_conv(channels, channels, (3, 1, 1), stride=(stride[0], 1, 1)),
                nn.BatchNorm3d(channels),
                nn.ReLU(inplace=True),
                same_conv(channels, channels, (1, 3, 3), stride=(1, *stride[1:])),
            )
        return same_conv(channels, channels, (1, 3, 3), stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps features (B, inputs, T, H, W) to (B, outputs, T / stride, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return x if self.non_local is None else self.non_local(x)


class Pathway(nn.Module):
    """Computes features with a 3-D ResNet that has no head.

    ResNet3d runs the stem and all stages in sequence; SlowFast interleaves two pathways.
    """

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self.data = stages
        self.conv1 = same_conv(3, stages.width, stages.stem_kernel, stride=(stages.stem_stride_t, 2, 2))
        self.bn1 = nn.BatchNorm3d(stages.width)
        self.relu = nn.ReLU(inplace=True)
        side, every = stages.stem_pool_padding, stages.stem_pool_stride_t
        self.maxpool = nn.MaxPool3d((1, 3, 3), (every, 2, 2), (0, side, side)) if stages.stem_pool else nn.Identity()
        for stage in range(4):
            self.add_module(f"layer{stage + 1}", self._stage(stage))
        self.pool_t = nn.MaxPool3d((stages.pool_t, 1, 1)) if stages.pool_t > 1 else nn.Identity()

    def _stage(self, stage: int) -> nn.Sequential:
        data, outputs = self.data, self.data.channels(stage)
        inputs = data.channels(stage - 1) + data.lateral[stage]
        blocks = []
        for index, kernel_t in enumerate(data.block_kernels(stage)):
            stride = (data.strides_t[stage], data.strides_s[stage], data.strides_s[stage]) if index == 0 else (1, 1, 1)
            attend = index in data.non_local[stage]
            blocks.append(Bottleneck(inputs, outputs, kernel_t=kernel_t, stride=stride, stages=data, attend=attend))
            inputs = outputs
        return nn.Sequential(*blocks)

    def stem(self, x: Tensor) -> Tensor:
        """Maps clips (B, 3, T, H, W) to features (B, width, T / strides, H/4, W/4), or H/2 and W/2 without the pool."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return x

    def stage(self, stage: int, x: Tensor) -> Tensor:
        """Runs one stage, 0 to 3; the temporal pool belongs to stage 0."""
        x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.pool_t(x) if stage == 0 else x


def init_resnet3d(net: nn.Module, *, zero_init_residual: bool) -> None:
    """Initialises convolutions by Kaiming (fan out) and the classifier by N(0, 0.01).

    zero_init_residual: set the scale of the last norm of each block to zero.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in net.modules():
        if isinstance(module, NonLocal):
            module.reset_parameters()
        elif isinstance(module, Bottleneck) and zero_init_residual:
            nn.init.zeros_(module.bn3.weight)


class ResNet3d(Pathway):
    """Classifies clips (B, 3, T, H, W) with a 3-D ResNet: logits (B, K).

    The head averages windows of head_frames x crop_size/32 x crop_size/32 features and classifies each window. At the
    training crop there is one window; at a larger crop there are several.

    crop_size: side of the training crop; None lets the window cover all of the space.
    head_frames: frames of the window; None lets it cover all of the time.
    position_average: what evaluation averages over windows: `logits`, or `scores` (their softmax, as PySlowFast does).
        Training averages logits.
    zero_init_residual: set the scale of the last norm of each block to zero.

    Attributes:
        neck: what reads the last two stages in front of the head; None at first.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        num_class: int = 400,
        dropout: float = 0.5,
        crop_size: int | None = 224,
        head_frames: int | None = None,
        position_average: PositionAverage = "logits",
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__(stages)
        side = None if crop_size is None else max(1, crop_size // 32)
        self.head_window = (head_frames, side, side)
        self.position_average: PositionAverage = position_average
        self.out_channels = stages.channels(3)
        self.neck: TPN | None = None
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.fc = nn.Linear(self.out_channels, num_class)
        init_resnet3d(self, zero_init_residual=zero_init_residual)

    def forward_features(self, x: Tensor) -> Tensor:
        """Maps clips (B, 3, T, H, W) to features (B, out_channels, T', H/32, W/32)."""
        x = self.stem(x)
        for stage in range(3):
            x = self.stage(stage, x)
        last = self.stage(3, x)
        return last if self.neck is None else self.neck(x, last)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised RGB clips (B, 3, T, H, W) to logits (B, K)."""
        pooled = pool_positions(self.forward_features(x), self.head_window)
        logits = classify_positions(self.dropout(pooled), self.fc)
        return average_positions(logits, "logits" if self.training else self.position_average)


def stages_from(base: dict[str, Any], depth: int, **changes: Any) -> Stages:
    """Makes the stages of a ResNet of this depth from the fields in `base`, with changes; lists become tuples.

    Raises: ValueError if a change does not have one entry per stage.
    """
    for key in ("temporal_blocks", "non_local"):
        if changes.get(key) is not None and len(changes[key]) != 4:
            raise ValueError(f"{key}: has {len(changes[key])} entries; give one for each of the 4 stages")
    return Stages(**{"depths": DEPTHS[depth], **base, **{key: _frozen(value) for key, value in changes.items()}})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
