"""Offers PyTorchVideo's data sets and clip samplers under its own names: dictionaries of clips for a DataLoader.

clip_samplers.py: which seconds a clip covers. videos.py: which frames these are. clip_dataset.py: the iteration.
encoded.py and pictures.py: the data sets. What happens to clips then: clip_transforms. A run of main.py uses
VideoDataset instead, with the same samplers.
"""

from datasets.labeled_videos.clip_dataset import ExactDistributedSampler
from datasets.labeled_videos.clip_samplers import (
    ClipInfo,
    ClipInfoList,
    ClipSampler,
    ConstantClipsPerVideoSampler,
    RandomClipSampler,
    RandomMultiClipSampler,
    RandomMultiClipSamplerTruncateFromStart,
    UniformClipSampler,
    UniformClipSamplerTruncateFromStart,
    make_clip_sampler,
)
from datasets.labeled_videos.encoded import (
    Hmdb51,
    Kinetics,
    LabeledVideoDataset,
    LabeledVideoPaths,
    Ucf101,
    labeled_video_dataset,
)
from datasets.labeled_videos.pictures import Charades, SSv2

__all__ = [
    "Charades",
    "ClipInfo",
    "ClipInfoList",
    "ClipSampler",
    "ConstantClipsPerVideoSampler",
    "ExactDistributedSampler",
    "Hmdb51",
    "Kinetics",
    "LabeledVideoDataset",
    "LabeledVideoPaths",
    "RandomClipSampler",
    "RandomMultiClipSampler",
    "RandomMultiClipSamplerTruncateFromStart",
    "SSv2",
    "Ucf101",
    "UniformClipSampler",
    "UniformClipSamplerTruncateFromStart",
    "labeled_video_dataset",
    "make_clip_sampler",
]
