"""Published preprocessing protocols as data: resize, crops, interpolation, mean, std, and how scores are averaged.

A preset builds the worker's `CutClip` for training and for testing; its mean, std and range go to `Augment` and into
the checkpoint. Config keys (input_size, test_resize, flip, scales, ...) override single values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from utils.errors import ConfigError
from utils.transforms.crops import (
    TRAIN_CROPS,
    CropRule,
    FixedResize,
    MultiScale,
    RandomResized,
    ShortSide,
    Size,
    TestCrops,
)
from utils.transforms.cut_clip import CutClip
from utils.transforms.image import MAX_PIXELS

Triple = tuple[float, float, float]
Statistics = tuple[tuple[float, ...], tuple[float, ...], float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
KINETICS_MEAN: Triple = (0.43216, 0.394666, 0.37645)
KINETICS_STD: Triple = (0.22803, 0.22145, 0.216989)


@dataclass(frozen=True)
class Preset:
    """One published preprocessing protocol.

    source: whose it is.
    mean, std: per RGB channel, of pixels in 0..value_range.
    interpolation: a name in `resize.INTERPOLATIONS`; train_interpolation where training differs.
    input_size: of a clip; test_input_size where testing differs.
    average: what is averaged over a video's views, "scores" (after softmax) or "logits".
    flow_mean, flow_std: of x and y of optical flow, in 0..value_range; tsn-pytorch's unless the source has its own.
    """

    source: str
    train_crop: CropRule
    test_crops: TestCrops
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    value_range: float = 1.0
    interpolation: str = "linear"
    train_interpolation: str | None = None
    input_size: int = 224
    test_input_size: int | None = None
    flip: float = 0.5
    average: str = "scores"
    flow_mean: float = 0.5
    flow_std: float = 0.226

    def statistics(self, modality: str) -> Statistics:
        """Returns (mean, std, range) by channel. Differences of frames are those of 0..1, as tsn-pytorch takes them."""
        if modality == "flow":
            return (self.flow_mean,) * 2, (self.flow_std,) * 2, self.value_range
        return ((0.0,) * 3, (1.0,) * 3, 1.0) if modality == "rgbdiff" else (self.mean, self.std, self.value_range)

    def train(
        self,
        *,
        input_size: int | Sequence[int] | None = None,
        crop: str | None = None,
        scales: Sequence[float] | None = None,
        flip: float | bool | None = None,
        modality: str = "rgb",
        max_pixels: int = MAX_PIXELS,
    ) -> CutClip:
        """Returns the transform for training: a random crop, flipped with probability `flip` (True: 0.5, False: 0).

        crop: another rule by its name in `crops.TRAIN_CROPS`. scales: of the rule (multi_scale: factors of the short
        side; random_resized: share of the area; short_side: range in pixels; fixed_resize: height, width).
        """
        if crop is not None and crop not in TRAIN_CROPS:
            raise ConfigError(f"augmentation.crop: {crop!r} is not one of {', '.join(TRAIN_CROPS)}, test")
        rule: Any = self.train_crop if crop is None else TRAIN_CROPS[crop]()
        if scales is not None:
            if len(scales) != 2 and not (isinstance(rule, MultiScale) and scales):
                raise ConfigError(f"augmentation.scales: {list(scales)}: {type(rule).__name__} takes two numbers")
            # a config's numbers may be floats, sizes in pixels are whole
            rule = dataclasses.replace(rule, scales=_size(scales) if isinstance(rule, FixedResize) else tuple(scales))
        if flip is None:
            flip = self.flip
        elif isinstance(flip, bool):
            flip = 0.5 if flip else 0.0
        return CutClip(
            rule,
            self.input_size if input_size is None else input_size,
            interpolation=self.train_interpolation or self.interpolation,
            flip=flip,
            modality=modality,
            max_pixels=max_pixels,
        )

    def test(
        self,
        *,
        input_size: int | Sequence[int] | None = None,
        resize: int | Sequence[int] | None = None,
        num_crops: int = 1,
        modality: str = "rgb",
        max_pixels: int = MAX_PIXELS,
    ) -> CutClip:
        """Returns the transform for testing: `resize` (short side, or height and width), then 1, 3, 5 or 10 crops."""
        crops = dataclasses.replace(self.test_crops, num_crops=num_crops)
        if resize is not None:
            crops = dataclasses.replace(crops, resize=resize if isinstance(resize, int) else _size(resize))
        default = self.test_input_size or self.input_size
        size = default if input_size is None else input_size
        return CutClip(crops, size, interpolation=self.interpolation, modality=modality, max_pixels=max_pixels)


def _size(value: Sequence[float]) -> Size:
    if len(value) != 2:
        raise ConfigError(f"a resize is one number (short side) or two (height, width), not {list(value)}")
    return int(value[0]), int(value[1])


def _mmaction2(train_crop: CropRule, **changes: Any) -> Preset:
    return Preset(
        source="open-mmlab/mmaction2 1.2",
        train_crop=train_crop,
        test_crops=TestCrops(256, rounding="nearest", centre="floor", three="mmaction2"),
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        value_range=255.0,
        flow_mean=128.0,
        flow_std=128.0,
        **changes,
    )


_MIT = Preset(
    source="mit-han-lab/temporal-shift-module",
    train_crop=MultiScale(),
    test_crops=TestCrops(256, three="full_res"),
    interpolation="pillow",
    average="logits",
)
_PYSLOWFAST = Preset(
    source="facebookresearch/SlowFast",
    train_crop=ShortSide((256, 320)),
    test_crops=TestCrops(256, centre="ceil"),
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    interpolation="float",
    test_input_size=256,
)
_TORCHVISION = Preset(
    source="pytorch/vision, references/video_classification",
    train_crop=FixedResize((128, 171)),
    test_crops=TestCrops((128, 171)),
    mean=KINETICS_MEAN,
    std=KINETICS_STD,
    interpolation="rounded",
    train_interpolation="float",
    input_size=112,
)

PRESETS: dict[str, Preset] = {
    "tsn": Preset(
        source="the original project: TSN's multi-scale corner crops, ImageNet statistics, OpenCV",
        train_crop=MultiScale(),
        test_crops=TestCrops(256),
        interpolation="auto",
    ),
    "mit_tsm": _MIT,
    "tsn_pytorch": dataclasses.replace(_MIT, source="yjxiong/tsn-pytorch"),
    "mmaction2_tsn": _mmaction2(MultiScale(places=5, before=256)),
    "mmaction2_tsm": _mmaction2(MultiScale(places=13, before=256)),
    "mmaction2_slowfast": _mmaction2(RandomResized(before=256), test_input_size=256),
    "pyslowfast": _PYSLOWFAST,
    "pytorchvideo": dataclasses.replace(
        _PYSLOWFAST, source="facebookresearch/pytorchvideo", test_crops=TestCrops(256, centre="round")
    ),
    "torchvision": _TORCHVISION,
    # what its training script tests with, resizing in floats; "torchvision" tests as its published weights ask
    "torchvision_reference": dataclasses.replace(_TORCHVISION, interpolation="float", train_interpolation=None),
    "s3d": dataclasses.replace(
        _TORCHVISION,
        train_crop=FixedResize((256, 256)),
        test_crops=TestCrops((256, 256)),
        input_size=224,
    ),
    "torchvision_mvit": dataclasses.replace(
        _TORCHVISION,
        train_crop=ShortSide((256, 320)),
        test_crops=TestCrops(256),
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        input_size=224,
    ),
    "torchvision_swin3d": dataclasses.replace(
        _TORCHVISION,
        train_crop=RandomResized(),
        test_crops=TestCrops(256),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        input_size=224,
    ),
    "videomae": Preset(
        source="MCG-NJU/VideoMAE: OpenCV's bilinear resize in tests, random crops of floats in training",
        train_crop=RandomResized(),
        test_crops=TestCrops(256, centre="floor", three="mmaction2"),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        train_interpolation="float",
        input_size=224,
    ),
    "vmz": dataclasses.replace(
        _TORCHVISION,
        source="facebookresearch/VMZ",
        train_crop=FixedResize((128, 174)),
        test_crops=TestCrops((128, 174)),
        interpolation="float",
    ),
}


def find_preset(name: str) -> Preset:
    """Returns the preset called `name`. Raises ConfigError with the known names."""
    if name not in PRESETS:
        raise ConfigError(f"augmentation.preset: {name!r} is not one of {', '.join(PRESETS)}")
    return PRESETS[name]
