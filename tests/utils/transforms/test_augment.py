from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from tests.golden import fill
from utils.errors import ConfigError
from utils.transforms.augment import Augment
from utils.transforms.color import HUE, compiled_jitter_batch, jitter_batch, jitter_clip
from utils.transforms.rand_augment import OPERATIONS

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEED_JITTER = [0.2, 0.2, 0.2, 0.1]
SEED_ERASING = [0.5, 0.02, 0.4, 0.3]
OPS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def make(**options: Any) -> Augment:
    return Augment(mean=MEAN, std=STD, **options)


def batch(n: int = 3, v: int = 2, t: int = 4, h: int = 24, w: int = 32) -> Tensor:
    """uint8 (N, V, C, T, H, W) as a collated batch lays it out."""
    frames = fill.make_frames(n * v * t, h, w).reshape(n, v, t, h, w, 3)
    return torch.from_numpy(frames).permute(0, 1, 5, 2, 3, 4)


def drawn(augment: Augment, clips: Tensor, seed: int = 0) -> dict[str, Tensor]:
    samples = [
        augment.draw(np.random.default_rng([seed, i]), clips.shape[1], *clips.shape[3:]) for i in range(len(clips))
    ]
    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


def plain(clips: Tensor) -> Tensor:
    """Normalised by the textbook: (N*V, C, T, H, W)."""
    flat = clips.flatten(0, 1).double() / 255
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None, None] for values in (MEAN, STD))
    return ((flat - mean) / std).float()


def test_evaluation_only_normalises() -> None:
    clips = batch()
    for params in (None, {}):
        torch.testing.assert_close(make().apply(clips, params), plain(clips), atol=2e-6, rtol=0)
    torch.testing.assert_close(make().apply(clips.float()), plain(clips), atol=2e-6, rtol=0)
    wide = Augment(mean=[255 * m for m in MEAN], std=[255 * s for s in STD], value_range=255.0)
    torch.testing.assert_close(wide.apply(clips), plain(clips), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_result_is_channels_last_before_and_after_folding_time(dtype: torch.dtype) -> None:
    clips = batch()
    result = make().apply(clips, None, dtype)
    assert result.shape == (6, 3, 4, 24, 32) and result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last_3d)
    folded = result.transpose(1, 2).flatten(0, 1)
    assert folded.data_ptr() == result.data_ptr() and folded.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.float(), plain(clips), atol=0.02, rtol=0)


def test_any_memory_layout_gives_the_same_numbers_and_the_input_stays_as_it_is() -> None:
    clips = batch()
    augment = make(colorjitter=SEED_JITTER, random_erasing=SEED_ERASING)
    before, params = clips.clone(), drawn(augment, clips)
    torch.testing.assert_close(augment.apply(clips, params), augment.apply(clips.contiguous(), params), atol=0, rtol=0)
    assert torch.equal(clips, before)


def by_torchvision(clip: np.ndarray, order: np.ndarray, factors: np.ndarray) -> np.ndarray:
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2)
    for operation in order:
        frames = OPS[operation](frames, float(factors[operation]))
    return frames.permute(0, 2, 3, 1).numpy()


def jittered(clip: np.ndarray, order: np.ndarray, factors: np.ndarray) -> dict[str, np.ndarray]:
    """(T, H, W, 3) by both of our ways."""
    tensors = [torch.from_numpy(array)[None] for array in (clip, order, factors)]
    return {"cpu": jitter_clip(clip, order, factors), "device": jitter_batch(*tensors)[0].numpy()}


@pytest.mark.parametrize("operation", range(4))
@pytest.mark.parametrize("strength", [-0.5, -0.21, 0.07, 0.33, 0.5])
def test_each_colour_operation_is_torchvisions_within_one_level(operation: int, strength: float) -> None:
    factors = np.array([[1, 1, 1, 0]], np.float32)
    factors[0, operation] += strength
    for clip in (fill.make_frames(2, 40, 40), np.random.default_rng(1).integers(0, 256, (2, 33, 47, 3), np.uint8)):
        expected = by_torchvision(clip, np.array([operation]), factors[0]).astype(int)
        for way, result in jittered(clip, np.arange(4)[None], factors).items():
            assert np.abs(result - expected).max() <= 1, way


@pytest.mark.parametrize("consistent", [True, False])
def test_colour_jitter_is_torchvisions_within_two_levels(consistent: bool) -> None:
    augment = make(colorjitter=SEED_JITTER, consistent=consistent)
    differences: dict[str, list[np.ndarray]] = {"cpu": [], "device": []}
    for seed in range(60):
        clip = fill.make_frames(2, 40, 48, key=f"frames {seed}")
        params = augment.draw(np.random.default_rng(seed), 1, 2, 40, 48)
        order, factors = params["color_order"][0], params["color_factors"][0]
        frames = [by_torchvision(clip[t : t + 1], order[t % len(order)], factors[t % len(order)]) for t in range(2)]
        for way, result in jittered(clip, order, factors).items():
            differences[way].append(np.abs(result - np.concatenate(frames).astype(int)))
    for way, levels in differences.items():
        # a rounding in the last bit of a float can be multiplied by three factors after it: one value in 100 000 may
        assert (np.stack(levels) > 2).mean() < 1e-5, way
        assert np.mean(levels) < 0.005, way


def test_jitter_of_nothing_is_nothing() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    for way, result in jittered(clip, np.arange(4)[None], np.array([[1, 1, 1, 0]], np.float32)).items():
        np.testing.assert_array_equal(result, clip, err_msg=way)


def test_a_full_turn_of_hue_in_two_halves_is_the_identity_on_colours() -> None:
    clip = fill.make_frames(1, 32, 32)
    half = np.array([[1, 1, 1, 0.5]], np.float32)
    for way in ("cpu", "device"):
        once = jittered(clip, np.array([[HUE, 0, 1, 2]]), half)[way].astype(np.uint8)
        twice = jittered(once, np.array([[HUE, 0, 1, 2]]), half)[way]
        np.testing.assert_allclose(twice, clip, atol=2)


def test_factors_stay_in_torchvisions_ranges_and_orders_vary(rng: np.random.Generator) -> None:
    params = [make(colorjitter=[0.2, 1.5, 0.3, 0.1]).draw(rng, 1, 8, 32, 32) for _ in range(500)]
    factors = np.stack([sample["color_factors"][0, 0] for sample in params])
    reference = v2.ColorJitter(0.2, 1.5, 0.3, 0.1)
    bounds = (reference.brightness, reference.contrast, reference.saturation, reference.hue)
    for column, (low, high) in zip(factors.T, bounds, strict=True):
        assert low <= column.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < column.max() <= high
    assert len({tuple(sample["color_order"][0, 0]) for sample in params}) == 24


@pytest.mark.parametrize("consistent", [True, False])
def test_one_draw_per_clip_unless_asked_for_one_per_frame(consistent: bool) -> None:
    augment = make(
        colorjitter=SEED_JITTER,
        random_erasing=[1, 0.02, 0.4, 0.3],
        colorold=True,
        rand_augment=[2, 9],
        consistent=consistent,
    )
    params = augment.draw(np.random.default_rng(3), 2, 8, 64, 64)
    frames = 1 if consistent else 8
    shapes = {name: array.shape for name, array in params.items()}
    assert shapes == {
        "color_order": (2, frames, 4),
        "color_factors": (2, frames, 4),
        "lighting": (2, frames, 3),
        "erase": (2, frames, 4),
        "rand_ops": (2, frames, 2),
        "rand_magnitudes": (2, frames, 2),
    }
    still = torch.from_numpy(np.repeat(fill.make_frames(1, 64, 64), 8, axis=0)).permute(3, 0, 1, 2)[None, None]
    for name in ("colorjitter", "random_erasing", "colorold", "rand_augment"):
        value = {
            "colorjitter": SEED_JITTER,
            "random_erasing": [1, 0.02, 0.4, 0.3],
            "colorold": True,
            "rand_augment": True,
        }
        one = make(**{name: value[name]}, consistent=consistent)
        result = one.apply(still, drawn(one, still))
        same = all(torch.equal(result[:, :, 0], result[:, :, t]) for t in range(8))
        assert same == consistent, name


def test_draws_depend_on_the_generator_only() -> None:
    augment = make(colorjitter=SEED_JITTER, random_erasing=SEED_ERASING, colorold=0.1, rand_augment=True)
    first, again, other = (augment.draw(np.random.default_rng(seed), 1, 4, 32, 32) for seed in ([5, 1], [5, 1], [5, 2]))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert any((first[name] != other[name]).any() for name in first)
    assert make().draw(np.random.default_rng(0), 1, 4, 32, 32) == {}


def test_erasing_fills_the_seeds_colour_before_normalisation() -> None:
    clips, augment = batch(t=2, h=64, w=64), make(random_erasing=[1, 0.02, 0.4, 0.3])
    params = drawn(augment, clips)
    result, expected = augment.apply(clips, params), clips.clone()
    for n in range(3):
        for v in range(2):
            top, left, height, width = params["erase"][n, v, 0].tolist()
            assert height > 0
            fill_value = torch.tensor([152, 142, 127], dtype=torch.uint8)[:, None, None, None]
            expected[n, v, :, :, top : top + height, left : left + width] = fill_value
    torch.testing.assert_close(result, plain(expected), atol=2e-6, rtol=0)


def test_rectangles_have_the_asked_area_aspect_and_probability(rng: np.random.Generator) -> None:
    augment = make(random_erasing=SEED_ERASING)
    boxes = np.concatenate([augment.draw(rng, 1, 8, 224, 224)["erase"][0] for _ in range(2000)])
    erased = boxes[boxes[:, 2] > 0]
    assert len(erased) / len(boxes) == pytest.approx(0.5, abs=0.04)
    area = erased[:, 2] * erased[:, 3] / 224**2
    assert 0.018 < area.min() < 0.04 and 0.36 < area.max() < 0.41
    aspect = erased[:, 2] / erased[:, 3]
    assert 0.28 < aspect.min() < 0.5 and 2 < aspect.max() < 3.6
    assert (erased[:, :2] >= 0).all() and (erased[:, 0] + erased[:, 2] <= 224).all()
    assert (erased[:, 1] + erased[:, 3] <= 224).all()


def test_a_rectangle_that_never_fits_is_given_up() -> None:
    assert not make(random_erasing=[1, 1, 1, 1]).draw(np.random.default_rng(0), 1, 2, 8, 8)["erase"].any()


def test_lighting_moves_all_pixels_of_a_clip_by_one_colour() -> None:
    clips, augment = batch(), make(colorold=0.1)
    params = drawn(augment, clips)
    moved = (augment.apply(clips, params) - plain(clips)) * torch.tensor(STD)[:, None, None, None]
    expected = params["lighting"].flatten(0, 1)[:, 0, :, None, None, None].expand_as(moved)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)
    many = np.concatenate([augment.draw(np.random.default_rng(i), 1, 1, 8, 8)["lighting"][0] for i in range(3000)])
    values = np.sort(np.linalg.eigvalsh(np.cov(many.T)))[::-1]  # the PCA that it is made from
    np.testing.assert_allclose(np.sqrt(values), [0.02175, 0.00188, 0.00045], rtol=0.1)


def test_a_device_does_what_the_cpu_does() -> None:
    clips = batch(h=48, w=48)
    for consistent in (True, False):
        augment = make(
            colorjitter=SEED_JITTER, random_erasing=[1, 0.02, 0.4, 0.3], colorold=True, consistent=consistent
        )
        params = drawn(augment, clips)
        pixels = clips.permute(0, 1, 3, 4, 5, 2).flatten(0, 1)
        flat = {name: tensor.flatten(0, 1) for name, tensor in params.items()}
        there = augment._apply_on_device(pixels, flat, torch.float32).permute(0, 4, 1, 2, 3)
        here = augment.apply(clips, params)
        assert (here - there).abs().max() < 2.1 / 255 / min(STD)
        assert (here - there).abs().mean() < 0.02 / 255 / min(STD)


@pytest.mark.slow
def test_compiled_jitter_is_jitter_within_two_levels() -> None:
    clips, augment = batch(h=24, w=24), make(colorjitter=SEED_JITTER)
    params = drawn(augment, clips)
    pixels = clips.permute(0, 1, 3, 4, 5, 2).flatten(0, 1)
    order, factors = params["color_order"].flatten(0, 1), params["color_factors"].flatten(0, 1)
    apart = (compiled_jitter_batch()(pixels, order, factors) - jitter_batch(pixels, order, factors)).abs()
    assert apart.max() <= 2 and apart.mean() < 0.02


def test_float_clips_are_coloured_on_whole_levels() -> None:
    clips, augment = batch(), make(colorjitter=SEED_JITTER)
    params = drawn(augment, clips)
    torch.testing.assert_close(augment.apply(clips.float() + 0.3, params), augment.apply(clips, params), atol=0, rtol=0)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_rand_augment_does_what_torchvisions_does(name: str) -> None:
    reference, names = v2.RandAugment(), list(OPERATIONS)
    theirs = {"identity": "Identity", "autocontrast": "AutoContrast", "equalize": "Equalize"}
    title = theirs.get(name, "".join(part.capitalize() for part in name.split("_")))
    frames = torch.from_numpy(fill.make_frames(2, 40, 56)).permute(0, 3, 1, 2)
    magnitudes, signed = reference._AUGMENTATION_SPACE[title]
    largest, is_signed, operation = OPERATIONS[name]
    strength = largest * 9 / 30
    table = magnitudes(31, 40, 56)
    official = 0.0 if table is None else float(table[9])
    for sign in (1, -1) if is_signed else (1,):
        expected = reference._apply_image_or_video_transform(
            frames, title, sign * official, interpolation=v2.InterpolationMode.NEAREST, fill={}
        )
        difference = (operation(frames, sign * strength).int() - expected.int()).abs()
        assert difference.max() <= 1 and (difference > 0).double().mean() < 0.01, sign
    assert signed == is_signed and len(names) == len(reference._AUGMENTATION_SPACE)


def test_rand_augment_runs_on_the_batch_and_changes_it() -> None:
    clips, augment = batch(), make(rand_augment=[2, 9])
    result = augment.apply(clips, drawn(augment, clips))
    assert result.shape == (6, 3, 4, 24, 32) and not torch.equal(result, plain(clips))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colorjitter": [0.2, 0.2]}, r"colorjitter: \[0.2, 0.2\] must be \[brightness"),
        ({"colorjitter": [0.2, 0.2, 0.2, 0.7]}, "hue at most 0.5"),
        ({"colorjitter": [-0.2, 0.2, 0.2, 0.1]}, "none negative"),
        ({"random_erasing": [0.5, 0.4, 0.02, 0.3]}, "the areas in order"),
        ({"random_erasing": [0.5, 0.02]}, r"random_erasing: \[0.5, 0.02\] must be"),
        ({"rand_augment": [2, 31]}, "magnitude 0..30"),
    ],
)
def test_wrong_values_name_the_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_falsy_values_are_off() -> None:
    augment = make(colorjitter=[0, 0, 0, 0], random_erasing=[0, 0.02, 0.4, 0.3], colorold=False, rand_augment=False)
    assert augment.draw(np.random.default_rng(0), 1, 4, 32, 32) == {}


NOISE = {"random_erasing": [1.0, 0.02, 1 / 3, 0.3], "erase_with": "noise"}


def test_noise_fills_the_same_box_of_all_frames_each_pixel_anew_and_is_drawn_with_the_sample() -> None:
    clips, augment = batch(n=2, v=1, t=4, h=48, w=64), make(**NOISE)
    params = drawn(augment, clips)
    results = [augment.apply(clips, params) for _ in range(2)]
    results.append(augment._apply_on_device(_pixels(clips), _flat(params), torch.float32).permute(0, 4, 1, 2, 3))
    assert torch.equal(results[0], results[1]) and torch.allclose(results[0], results[2], atol=2e-6)
    for place, result in enumerate(results[0]):
        top, left, height, width = params["erase"][place, 0, 0].tolist()
        part = result[:, :, top : top + height, left : left + width]
        changed = (result - plain(clips)[place]).abs().amax((0, 1)) > 1e-5
        assert changed[top : top + height, left : left + width].all() and int(changed.sum()) == height * width
        assert abs(float(part.mean())) < 0.2 and abs(float(part.std()) - 1) < 0.2
        assert not torch.equal(part[:, 0], part[:, 1]) and not torch.equal(part[0], part[1])
    other = augment.apply(clips, drawn(augment, clips, seed=1))
    assert not torch.equal(results[0], other)
    by_frame = make(**NOISE, consistent=False)
    assert (
        drawn(by_frame, clips)["erase_seed"].shape == (2, 1, 4)
        and by_frame.apply(clips, drawn(by_frame, clips)).isfinite().all()
    )


def _pixels(clips: Tensor) -> Tensor:
    return clips.permute(0, 1, 3, 4, 5, 2).contiguous().flatten(0, 1)


def _flat(params: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.flatten(0, 1) for name, value in params.items()}


@pytest.mark.parametrize(("options", "even"), [(NOISE, "logarithm"), ({**NOISE, "erase_with": "colour"}, "ratio")])
def test_what_is_drawn_evenly_is_the_ratio_of_a_colour_and_the_ratios_logarithm_of_noise(
    options: dict[str, Any], even: str
) -> None:
    augment, rng = make(**options), np.random.default_rng(0)
    boxes = np.concatenate([augment.draw(rng, 1, 1, 400, 400)["erase"][0] for _ in range(4000)])
    assert (boxes[:, 2] > 0).all()
    ratios = boxes[:, 2] / boxes[:, 3]
    low, high = 0.3, 1 / 0.3
    upright = (high - 1) / (high - low) if even == "ratio" else 0.5
    assert np.mean(ratios > 1) == pytest.approx(upright, abs=0.03)
    areas = boxes[:, 2] * boxes[:, 3] / 400**2
    assert areas.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.01)
