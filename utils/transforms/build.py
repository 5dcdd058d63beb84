"""From the config to what happens between a frame and the network: which frames, how they are cut, what is drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from datasets.open import check_store
from datasets.sampling.rules import get_rule
from utils.clip_spec import ClipSpec
from utils.config.schema import Common
from utils.errors import ConfigError
from utils.transforms.augment import Augment
from utils.transforms.crops import TRAIN_CROPS
from utils.transforms.cut_clip import Spatial
from utils.transforms.presets import Preset, find_preset


def train_clip(common: Common, clip: ClipSpec) -> ClipSpec:
    """The clip in training: data.sampling before the method's rule."""
    return _sampled(clip, common.data.sampling, "common.data.sampling")


def test_clip(common: Common, clip: ClipSpec) -> ClipSpec:
    """The clip at test time: test.sampling before data.sampling before the method's rule, test.num_frames frames."""
    clip = _sampled(train_clip(common, clip), common.test.sampling, "common.test.sampling")
    frames = common.test.num_frames or clip.num_frames
    return dataclasses.replace(clip, num_frames=frames)


def _sampled(clip: ClipSpec, rule: str | None, key: str) -> ClipSpec:
    """`clip` by another sampling rule, if one is given."""
    if rule is None:
        return clip
    try:
        get_rule(rule)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return dataclasses.replace(clip, sampling=rule)


def make_spatial(common: Common, preset: Preset, *, train: bool) -> Spatial:
    """The worker's side of a preset, with the values that the config changes."""
    wanted, modality = common.augmentation, common.model.modality
    if train:
        spatial = preset.train(
            input_size=wanted.input_size, crop=wanted.crop, scales=wanted.scales, flip=wanted.flip, modality=modality
        )
        return _fitting(spatial, "common.augmentation.scales")
    size = common.test.input_size or wanted.input_size
    resize = wanted.test_resize
    if resize is None and size is not None and preset.test_crops.resize is not None:
        # another crop keeps its share of the resized frame, as 224 of 256
        resize = scaled(preset.test_crops.resize, size, preset.test_input_size or preset.input_size)
    spatial = preset.test(input_size=size, resize=resize, num_crops=common.crops, modality=modality)
    return _fitting(spatial, "common.test.input_size" if common.test.input_size else "common.augmentation.test_resize")


def _fitting(spatial: Spatial, key: str) -> Spatial:
    """`spatial`, unless its crop is larger than what it resizes frames to; that need not wait for the first frame."""
    side = max(spatial.size)
    try:
        spatial.rule.plan(side, side, spatial.size, np.random.default_rng(0))
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return spatial


def scaled(resize: int | tuple[int, int], size: int, of: int) -> int | list[int]:
    """`resize` in the proportion of a crop of `size` to one `of`."""
    return resize * size // of if isinstance(resize, int) else [side * size // of for side in resize]


def make_augment(common: Common, preset: Preset, clip: ClipSpec, *, train: bool) -> Augment:
    """The device's side: colour and erasing for training, normalisation always."""
    wanted = common.augmentation
    random: dict[str, Any] = {}
    if train:
        random = {
            "colorjitter": wanted.colorjitter,
            "random_erasing": wanted.random_erasing,
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


def test_batch_size(common: Common, num_views: int) -> int:
    """Videos per evaluation step: by default as many views as training has clips."""
    return common.test.batch_size or max(1, common.batch_size // num_views)


def values_in_force(common: Common, clip: ClipSpec) -> dict[str, Any]:
    """What the preset and the method decide where a config leaves a key open, by its dotted path.

    A mean and a standard deviation are in 0..1, as the config has them.
    """
    preset = find_preset(common.augmentation.preset)
    train, test = (make_spatial(common, preset, train=train) for train in (True, False))
    tested = test_clip(common, clip)
    mean, std, value_range = preset.statistics(clip.modality)
    values = {
        "model.stack": clip.stack,
        "augmentation.input_size": train.size[0],
        "augmentation.test_resize": getattr(test.rule, "resize", None),
        "augmentation.crop": next(name for name, rule in TRAIN_CROPS.items() if isinstance(train.rule, rule)),
        "augmentation.scales": getattr(train.rule, "scales", None),
        "augmentation.mean": tuple(round(value / value_range, 6) for value in mean),
        "augmentation.std": tuple(round(value / value_range, 6) for value in std),
        **{f"data.{key}": "detected" for key in ("frame_template", "first_frame", "class_names")},
        "data.sampling": train_clip(common, clip).sampling,
        "data.store": {"type": "disk"},
        "test.num_crops": common.crops,
        "test.sampling": tested.sampling,
        "test.num_frames": tested.num_frames,
        "test.input_size": test.size[0],
        "test.average": preset.average,
        "test.batch_size": test_batch_size(common, common.test.num_clips * common.crops),
    }
    return {f"common.{key}": list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def check_decode(common: Common) -> None:
    """Raises: ConfigError where `decode: cuda` has nothing that it could decode."""
    what = {"video": "encoded videos (data.store.type: video)", "flow": "optical flow (model.modality: flow)"}
    for kind in (common.data.store.get("type"), common.model.modality):
        if common.data.decode == "cuda" and kind in what:
            raise ConfigError(f"common.data.decode: cuda decodes JPEG frames in colour, not {what[kind]}")


def check_pipelines(common: Common, clip: ClipSpec) -> None:
    """Builds what stands between a frame and the network, without any list, so that mistakes show in a dry run."""
    preset = find_preset(common.augmentation.preset)
    check_store(common)
    check_decode(common)
    for train in (True, False):
        _ = train_clip(common, clip) if train else test_clip(common, clip)
        make_spatial(common, preset, train=train)
        make_augment(common, preset, clip, train=train)
