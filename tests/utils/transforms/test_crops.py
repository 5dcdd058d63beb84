from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.errors import ConfigError
from utils.files import ROOT
from utils.transforms.crops import (
    TRAIN_CROPS,
    FixedResize,
    MultiScale,
    RandomResized,
    ShortSide,
    TestCrops,
    fixed_offsets,
    multi_scale_sizes,
    short_side_size,
)

RECIPES = json.loads((ROOT / "tests/golden/recipes.json").read_text())


def cases(source: str, name: str) -> list[dict[str, Any]]:
    return RECIPES[source][name]["cases"]


def label(case: dict[str, Any]) -> str:
    return "x".join(str(side) for side in case["image_wh"])


def swapped(pairs: list[list[int]]) -> list[tuple[int, int]]:
    """(x, y) or (w, h) pairs of the fixtures as our (y, x)."""
    return [(second, first) for first, second in pairs]


@pytest.mark.parametrize("case", cases("mit_tsm", "multi_scale_crop_sizes"), ids=label)
def test_multi_scale_sizes_are_the_official_ones(case: dict[str, Any]) -> None:
    width, height = case["image_wh"]
    sizes = multi_scale_sizes(height, width, (case["input_size"],) * 2, scales=case["scales"])
    assert sizes == swapped(case["crop_wh_choices"])


def test_a_side_within_two_pixels_of_the_input_is_the_input() -> None:
    assert (224, 224) in multi_scale_sizes(226, 300, (224, 224))
    assert (227, 227) in multi_scale_sizes(227, 300, (224, 224))


@pytest.mark.parametrize("case", cases("mit_tsm", "fixed_offsets"), ids=label)
def test_fixed_offsets_are_the_official_ones(case: dict[str, Any]) -> None:
    (width, height), (w, h) = case["image_wh"], case["crop_wh"]
    count = 13 if case["more_fix_crop"] else 5
    expected = [(max(y, 0), max(x, 0)) for y, x in swapped(case["offsets_xy"])]
    assert fixed_offsets(height, width, (h, min(w, width)), count=count) == expected


@pytest.mark.parametrize("case", cases("mmaction2", "multi_scale_crop"), ids=label)
def test_multi_scale_places_equal_mmaction2(case: dict[str, Any]) -> None:
    width, height = case["image_wh"]
    crop = multi_scale_sizes(height, width, (case["input_size"],) * 2)[0]
    offsets = fixed_offsets(height, width, crop, count=case["num_fixed_crops"])
    # the official list names the same places; the first choice's box is the first place
    assert set(offsets) == set(swapped(case["offsets_for_first_choice"]))
    left, top, right, bottom = case["first_box_xyxy"]
    assert (*offsets[0], *crop) == (top, left, bottom - top, right - left)


@pytest.mark.parametrize("case", cases("mit_tsm", "test_crops"), ids=label)
def test_mit_test_crops(case: dict[str, Any]) -> None:
    width, height = case["image_wh"]
    size = (case["crop"],) * 2
    for num_crops, name, expected in ((3, "full_res", "full_res_three_crop"), (5, "full_res", "ten_crop")):
        plan = TestCrops(case["scale_size"], num_crops=num_crops, three=name).plan(height, width, size)
        assert plan.resize == tuple(reversed(case["resized_wh"]))
        assert list(plan.crops) == [(y, x) for x, y, _, _ in case["boxes_xyxy"][expected]]
    ten = TestCrops(case["scale_size"], num_crops=10).plan(height, width, size)
    assert ten.crops == tuple(offset for offset in plan.crops for _ in range(2))
    assert ten.mirrored == (False, True) * 5


@pytest.mark.parametrize("case", cases("mmaction2", "test_crops"), ids=label)
def test_mmaction2_test_crops(case: dict[str, Any]) -> None:
    width, height = case["image_wh"]
    num_crops = {"CenterCrop": 1, "ThreeCrop": 3, "TenCrop": 10}[case["transform"]]
    rule = TestCrops(None, num_crops=num_crops, centre="floor", three="mmaction2")
    plan = rule.plan(height, width, (case["crop"],) * 2)
    assert list(plan.crops) == [(y, x) for x, y, _, _ in case["boxes_xyxy"]]


@pytest.mark.parametrize("source", ["pyslowfast", "pytorchvideo"])
def test_uniform_crops_along_the_long_side(source: str) -> None:
    for case in cases(source, "uniform_crop"):
        height, width = case["image_hw"]
        plan = TestCrops(None, num_crops=3).plan(height, width, (case["size"],) * 2)
        assert list(plan.crops) == swapped(case["offsets_xy_for_index_0_1_2"])


def test_short_side_sizes_round_as_each_project_rounds() -> None:
    for source in ("pyslowfast", "pytorchvideo"):
        for case in cases(source, "short_side_scale"):
            assert short_side_size(*case["image_hw"], case["size"]) == tuple(case["result_hw"])
    for case in cases("mmaction2", "resize_short_side"):
        width, height = case["image_wh"]
        assert short_side_size(height, width, case["scale"][1], rounding="nearest") == tuple(
            reversed(case["result_wh"])
        )


@given(
    height=st.integers(8, 400),
    width=st.integers(8, 400),
    name=st.sampled_from(sorted(TRAIN_CROPS)),
    seed=st.integers(0, 2**32),
)
def test_training_boxes_stay_inside_the_frame(height: int, width: int, name: str, seed: int) -> None:
    plan = TRAIN_CROPS[name]().plan(height, width, (112, 112), np.random.default_rng(seed))
    if plan.box is not None:
        top, left, tall, wide = plan.box
        assert 0 <= top <= top + tall <= height and 0 <= left <= left + wide <= width and tall > 0 and wide > 0
    for top, left in plan.crops:
        assert 0 <= top <= plan.resize[0] - 112 and 0 <= left <= plan.resize[1] - 112


@pytest.mark.parametrize("name", sorted(TRAIN_CROPS))
def test_a_plan_depends_on_the_generator_only(name: str) -> None:
    rule = TRAIN_CROPS[name]()
    plans = [rule.plan(256, 340, (112, 112), np.random.default_rng(7)) for _ in range(2)]
    assert plans[0] == plans[1]
    assert len({rule.plan(256, 340, (112, 112), np.random.default_rng(seed)) for seed in range(20)}) > 5
    with pytest.raises(ValueError, match="needs the sample's generator"):
        rule.plan(256, 340, (112, 112), None)


def test_multi_scale_uses_every_size_and_every_place(rng: np.random.Generator) -> None:
    boxes = {MultiScale().plan(256, 340, (224, 224), rng).box for _ in range(4000)}
    expected = {
        (*offset, *size) for size in multi_scale_sizes(256, 340, (224, 224)) for offset in fixed_offsets(256, 340, size)
    }
    assert boxes == expected


@pytest.mark.parametrize("frame", [(360, 640), (640, 360), (400, 400)])
@pytest.mark.parametrize("size", [(90, 160), (160, 90)])
def test_crops_have_the_shape_of_an_output_that_is_not_square(
    frame: tuple[int, int], size: tuple[int, int], rng: np.random.Generator
) -> None:
    shape = size[1] / size[0]
    undistorted = multi_scale_sizes(*frame, size, max_distort=0)
    assert [width / height for height, width in undistorted] == pytest.approx([shape] * 4, rel=0.02)
    height, width = undistorted[0]  # the largest one touches two borders
    assert height == frame[0] or width == frame[1]
    for _ in range(200):
        box = RandomResized(scales=(0.05, 0.2)).plan(*frame, size, rng).box
        assert box is not None
        assert 3 / 4 * 0.97 <= box[3] / box[2] / shape <= 4 / 3 * 1.03


def test_random_resized_boxes_keep_area_and_aspect_in_range(rng: np.random.Generator) -> None:
    areas = []
    for _ in range(500):
        box = RandomResized().plan(256, 340, (224, 224), rng).box
        assert box is not None
        assert 3 / 4 - 0.02 < box[3] / box[2] < 4 / 3 + 0.02
        areas.append(box[2] * box[3] / 256 / 340)
    assert 0.078 < min(areas) < 0.15 and 0.8 < max(areas) <= 1
    long = RandomResized(scales=(0.9, 1.0)).plan(100, 1000, (64, 64), rng).box
    assert long == (0, 433, 100, 133)  # no box of that area fits: the largest of an allowed aspect, centred


def test_a_box_of_a_tiny_frame_has_a_pixel_whatever_the_shape_of_the_output(rng: np.random.Generator) -> None:
    assert RandomResized().plan(1, 100, (256, 64), rng).box == (0, 49, 1, 1)
    assert RandomResized().plan(100, 1, (64, 256), rng).box == (49, 0, 1, 1)


def test_short_side_jitter_covers_its_range(rng: np.random.Generator) -> None:
    shorts = [ShortSide((256, 320)).plan(240, 320, (224, 224), rng).resize[0] for _ in range(2000)]
    assert min(shorts) == 256 and max(shorts) == 320
    inverse = [ShortSide((256, 320), inverse=True).plan(240, 320, (224, 224), rng).resize[0] for _ in range(2000)]
    assert np.mean(shorts) == pytest.approx(288, abs=2)
    assert np.mean(inverse) == pytest.approx(64 / np.log(320 / 256), abs=2)  # the mean of 1 / uniform


def test_frames_too_small_for_the_crop_are_an_error_that_says_so(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match="224x224 does not fit into frames of 128x171"):
        FixedResize((128, 171)).plan(240, 320, (224, 224), rng)
    with pytest.raises(ConfigError, match="224x224 does not fit into frames of 128x170"):
        TestCrops(128).plan(240, 320, (224, 224))
