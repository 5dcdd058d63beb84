"""Builds what a config says about pixels: the transform that cuts frames, and what is drawn and normalised later."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.clip_spec import ClipSpec
from utils.config.schema import Common
from utils.errors import ConfigError
from utils.transforms.augment import Augment
from utils.transforms.crops import TRAIN_CROPS, FixedResize, ShortSide
from utils.transforms.cut_clip import CutClip
from utils.transforms.presets import Preset

TEST_CROP = "test"  # the value of augmentation.crop that draws nothing


def make_transform(common: Common, preset: Preset, *, train: bool) -> CutClip:
    """Makes the transform of a preset, which runs in the workers, with the values that the config changes."""
    wanted = common.augmentation
    frames: dict[str, Any] = {"modality": common.model.modality, "max_pixels": common.data.max_pixels}
    if train and wanted.crop == TEST_CROP:
        return _test_transform(common, preset, wanted.input_size, num_crops=1, flip=float(wanted.flip), frames=frames)
    if train:
        transform = preset.train(
            input_size=wanted.input_size, crop=wanted.crop, scales=wanted.scales, flip=wanted.flip, **frames
        )
        if isinstance(transform.rule, ShortSide) and not is_square(wanted.input_size):
            others = ", ".join(name for name, kind in TRAIN_CROPS.items() if kind is not ShortSide)
            raise ConfigError(
                f"common.augmentation.input_size: {wanted.input_size} (height, width) is not square, and a short side, "
                f"which the crop short_side draws, does not tell the other; set augmentation.crop: {others} or test"
            )
        if isinstance(transform.rule, FixedResize) and wanted.scales is None and not is_square(wanted.input_size):
            tall, wide = transform.rule.scales
            raise ConfigError(
                f"common.augmentation.input_size: {wanted.input_size} (height, width) is not square, and the crop "
                f"fixed_resize makes all frames {tall} x {wide}, in which objects have another shape than in the test; "
                "set augmentation.scales: [height, width], a little larger than input_size"
            )
        return _fitting(transform, "common.augmentation.scales")
    size = common.test.input_size or wanted.input_size
    return _test_transform(common, preset, size, num_crops=common.crops, flip=0.0, frames=frames)


def _test_transform(
    common: Common, preset: Preset, size: int | list[int] | None, *, num_crops: int, flip: float, frames: dict[str, Any]
) -> CutClip:
    """Makes the transform that cuts as the test does; in training it may mirror what it has cut."""
    scales = common.augmentation.scales
    if scales is not None and common.augmentation.crop == TEST_CROP:
        raise ConfigError(f"common.augmentation.scales: {scales} is for random crops, and crop is {TEST_CROP}")
    resize = common.augmentation.test_resize
    if isinstance(resize, int) and not is_square(size):
        raise ConfigError(
            f"common.augmentation.test_resize: {resize} is a short side, and a crop of {size} (height, width) may not "
            "fit into such frames; give [height, width], or leave it out"
        )
    if resize is None and size is not None and preset.test_crops.resize is not None:
        # another crop keeps its share of the resized frame, as 224 of 256
        resize = scaled(preset.test_crops.resize, size, preset.test_input_size or preset.input_size)
    transform = preset.test(input_size=size, resize=resize, num_crops=num_crops, **frames)
    transform.flip = flip
    return _fitting(
        transform, "common.test.input_size" if common.test.input_size else "common.augmentation.test_resize"
    )


def _fitting(transform: CutClip, key: str) -> CutClip:
    """Returns `transform`. Raises: ConfigError now, not at the first frame, if its crop exceeds its resized frames."""
    side = max(transform.size)
    try:
        transform.rule.plan(side, side, transform.size, np.random.default_rng(0))
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return transform


def is_square(size: int | list[int] | None) -> bool:
    """Tells whether a config's crop is square; those of presets, None, all are."""
    return size is None or isinstance(size, int) or size[0] == size[1]


def scaled(resize: int | tuple[int, int], size: int | list[int], of: int) -> int | list[int]:
    """Returns `resize` scaled in the proportion of a crop of `size` to a crop of `of`.

    A crop that is not square is taken from frames that have its shape, whatever theirs was.
    """
    if not isinstance(size, int):
        short = resize if isinstance(resize, int) else min(resize)
        return scaled(resize, size[0], of) if is_square(size) else [short * side // of for side in size]
    return resize * size // of if isinstance(resize, int) else [side * size // of for side in resize]


def make_augment(common: Common, preset: Preset, clip: ClipSpec, *, train: bool) -> Augment:
    """Makes what runs on the device: colour and erasing for training, normalisation always."""
    wanted = common.augmentation
    random: dict[str, Any] = {}
    if train:
        random = {
            "colorjitter": wanted.colorjitter,
            "random_erasing": wanted.random_erasing,
            "erase_with": wanted.erase_with,
            "colorold": wanted.colorold,
            "rand_augment": wanted.rand_augment,
            "consistent": wanted.consistent,
            "compiled": common.compile,
        }
    mean, std, value_range = preset.statistics(clip.modality)
    given = wanted.mean is not None or wanted.std is not None
    for key, values in (("mean", wanted.mean), ("std", wanted.std)):
        if values is not None and len(values) != clip.channels:
            what = "x and y of optical flow" if clip.modality == "flow" else "red, green and blue"
            raise ConfigError(f"common.augmentation.{key}: {values} should have {clip.channels} numbers, for {what}")
    return Augment(
        mean=wanted.mean or mean,
        std=wanted.std or std,
        value_range=1.0 if given else value_range,
        modality=clip.modality,
        stack=clip.stack,
        **random,
    )


def check_decode(common: Common) -> None:
    """Raises ConfigError where there is nothing for `decode: cuda` to decode."""
    if common.data.decode == "cuda" and common.model.modality == "flow":
        raise ConfigError("common.data.decode: cuda decodes frames in colour, not optical flow (model.modality: flow)")


def check_feature_cache(common: Common) -> None:
    """Raises: ConfigError where features are to be used again and could not, naming every key that must change."""
    if common.data.feature_cache is None and not common.solves:
        return
    key = "optimizer" if common.data.feature_cache is None else "data.feature_cache"
    wanted = common.augmentation
    chance = ("colorjitter", "colorold", "rand_augment", "random_erasing", "mix_up", "cut_mix")
    changes = [f"augmentation.{key}: leave it out" for key in chance if getattr(wanted, key)]
    changes += [f"augmentation.crop: {TEST_CROP}"] if wanted.crop != TEST_CROP else []
    changes += ["augmentation.flip: False"] if wanted.flip else []
    if changes:
        raise ConfigError(f"common.{key}: a frame must give the same pixels each time; set {'; '.join(changes)}")
    needs = {
        "amp: off": common.amp != "off",
        "compile: False": common.compile,
        "data.decode: cpu": common.data.decode != "cpu",
    }
    if other := [need for need, differs in needs.items() if differs]:
        raise ConfigError(f"common.{key}: needs {', '.join(other)}")
