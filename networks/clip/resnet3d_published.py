"""The published single-pathway 3-D ResNets as rows of data, each a constructor by the name the field uses.

Every constructor takes the same keyword arguments (see `ZooEntry.build`), which change what its row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from networks.clip.resnet3d import ResNet3d, stages_from

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
class ZooEntry:
    """A named network: where it comes from, its stages as data, its usual clip and its head's defaults."""

    source: str
    depth: int
    stages: dict[str, Any]
    frames: int = 8
    head_frames: int | None = None
    dropout: float = 0.5

    def build(
        self,
        num_class: int = 400,
        *,
        dropout: float | None = None,
        crop_size: int | None = 224,
        head_frames: int | None = None,
        position_average: str = "logits",
        zero_init_residual: bool = True,
        depth: int | None = None,
        temporal_blocks: Sequence[int] | None = None,
        pool_t: int | None = None,
        stem_stride_t: int | None = None,
        stem_pool_stride_t: int | None = None,
        stem_pool_padding: int | None = None,
        stride_1x1: bool = False,
        non_local: Sequence[Sequence[int]] | None = None,
        instantiation: str | None = None,
        non_local_pool: Sequence[int] | None = None,
        non_local_pool_after: bool | None = None,
    ) -> ResNet3d:
        """Builds the network with random weights.

        None leaves what the row says. `crop_size` and `head_frames` size the head's window (see `ResNet3d`);
        `temporal_blocks`, `pool_t`, `stride_1x1`, those of the stem and of the non-local blocks are fields of `Stages`.
        Another `depth` keeps the rest of the row.
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

ZOO: dict[str, ZooEntry] = {
    "slow_r50": ZooEntry(f"Slow pathway alone, {_SLOWFAST}", 50, {}),
    "slow_r101": ZooEntry(f"Slow pathway alone, {_SLOWFAST}", 101, {}),
    "slow_nln_r50": ZooEntry(f"Slow with non-local blocks, {_NLN}", 50, _DOT),
    "i3d_r50": ZooEntry(f"ResNet I3D, {_NLN}", 50, I3D),
    "i3d_r101": ZooEntry(f"ResNet I3D, {_NLN}", 101, I3D),
    "i3d_nln_r50": ZooEntry(f"ResNet I3D with non-local blocks, {_NLN}", 50, {**I3D, **_SOFTMAX}),
    "c2d_r50": ZooEntry(f"C2D, temporal pooling only, {_NLN}", 50, C2D),
    "c2d_nopool_r50": ZooEntry("C2D without temporal pooling: no layer sees two frames", 50, {**C2D, "pool_t": 1}),
    "c2d_nln_r50": ZooEntry(f"C2D with non-local blocks, {_NLN}", 50, {**C2D, **_SOFTMAX}),
    "create_resnet_r50": ZooEntry(
        "PyTorchVideo's create_resnet with its defaults, as its Kinetics tutorial uses it",
        50,
        {"stem_kernel": (3, 7, 7)},
        head_frames=4,
    ),
    "csn_r101": ZooEntry(
        "Channel-separated network of PyTorchVideo, Tran et al. 2019, arXiv 1904.02811",
        101,
        CSN,
        frames=32,
        head_frames=4,
        dropout=0.0,
    ),
    "r2plus1d_r50": ZooEntry(
        "R(2+1)D-50 of PyTorchVideo, temporal convolution first; Tran et al. 2018, arXiv 1711.11248",
        50,
        R2PLUS1D,
        frames=16,
        head_frames=4,
    ),
}

BUILDERS = {name: entry.build for name, entry in ZOO.items()}
