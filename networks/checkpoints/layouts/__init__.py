"""How published checkpoints name their weights: one file per source, recognised by content, translated by rule.

`LAYOUTS` is tried in order and the first that recognises a file translates it. Reading files and filling models:
networks/checkpoints/load.py. A new source is one file and one line here.
"""

from __future__ import annotations

from networks.checkpoints.layouts import (
    images,
    mit_tsm,
    mmaction2_2d,
    mmaction2_3d,
    ours,
    pyslowfast,
    pytorchvideo,
    resnet3d_full,
    torchvision_video,
    vmz,
)
from networks.checkpoints.layouts.base import Layout

LAYOUTS: tuple[Layout, ...] = (
    ours.LAYOUT,
    mit_tsm.LAYOUT,
    mmaction2_2d.LAYOUT,
    mmaction2_3d.LAYOUT,
    pyslowfast.LAYOUT,
    pytorchvideo.LAYOUT,
    vmz.LAYOUT,
    torchvision_video.LAYOUT,
    resnet3d_full.LAYOUT,
    images.LAYOUT,
)
