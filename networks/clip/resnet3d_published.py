"""Lists the published 3-D ResNets with one pathway, as rows of data under the names that the field uses.

Every row is a constructor. All of them take the same keyword arguments (see `ResNet3dEntry.build`), which change what
the row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import PositiveInt

from networks.clip.clip_head import PositionAverage
from networks.clip.resnet3d import Depth, ResNet3d, stages_from
from networks.temporal.non_local import Instantiation
from utils.config.build import checked

NON_LOCAL_R50 = ((), (1, 3), (1, 3, 5), ())

C2D = {"kernels_t": ((1,), (1,), (1,), (1,)), "pool_t": 2}
I3D = {"stem_kernel": (5, 7, 7), "kernels_t": ((3,), (3, 1), (3, 1), (1, 3)), "pool_t": 2}
CSN = {
    "stem_kernel": (3, 7, 7),
    "kernels_t": ((1,), (1,), (1,), (1,)),
    "block": "depthwise",
    "strides_t": (1, 2, 2, 2),
}
R2PLUS1D = {
    "stem_pool": False,
    "kernels_t": ((1,), (1,), (1,), (1,)),
    "block": "factorised",
    "strides_s": (2, 2, 2, 2),
    "strides_t": (1, 1, 2, 2),
}


@dataclass(frozen=True)
class ResNet3dEntry:
    """Describes a named 3-D ResNet as data.

    source: project and paper that it comes from.
    depth: 50, 101 or 152 layers.
    stages: fields of `Stages` that differ from their defaults.
    frames: frames of its usual clip.
    head_frames, dropout: defaults of its head, see `ResNet3d`.
    """

    source: str
    depth: int
    stages: dict[str, Any]
    frames: int = 8
    head_frames: int | None = None
    dropout: float = 0.5

    @checked
    def build(
        self,
        num_class: PositiveInt = 400,
        *,
        dropout: float | None = None,
        crop_size: PositiveInt | None = 224,
        head_frames: PositiveInt | None = None,
        position_average: PositionAverage = "logits",
        zero_init_residual: bool = True,
        depth: Depth | None = None,
        temporal_blocks: Sequence[int] | None = None,
        pool_t: int | None = None,
        stem_stride_t: int | None = None,
        stem_pool_stride_t: int | None = None,
        stem_pool_padding: int | None = None,
        stride_1x1: bool = False,
        non_local: Sequence[Sequence[int]] | None = None,
        instantiation: Instantiation | None = None,
        non_local_pool: Sequence[int] | None = None,
        non_local_pool_after: bool | None = None,
    ) -> ResNet3d:
        """Builds the network with random weights: clips (B, 3, T, H, W) -> logits (B, num_class).

        None leaves what the row says. `crop_size` and `head_frames` set the size of the head's window (see `ResNet3d`).
        `temporal_blocks`, `pool_t`, `stride_1x1` and the arguments of the stem and the non-local blocks are fields of
        `Stages`. Another `depth` keeps the rest of the row.
        """
        changes = {
            "temporal_blocks": temporal_blocks,
            "pool_t": pool_t,
            "stem_stride_t": stem_stride_t,
            "stem_pool_stride_t": stem_pool_stride_t,
            "stem_pool_padding": stem_pool_padding,
            "stride_1x1": stride_1x1,
            "non_local": non_local,
            "instantiation": instantiation,
            "non_local_pool": non_local_pool,
            "non_local_pool_after": non_local_pool_after,
        }
        changes = {key: value for key, value in changes.items() if value is not None}
        return ResNet3d(
            stages_from(self.stages, depth or self.depth, **changes),
            num_class=num_class,
            dropout=self.dropout if dropout is None else dropout,
            crop_size=crop_size,
            head_frames=head_frames or self.head_frames,
            position_average=position_average,
            zero_init_residual=zero_init_residual,
        )


_SLOWFAST = "Feichtenhofer et al. 2019, arXiv 1812.03982"
_NLN = "Wang et al. 2018, arXiv 1711.07971"
_DOT = {"non_local": NON_LOCAL_R50, "instantiation": "dot_product"}
_SOFTMAX = {"non_local": NON_LOCAL_R50, "instantiation": "softmax"}

RESNETS_3D: dict[str, ResNet3dEntry] = {
    "slow_r50": ResNet3dEntry(f"Slow pathway alone, {_SLOWFAST}", 50, {}),
    "slow_r101": ResNet3dEntry(f"Slow pathway alone, {_SLOWFAST}", 101, {}),
    "slow_nln_r50": ResNet3dEntry(f"Slow with non-local blocks, {_NLN}", 50, _DOT),
    "i3d_r50": ResNet3dEntry(f"ResNet I3D, {_NLN}", 50, I3D),
    "i3d_r101": ResNet3dEntry(f"ResNet I3D, {_NLN}", 101, I3D),
    "i3d_nln_r50": ResNet3dEntry(f"ResNet I3D with non-local blocks, {_NLN}", 50, {**I3D, **_SOFTMAX}),
    "c2d_r50": ResNet3dEntry(f"C2D, temporal pooling only, {_NLN}", 50, C2D),
    "c2d_nopool_r50": ResNet3dEntry("C2D without temporal pooling: no layer sees two frames", 50, {**C2D, "pool_t": 1}),
    "c2d_nln_r50": ResNet3dEntry(f"C2D with non-local blocks, {_NLN}", 50, {**C2D, **_SOFTMAX}),
    "create_resnet_r50": ResNet3dEntry(
        "PyTorchVideo's create_resnet with its defaults, as its Kinetics tutorial uses it",
        50,
        {"stem_kernel": (3, 7, 7)},
        head_frames=4,
    ),
    "csn_r101": ResNet3dEntry(
        "Channel-separated network of PyTorchVideo, Tran et al. 2019, arXiv 1904.02811",
        101,
        CSN,
        frames=32,
        head_frames=4,
        dropout=0.0,
    ),
    "r2plus1d_r50": ResNet3dEntry(
        "R(2+1)D-50 of PyTorchVideo, temporal convolution first; Tran et al. 2018, arXiv 1711.11248",
        50,
        R2PLUS1D,
        frames=16,
        head_frames=4,
    ),
}

BUILDERS = {name: entry.build for name, entry in RESNETS_3D.items()}
