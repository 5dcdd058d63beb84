"""Video clips (`type: slowfast`, `clip3d`, `classify`): T frames at a stride, from somewhere in the video."""

from __future__ import annotations

from datasets.frame_dataset import FrameDataset


class ClipDataset(FrameDataset):
    """Windows of T frames, frame_stride apart (Feichtenhofer et al. 2019, arXiv 1812.03982, sec. 4); any rule fits."""
