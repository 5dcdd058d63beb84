"""Lists the layouts of published checkpoints: one file per project, recognised by content, translated by rules.

`LAYOUTS` is tried in order, and the first that recognises a file translates it. networks/checkpoints/file.py reads the
files, networks/checkpoints/load.py fills models. A new project is one file and one line here.
"""

from __future__ import annotations

from networks.checkpoints.layouts import (
    clip,
    detection,
    efficientnet,
    hiera,
    images,
    mit_tsm,
    mmaction2_2d,
    mmaction2_3d,
    mvit,
    ours,
    pyslowfast,
    pytorchvideo,
    resnet3d_333,
    swin,
    torchvision_video,
    transformers_vit,
    uniformer,
    video_vit,
    vmz,
)
from networks.checkpoints.layouts.base import Layout

LAYOUTS: tuple[Layout, ...] = (
    *uniformer.LAYOUTS,  # its second network has all entries under `backbone.`, like some of ours
    *clip.LAYOUTS,
    hiera.LAYOUT,
    *video_vit.LAYOUTS,  # whose names begin as those of ours may
    *transformers_vit.LAYOUTS,
    ours.LAYOUT,
    mit_tsm.LAYOUT,
    mmaction2_2d.LAYOUT,
    mmaction2_3d.LAYOUT,
    *mvit.LAYOUTS,
    swin.LAYOUT,
    pyslowfast.LAYOUT,
    pytorchvideo.LAYOUT,
    detection.LAYOUT,
    vmz.LAYOUT,
    torchvision_video.LAYOUT,
    resnet3d_333.LAYOUT,
    efficientnet.LAYOUT,
    images.LAYOUT,
)
