"""Offers PyTorchVideo's transforms under its own names and arguments, for the dictionaries of labeled_videos.py.

modules.py: nn.Modules over one sample or clip (C, T, H, W). functional.py: the same as functions. boxes.py: functions
that move boxes along. augment.py: RandAugment and AugMix, over (T, C, H, W). mix.py: mix-up and cut-mix of a batch.
recipe.py: create_video_transform. torchvision's crops and flips fit in between, because they work on the last two
axes. Runs of main.py use utils/transforms/cut_clip.py.
"""

from datasets.clip_transforms.augment import AugMix, RandAugment
from datasets.clip_transforms.mix import CutMix, MixUp, MixVideo
from datasets.clip_transforms.modules import (
    ApplyTransformToKey,
    ConvertFloatToUint8,
    ConvertUint8ToFloat,
    Div255,
    MoveChannelFront,
    MoveChannelRear,
    Normalize,
    OpSampler,
    Permute,
    RandomResizedCrop,
    RandomShortSideScale,
    RemoveKey,
    ShortSideScale,
    UniformCropVideo,
    UniformTemporalSubsample,
    UniformTemporalSubsampleRepeated,
)
from datasets.clip_transforms.recipe import create_video_transform

__all__ = [
    "ApplyTransformToKey",
    "AugMix",
    "ConvertFloatToUint8",
    "ConvertUint8ToFloat",
    "CutMix",
    "Div255",
    "MixUp",
    "MixVideo",
    "MoveChannelFront",
    "MoveChannelRear",
    "Normalize",
    "OpSampler",
    "Permute",
    "RandAugment",
    "RandomResizedCrop",
    "RandomShortSideScale",
    "RemoveKey",
    "ShortSideScale",
    "UniformCropVideo",
    "UniformTemporalSubsample",
    "UniformTemporalSubsampleRepeated",
    "create_video_transform",
]
