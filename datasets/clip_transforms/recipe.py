"""Puts PyTorchVideo's usual transforms together: `create_video_transform`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import PositiveInt, SkipValidation
from torch import nn
from torchvision.transforms import CenterCrop, Compose, RandomCrop, RandomHorizontalFlip

from datasets.clip_transforms.augment import AugMix, RandAugment
from datasets.clip_transforms.modules import (
    ApplyTransformToKey,
    ConvertUint8ToFloat,
    Normalize,
    Permute,
    RandomResizedCrop,
    RandomShortSideScale,
    RemoveKey,
    Share,
    ShortSideScale,
    UniformTemporalSubsample,
)
from utils.config.build import ArgumentError, call, checked

_AUGMENTATIONS: dict[str, Callable[..., nn.Module]] = {"randaug": RandAugment, "augmix": AugMix}
_INCEPTION = {"scale": (0.08, 1.0), "aspect_ratio": (3 / 4, 4 / 3)}
_SWAP = Permute((1, 0, 2, 3))  # C,T,H,W <-> T,C,H,W


@checked
def create_video_transform(
    mode: str,
    video_key: str | None = None,
    remove_key: Sequence[str] | None = None,
    num_samples: PositiveInt | None = 8,
    convert_to_float: bool = True,
    video_mean: Sequence[float] = (0.45, 0.45, 0.45),
    video_std: Sequence[float] = (0.225, 0.225, 0.225),
    min_size: PositiveInt = 256,
    max_size: PositiveInt = 320,
    crop_size: SkipValidation[int | tuple[int, int]] = 224,
    horizontal_flip_prob: Share = 0.5,
    aug_type: str = "default",
    aug_paras: Mapping[str, Any] | None = None,
    random_resized_crop_paras: Mapping[str, Any] | None = None,
) -> Compose:
    """Makes the transform of clips (C, T, H, W) for training ("train") or for testing ("val").

    Frames are subsampled (unless `num_samples` is None), augmented, converted to float, normalised, scaled and cropped;
    in training at random, and mirrored.

    video_key: transform this entry of a sample in place of a clip; remove_key: entries that are taken out of it.
    convert_to_float: the clip is uint8; those of LabeledVideoDataset are float in 0..255, which want False and a mean
        and std for 0..255, or Div255() in front.
    min_size, max_size: range of the short side; testing takes min_size.
    aug_type: "default" for none, "randaug" or "augmix"; aug_paras: its arguments.
    random_resized_crop_paras: arguments of RandomResizedCrop, which then takes the place of scaling and cropping, and,
        as in PyTorchVideo, of mirroring too.
    Raises: ArgumentError; NotImplementedError for another aug_type; TypeError for a crop_size that is no size.
    """
    size = crop_size if isinstance(crop_size, (tuple, list)) else (crop_size, crop_size)
    if not all(isinstance(side, int) for side in size):
        raise TypeError(f"crop_size: {crop_size!r} must be a whole number or (height, width)")
    for wrong, message in (
        (mode not in ("train", "val"), f"mode: {mode!r} must be 'train' or 'val'"),
        (max(size) > min_size, f"crop_size: {crop_size} does not fit into a short side of min_size {min_size}"),
        (video_key is None and remove_key is not None, "remove_key: a clip has no keys; give video_key as well"),
        (aug_type == "default" and aug_paras is not None, "aug_paras: aug_type 'default' takes none"),
    ):
        if wrong:
            raise ArgumentError(message)
    training = mode == "train"
    augmentation = _augmentation(aug_type, aug_paras or {})  # testing takes none, but refuses what is wrong
    crop = _resized_crop(size, random_resized_crop_paras)
    steps: list[Callable[[Any], Any]] = [] if num_samples is None else [UniformTemporalSubsample(num_samples)]
    steps += augmentation if training else []
    steps += [ConvertUint8ToFloat()] if convert_to_float else []
    steps += [Normalize(video_mean, video_std)]
    if not training:
        steps += [ShortSideScale(min_size), CenterCrop(size)]
    elif crop is not None:
        steps += [crop]
    else:
        steps += [
            RandomShortSideScale(min_size, max_size),
            RandomCrop(size),
            RandomHorizontalFlip(horizontal_flip_prob),
        ]
    if video_key is None:
        return Compose(steps)
    return Compose([ApplyTransformToKey(video_key, Compose(steps)), *map(RemoveKey, remove_key or ())])


def _augmentation(aug_type: str, arguments: Mapping[str, Any]) -> list[Callable[[Any], Any]]:
    if aug_type == "default":
        return []
    if aug_type not in _AUGMENTATIONS:
        raise NotImplementedError(f"aug_type: {aug_type!r} must be default, {' or '.join(_AUGMENTATIONS)}")
    return [_SWAP, call(_AUGMENTATIONS[aug_type], arguments, aug_type, "aug_paras"), _SWAP]


def _resized_crop(size: Sequence[int], arguments: Mapping[str, Any] | None) -> RandomResizedCrop | None:
    if arguments is None:
        return None
    where = "random_resized_crop_paras"
    given = {**_INCEPTION, **arguments}
    return call(RandomResizedCrop, given, "RandomResizedCrop", where, target_height=size[0], target_width=size[1])
