from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional

from tests.golden import fill
from utils.errors import ConfigError
from utils.files import ROOT
from utils.transforms.augment import Augment
from utils.transforms.cut_clip import CutClip
from utils.transforms.presets import PRESETS, find_preset

RECIPES = json.loads((ROOT / "tests/golden/recipes.json").read_text())
LEVEL = 1 / 255 / 0.21  # one grey level after normalisation, with the smallest std of the presets


def cases(source: str) -> list[dict[str, Any]]:
    return RECIPES[source]["pixel_pipeline"]["cases"]


def label(case: dict[str, Any]) -> str:
    return (
        "x".join(str(side) for side in case["frames_hw"])
        + case.get("weights", "")[:3]
        + str(case.get("spatial_idx", ""))
    )


def run(name: str, case: dict[str, Any], num_crops: int = 1) -> torch.Tensor:
    """Frames of one golden case through the worker's and the device's part: (crops, C, T, H, W)."""
    preset = find_preset(name)
    size, resize = case.get("crop", case.get("crop_hw")), case.get("short_side", case.get("resize_hw"))
    frames = fill.make_frames(case["num_frames"], *case["frames_hw"])
    clips, flipped = preset.test(input_size=size, resize=resize, num_crops=num_crops).apply(frames)
    assert not flipped
    augment = Augment(mean=preset.mean, std=preset.std, value_range=preset.value_range)
    return augment.apply(torch.from_numpy(clips)[None].permute(0, 1, 5, 2, 3, 4))


def assert_golden(output: torch.Tensor, case: dict[str, Any], *, atol: float) -> None:
    assert list(output.shape) == case["shape"]
    flat = output.numpy().ravel()
    np.testing.assert_allclose(flat[case["flat_index"]], case["value"], atol=atol)
    assert flat.mean(dtype=np.float64) == pytest.approx(case["mean"], abs=max(atol, 1e-5))
    assert flat.std(dtype=np.float64) == pytest.approx(case["std"], abs=max(atol, 1e-5))


@pytest.mark.parametrize("name", ["mit_tsm", "tsn_pytorch"])
@pytest.mark.parametrize("case", cases("mit_tsm"), ids=label)
def test_pillow_presets_give_the_official_pixels(name: str, case: dict[str, Any]) -> None:
    clip = run(name, case)[0].transpose(0, 1)  # T,C,H,W
    assert_golden(clip.reshape(case["shape"]), case, atol=LEVEL)


@pytest.mark.parametrize("name", ["mmaction2_tsn", "mmaction2_tsm", "mmaction2_slowfast"])
@pytest.mark.parametrize("case", cases("mmaction2"), ids=label)
def test_opencv_presets_give_the_official_pixels(name: str, case: dict[str, Any]) -> None:
    assert_golden(run(name, case)[0].transpose(0, 1), case, atol=LEVEL)


@pytest.mark.parametrize("case", cases("pyslowfast"), ids=label)
def test_pyslowfast_is_equal_in_float_at_each_of_its_three_crops(case: dict[str, Any]) -> None:
    assert_golden(run("pyslowfast", case, num_crops=3)[case["spatial_idx"]], case, atol=1e-5)
    if case["spatial_idx"] == 1:
        assert_golden(run("pyslowfast", case)[0], case, atol=1e-5)


@pytest.mark.parametrize("case", cases("torchvision"), ids=label)
def test_torchvision_presets_give_the_official_pixels(case: dict[str, Any]) -> None:
    name = "s3d" if case["weights"].startswith("S3D") else "torchvision"
    preset = PRESETS[name]
    assert list(preset.test_crops.resize) == case["resize_hw"]
    assert [preset.input_size] * 2 == case["crop_hw"]
    assert_golden(run(name, case)[0], case, atol=1e-5)  # rounded as the original rounds: equal to the last digit


@pytest.mark.parametrize("name", ["torchvision", "s3d", "torchvision_mvit", "torchvision_swin3d"])
def test_torchvision_presets_equal_the_transforms_that_come_with_its_weights(name: str) -> None:
    from torchvision.models import video

    weights = {
        "torchvision": video.R2Plus1D_18_Weights.KINETICS400_V1,
        "s3d": video.S3D_Weights.KINETICS400_V1,
        "torchvision_mvit": video.MViT_V1_B_Weights.KINETICS400_V1,
        "torchvision_swin3d": video.Swin3D_T_Weights.KINETICS400_V1,
    }[name]
    preset = PRESETS[name]
    frames = fill.make_frames(3, 200, 310)
    clips, _ = preset.test().apply(frames)
    ours = Augment(mean=preset.mean, std=preset.std).apply(torch.from_numpy(clips)[None].permute(0, 1, 5, 2, 3, 4))
    theirs = weights.transforms()(torch.from_numpy(frames).permute(0, 3, 1, 2))  # C,T,H,W
    torch.testing.assert_close(ours[0], theirs, atol=LEVEL, rtol=0)
    assert (ours[0] - theirs).abs().mean() < 0.01 * LEVEL


def test_videomae_is_tested_with_opencvs_bilinear_resize_of_the_short_side() -> None:
    frames = fill.make_frames(2, 270, 401)
    clips, _ = find_preset("videomae").test(input_size=224, resize=224, num_crops=3).apply(frames)
    scaled = np.stack([cv2.resize(frame, (401 * 224 // 270, 224), interpolation=cv2.INTER_LINEAR) for frame in frames])
    free = scaled.shape[2] - 224
    assert clips.dtype == np.uint8 and free % 2 == 0
    for clip, left in zip(clips, (0, free, free // 2), strict=True):
        np.testing.assert_array_equal(clip, scaled[:, :, left : left + 224])


def test_float_resize_equals_normalising_first_as_pytorchvideo_does() -> None:
    preset = PRESETS["pytorchvideo"]
    frames = fill.make_frames(2, 240, 320)
    clips, _ = preset.test().apply(frames)
    assert clips.dtype == np.float32 and clips.max() > 200  # 0..255, not normalised in the worker
    ours = Augment(mean=preset.mean, std=preset.std).apply(torch.from_numpy(clips)[None].permute(0, 1, 5, 2, 3, 4))[0]
    normalised = (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - 0.45) / 0.225
    scaled = torch.nn.functional.interpolate(normalised, size=(256, 341), mode="bilinear", align_corners=False)
    left = round((341 - 256) / 2)
    torch.testing.assert_close(ours, scaled[..., left : left + 256].transpose(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_trains_and_tests(name: str, rng: np.random.Generator) -> None:
    preset = PRESETS[name]
    frames = fill.make_frames(2, 270, 300)
    clips, _ = preset.train().apply(frames, rng)
    assert clips.shape == (1, 2, preset.input_size, preset.input_size, 3)
    size = preset.test_input_size or preset.input_size
    for num_crops in (1, 3, 5, 10):
        transform = preset.test(num_crops=num_crops)
        assert transform.num_crops == num_crops
        clips, flipped = transform.apply(frames)
        assert clips.shape == (num_crops, 2, size, size, 3) and clips.dtype == transform.dtype and not flipped
        assert clips.flags.c_contiguous
    assert preset.average in ("scores", "logits") and preset.value_range in (1.0, 255.0)
    assert min(preset.std) > 0.1 * preset.value_range, "std belongs to pixels in 0..value_range"


def test_preset_values_can_be_overridden_one_by_one(rng: np.random.Generator) -> None:
    frames = fill.make_frames(1, 100, 120)
    preset = PRESETS["tsn"]
    assert preset.train(input_size=32).apply(frames, rng)[0].shape[2:4] == (32, 32)
    assert preset.train(input_size=[32, 48]).apply(frames, rng)[0].shape[2:4] == (32, 48)
    assert preset.train(flip=False).flip == 0.0 and preset.train(flip=True).flip == 0.5 and preset.train().flip == 0.5
    assert preset.train(scales=[1, 0.5]).rule.scales == (1, 0.5)
    assert preset.train(crop="short_side", scales=[40, 50], input_size=32).rule.scales == (40, 50)
    assert preset.test(resize=[40, 60], input_size=32).apply(frames)[0].shape[2:4] == (32, 32)


def test_mistakes_name_the_key_and_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"preset: 'tns' is not one of tsn, mit_tsm"):
        find_preset("tns")
    with pytest.raises(ConfigError, match=r"crop: 'corner' is not one of multi_scale"):
        PRESETS["tsn"].train(crop="corner")
    with pytest.raises(ConfigError, match=r"scales: \[256\].*two numbers"):
        PRESETS["pyslowfast"].train(scales=[256])
    with pytest.raises(ConfigError, match="num_crops: 4 is not one of"):
        PRESETS["tsn"].test(num_crops=4)
    with pytest.raises(ConfigError, match=r"one number .* or two"):
        PRESETS["tsn"].test(resize=[1, 2, 3])


def test_torchvision_reference_is_the_training_scripts_own_pipeline() -> None:
    """Convert, resize without antialias, flip, normalise, crop: in this order, by the installed torchvision."""
    preset, frames = PRESETS["torchvision_reference"], fill.make_frames(4, 200, 310)
    augment = Augment(mean=preset.mean, std=preset.std, value_range=preset.value_range)

    def ours(transform: CutClip, seed: int | None = None) -> tuple[torch.Tensor, bool]:
        clips, flipped = transform.apply(frames, None if seed is None else np.random.default_rng(seed))
        return augment.apply(torch.from_numpy(clips)[None].permute(0, 1, 5, 2, 3, 4))[0], flipped

    first = transforms.Compose(
        [transforms.ConvertImageDtype(torch.float32), transforms.Resize((128, 171), antialias=False)]
    )
    normalise = transforms.Normalize(preset.mean, preset.std)
    resized = first(torch.from_numpy(frames).permute(0, 3, 1, 2))
    expected = transforms.CenterCrop((112, 112))(normalise(resized)).transpose(0, 1)
    torch.testing.assert_close(ours(preset.test())[0], expected, atol=2e-6, rtol=0)
    seen = set()
    for seed in range(4):
        transform = preset.train()
        ((top, left),) = transform.rule.plan(200, 310, transform.size, np.random.default_rng(seed)).crops
        clip, flipped = ours(transform, seed)
        seen.add(flipped)
        # they flip before they cut, we after: the same piece seen from the other side
        left = 171 - 112 - left if flipped else left
        whole = normalise(functional.hflip(resized) if flipped else resized)
        expected = functional.crop(whole, top, left, 112, 112).transpose(0, 1)
        torch.testing.assert_close(clip, expected, atol=2e-6, rtol=0)
    assert seen == {False, True}


def test_a_fixed_resize_takes_the_floats_of_a_config() -> None:
    transform = PRESETS["torchvision_reference"].train(scales=[40.0, 50.0], input_size=32)
    assert transform.apply(fill.make_frames(1, 60, 80), np.random.default_rng(0))[0].shape[2:4] == (32, 32)


def test_flow_and_differences_have_statistics_of_their_own() -> None:
    assert PRESETS["tsn_pytorch"].statistics("flow") == ((0.5, 0.5), (0.226, 0.226), 1.0)
    assert PRESETS["mmaction2_tsn"].statistics("flow") == ((128.0, 128.0), (128.0, 128.0), 255.0)
    for preset in PRESETS.values():
        assert preset.statistics("rgb") == (preset.mean, preset.std, preset.value_range)
        assert preset.statistics("rgbdiff") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
