"""PyTorchVideo's transforms of one clip: their arguments do what they say, or are refused by name."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.transforms import CenterCrop, Compose, RandomCrop, RandomHorizontalFlip

from datasets import clip_transforms
from datasets.clip_transforms import (
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
from datasets.clip_transforms.functional import short_side_scale
from tests.datasets.sampling.test_published import golden
from utils.config.build import ArgumentError
from utils.errors import ConfigError


def test_all_transforms_are_modules() -> None:
    kinds = [getattr(clip_transforms, name) for name in clip_transforms.__all__ if name[0].isupper()]
    assert len(kinds) == 21 and all(issubclass(kind, nn.Module) for kind in kinds)


def test_subsampling_takes_pytorchvideos_frames() -> None:
    for case in golden("pytorchvideo", "uniform_temporal_subsample"):
        count, samples = case["frames"], case["num_samples"]
        clip = torch.arange(count, dtype=torch.float32)[None, :, None, None]
        assert UniformTemporalSubsample(samples)(clip).ravel().tolist() == case["indices"], case


def test_subsampling_works_on_any_axis_and_for_every_pathway() -> None:
    clip = torch.rand(8, 3, 2, 2)
    assert UniformTemporalSubsample(4, temporal_dim=0)(clip).equal(clip[[0, 2, 4, 7]])
    fast, slow = UniformTemporalSubsampleRepeated((1, 4))(clip.transpose(0, 1))
    assert fast.equal(clip.transpose(0, 1)) and slow.equal(clip.transpose(0, 1)[:, [0, 7]])
    with pytest.raises(ArgumentError, match=r"frame_ratios: \[16\] must be from 1 to the 8 frames"):
        UniformTemporalSubsampleRepeated((16,), temporal_dim=0)(clip)


def test_scaling_keeps_the_aspect_and_is_plain_bilinear() -> None:
    clip = torch.rand(3, 2, 48, 64)
    scaled = ShortSideScale(36)(clip)
    assert scaled.shape == (3, 2, 36, 48)
    expected = torch.nn.functional.interpolate(clip, (36, 48), mode="bilinear", antialias=False)
    assert torch.equal(scaled, expected)
    assert ShortSideScale(30)(torch.rand(3, 1, 50, 40)).shape == (3, 1, 37, 30)
    sizes = {RandomShortSideScale(20, 22)(clip).shape[2] for _ in range(60)}
    assert sizes == {20, 21, 22}


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "bilinear", "bicubic", "area"])
def test_both_backends_scale_with_every_interpolation(interpolation: str) -> None:
    clip = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 5), (12, 20), mode="bicubic")[0][:, None]
    one, other = (short_side_scale(clip, 24, interpolation, backend) for backend in ("pytorch", "opencv"))  # type: ignore[arg-type]
    assert one.shape == other.shape == (3, 1, 24, 40)
    assert (one - other).abs().max() < 0.05


def test_a_crop_lies_where_the_aug_index_says() -> None:
    clip = torch.rand(3, 2, 30, 40)
    for index, left in enumerate((0, 10, 20)):
        cut = UniformCropVideo(20)({"video": clip, "aug_index": index, "label": 1})
        assert cut["video"].equal(clip[:, :, 5:25, left : left + 20]) and cut["label"] == 1
    tall = UniformCropVideo(20, video_key="v", aug_index_key="i")({"v": clip.transpose(2, 3), "i": 2})["v"]
    assert tall.equal(clip.transpose(2, 3)[:, :, 20:, 5:25])
    with pytest.raises(ArgumentError, match="spatial_idx: 3 must be 0, 1 or 2"):
        UniformCropVideo(20)({"video": clip, "aug_index": 3})
    with pytest.raises(ArgumentError, match=r"^size: 90 does not fit into frames of [0-9]+x[0-9]+ pixels"):
        UniformCropVideo(90)({"video": clip, "aug_index": 0})


def test_a_resized_crop_keeps_to_area_and_ratio() -> None:
    clip = torch.rand(1, 5, 40, 60)
    whole = RandomResizedCrop(20, 30, (1.0, 1.0), (1.5, 1.5))(clip)
    assert torch.allclose(whole, torch.nn.functional.interpolate(clip, (20, 30), mode="bilinear"))
    ramp = torch.arange(60.0).expand(1, 5, 40, 60)
    crop = RandomResizedCrop(8, 8, scale=(0.25, 0.25), aspect_ratio=(1.0, 1.0), interpolation="nearest")
    widths = {float(crop(ramp)[0, 0, 0, -1] - crop(ramp)[0, 0, 0, 0]) for _ in range(3)}
    assert all(abs(width) < 60 for width in widths)
    moving = RandomResizedCrop(8, 8, (0.1, 0.1), (1.0, 1.0), shift=True, log_uniform_ratio=False, num_tries=3)
    starts = moving(ramp)[0, :, 0, 0]
    steps = starts.diff()
    assert moving(ramp).shape == (1, 5, 8, 8) and (steps.max() - steps.min()) <= 2, "the box moves evenly"
    reversed_ranges = RandomResizedCrop(8, 8, scale=(1.8, 0.08), aspect_ratio=(4 / 3, 3 / 4))
    assert reversed_ranges(clip).shape == (1, 5, 8, 8)


def test_torchs_seed_decides_what_is_drawn() -> None:
    clip = torch.rand(3, 2, 40, 60)
    crop = RandomResizedCrop(8, 8, (0.1, 0.9), (0.5, 2.0))
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(crop(clip))
    assert drawn[0].equal(drawn[1]) and not drawn[0].equal(drawn[2])


def test_normalising_works_on_the_first_axis_and_refuses_pixels_that_are_not_divided() -> None:
    clip = torch.full((3, 2, 4, 4), 255.0)
    out = Compose([Div255(), Normalize((0.45, 0.4, 0.3), (0.225, 0.2, 0.1))])(clip)
    torch.testing.assert_close(out[:, 0, 0, 0], torch.tensor([0.55 / 0.225, 0.6 / 0.2, 0.7 / 0.1]))
    with pytest.raises(ConfigError, match="put Div255"):
        Normalize((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))(clip)
    assert Normalize((0.0,) * 3, (255.0,) * 3)(clip).max() == 1, "which divides itself"


def test_normalising_takes_scalars_and_works_in_place() -> None:
    clip = torch.rand(3, 4, 5, 6)
    out = Normalize(clip.mean(), clip.std())(clip)
    assert abs(float(out.mean())) < 1e-6 and abs(float(out.std()) - 1) < 1e-6
    same = Normalize((0.5,) * 3, (0.5,) * 3, inplace=True)(clip)
    assert same.data_ptr() == clip.data_ptr() and clip.min() < 0


def test_pixels_change_their_type_only_where_it_is_the_other_one() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert ConvertUint8ToFloat()(bytes_).equal(bytes_ / 255)
    assert ConvertFloatToUint8()(bytes_ / 255).equal(bytes_)
    with pytest.raises(ArgumentError, match=r"the clip is torch\.float32; for float pixels take Div255"):
        ConvertUint8ToFloat()(bytes_.float())
    with pytest.raises(ArgumentError, match=r"the clip is torch\.uint8; leave the conversion out"):
        ConvertFloatToUint8()(bytes_)
    with pytest.raises(ArgumentError, match="convert it to float first"):
        ShortSideScale(8)(bytes_)


def test_axes_are_permuted() -> None:
    clip = torch.rand(2, 3, 4, 5)
    assert Permute((3, 0, 2, 1))(clip).equal(clip.permute(3, 0, 2, 1))
    assert MoveChannelRear()(clip).shape == (3, 4, 5, 2)
    assert MoveChannelFront()(MoveChannelRear()(clip)).equal(clip)


def test_transforms_are_drawn_by_weight_with_or_without_replacement() -> None:
    factors = [3, 5, 7]
    transforms = [lambda x, factor=factor: x * factor for factor in factors]
    pairs = {OpSampler(transforms, num_sample_op=2)(1) for _ in range(60)}
    assert pairs == {15, 21, 35}
    assert {OpSampler(transforms, num_sample_op=2, replacement=True)(1) for _ in range(90)} > pairs
    assert {OpSampler(transforms, num_sample_op=2, randomly_sample_depth=True)(1) for _ in range(90)} > pairs
    torch.manual_seed(0)
    heavy = OpSampler(transforms, [8.0, 1.0, 1.0])
    assert 140 < sum(heavy(1) == 3 for _ in range(200)) < 180


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShortSideScale("big"), "size: should be a valid integer"),
        (lambda: ShortSideScale(8, interpolation="cubic"), "interpolation: should be 'nearest', 'linear'"),
        (lambda: ShortSideScale(8, backend="pil"), "backend: should be 'pytorch' or 'opencv'"),
        (lambda: RandomShortSideScale(9, 8), "min_size: 9 is above max_size 8"),
        (lambda: UniformTemporalSubsample(0), "num_samples: should be greater than 0"),
        (lambda: RandomResizedCrop(8, 8, (0, 1), (1, 1)), "scale: should be"),
        (lambda: Permute((0, 0)), r"dims: \[0, 0\] must name every axis once"),
        (lambda: OpSampler([abs], num_sample_op=2), "num_sample_op: 2 of 1 transforms cannot be drawn"),
        (lambda: OpSampler([abs], [1.0, 1.0]), "transforms_prob: has 2 entries for 1 transforms"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as error:
        make()
    assert isinstance(error.value, AssertionError), "what PyTorchVideo raises"
    assert not re.search("\n", str(error.value))


def test_a_list_that_is_one_entry_is_transformed_as_a_whole() -> None:
    labels = [[3], [3, 7]]  # those of the pictures of a clip, as Charades has them
    assert ApplyTransformToKey("label", len)({"label": labels}) == {"label": 2}
    clips = ApplyTransformToKey("video", torch.neg)({"video": [torch.ones(2), torch.zeros(3)]})["video"]
    assert [clip.tolist() for clip in clips] == [[-1, -1], [0, 0, 0]]


def test_a_whole_recipe_of_the_tutorial_runs_on_a_sample() -> None:
    chain = Compose(
        [
            ApplyTransformToKey(
                key="video",
                transform=nn.Sequential(
                    UniformTemporalSubsample(4),
                    Div255(),
                    Normalize((0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
                    RandomShortSideScale(min_size=36, max_size=40),
                    RandomCrop(32),
                    RandomHorizontalFlip(p=0.5),
                    CenterCrop(24),
                ),
            ),
            RemoveKey("audio"),
        ]
    )
    sample = {"video": torch.rand(3, 9, 48, 64) * 255, "label": 1}
    assert chain(sample)["video"].shape == (3, 4, 24, 24) and sample["video"].shape[1] == 9
    several = chain({"video": [sample["video"]] * 2, "audio": None})
    assert [clip.shape[1] for clip in several["video"]] == [4, 4] and "audio" not in several
    with pytest.raises(ConfigError, match="no 'vidoe' in a sample, which has video, label"):
        ApplyTransformToKey("vidoe", torch.neg)(sample)
