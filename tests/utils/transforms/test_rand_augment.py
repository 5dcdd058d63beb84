"""timm's RandAugment in a config, against timm itself: what is drawn, how strong it is, and what it does to pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.golden import fill
from tests.helpers.requirements import needs_package
from utils.errors import ConfigError
from utils.transforms import rand_augment as ra

PUBLISHED = "rand-m7-n4-mstd0.5-inc1"
NAMES = [*ra.TIMM_OPERATIONS]
# theirs, of which the strength depends on whether more is stronger
THEIRS = {
    "auto_contrast": ("AutoContrast",) * 2,
    "equalize": ("Equalize",) * 2,
    "invert": ("Invert",) * 2,
    "rotate": ("Rotate",) * 2,
    "posterize": ("Posterize", "PosterizeIncreasing"),
    "solarize": ("Solarize", "SolarizeIncreasing"),
    "solarize_add": ("SolarizeAdd",) * 2,
    "color": ("Color", "ColorIncreasing"),
    "contrast": ("Contrast", "ContrastIncreasing"),
    "brightness": ("Brightness", "BrightnessIncreasing"),
    "sharpness": ("Sharpness", "SharpnessIncreasing"),
    "shear_x": ("ShearX",) * 2,
    "shear_y": ("ShearY",) * 2,
    "translate_x": ("TranslateXRel",) * 2,
    "translate_y": ("TranslateYRel",) * 2,
}
MOVING = {"rotate", "shear_x", "shear_y", "translate_x", "translate_y"}


def _drawn(spec: Any, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    found = ra.checked(spec)
    assert found is not None
    return found.draw(np.random.default_rng(0), (count, 1))


def test_a_published_text_says_what_is_drawn() -> None:
    assert ra.checked(PUBLISHED) == ra.RandAugment(4, 7, timm=True, noise=0.5, increasing=True)
    assert ra.checked("rand-n3-m9") == ra.RandAugment(3, 9, timm=True)
    assert ra.checked("rand") == ra.RandAugment(2, 10, timm=True)
    assert ra.checked([4, 7]) == ra.RandAugment(4, 7) and ra.checked(False) is None


@pytest.mark.parametrize("spec", ["rand-m11", "rand-n0", "rand-m7-w0", "augmix-m3", "rand-m7,n4", "rand-mstdinf", "m7"])
def test_another_text_is_an_error_that_shows_a_right_one(spec: str) -> None:
    with pytest.raises(ConfigError, match=rf"rand_augment: '{spec}' should be as timm writes it, rand-m7-n4-mstd0\.5"):
        ra.checked(spec)


def test_each_of_four_operations_is_carried_out_half_of_the_time_with_a_magnitude_around_seven() -> None:
    chosen, strengths = _drawn(PUBLISHED)
    assert chosen.shape == strengths.shape == (20_000, 1, 4)
    first = len(ra.OPERATIONS)
    assert np.mean(chosen == 0) == pytest.approx(0.5, abs=0.01)
    shares = np.bincount(chosen[chosen > 0] - first, minlength=15) / (chosen > 0).sum()
    np.testing.assert_allclose(shares, 1 / 15, atol=0.005)
    turned = strengths[chosen == first + NAMES.index("rotate")] / 3  # magnitudes 0..10 are 30 degrees
    assert np.mean(turned > 0) == pytest.approx(0.5, abs=0.03)
    assert abs(turned).mean() == pytest.approx(7, abs=0.05) and abs(turned).std() == pytest.approx(0.5, abs=0.03)
    chosen, strengths = _drawn("rand-m10-mstd3-n1")
    assert abs(strengths[chosen == first + NAMES.index("rotate")]).max() == 30  # never beyond the largest


@needs_package("timm")
@pytest.mark.parametrize("name", NAMES)
def test_strengths_are_timms_at_every_magnitude(name: str) -> None:
    from timm.data.auto_augment import LEVEL_TO_ARG

    strength = ra.TIMM_OPERATIONS[name][0]
    for increasing in (False, True):
        theirs = LEVEL_TO_ARG[THEIRS[name][increasing]]
        for magnitude in np.linspace(0, 10, 41):
            ours = {strength(magnitude / 10, sign, increasing) for sign in (-1.0, 1.0)}
            drawn = {theirs(magnitude, {})[0] for _ in range(20)} if theirs else {0.0}
            assert all(min(abs(one - other) for other in ours) < 1e-9 for one in drawn), (magnitude, ours, drawn)


@needs_package("timm")
@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_timms(name: str) -> None:
    from PIL import Image
    from timm.data.auto_augment import NAME_TO_OP

    frame = fill.make_frames(1, 48, 64)[0]
    tensor = torch.from_numpy(frame).permute(2, 0, 1)[None]
    strength, do = ra.TIMM_OPERATIONS[name]
    options = {"resample": Image.Resampling.BILINEAR, "fillcolor": (128, 128, 128)}
    for level, sign in ((0.7, 1.0), (0.7, -1.0), (0.33, 1.0), (0.0, 1.0), (1.0, -1.0)):
        value = strength(level, sign, True)
        arguments = () if name in ("auto_contrast", "equalize", "invert") else (value,)
        theirs = np.array(NAME_TO_OP[THEIRS[name][1]](Image.fromarray(frame), *arguments, **options)).astype(int)
        away = abs(do(tensor, value)[0].permute(1, 2, 0).numpy() - theirs).max(-1)
        if name in MOVING:  # at an edge, half a pixel is grey there and none here, or the other way round
            assert (away > 3).mean() < 0.12, (value, (away > 3).mean())
        else:
            assert away.max() <= 2, (value, away.max())
