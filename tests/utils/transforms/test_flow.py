from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.helpers.moving import moving_texture
from tests.helpers.requirements import needs_package
from utils.errors import FrameError, UserError
from utils.transforms.flow import ALGORITHMS, BOUND, dis, needs, to_colours, to_levels, to_pixels


def grey(frames: np.ndarray) -> list[np.ndarray]:
    return [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]


@pytest.mark.whole
@pytest.mark.parametrize("algorithm", ["dis", pytest.param("tvl1", marks=needs_package("skimage"))])
@pytest.mark.parametrize(("x", "y"), [(3, 0), (-2, 0), (0, 2)])
def test_a_texture_that_moves_right_has_positive_x_and_down_positive_y(algorithm: str, x: int, y: int) -> None:
    field = ALGORITHMS[algorithm](*grey(moving_texture(0, frames=2, x=x, y=y)))
    assert field.dtype == np.float32 and field.shape[2] == 2
    assert np.median(field[..., 0]) == pytest.approx(x, abs=0.1)
    assert np.median(field[..., 1]) == pytest.approx(y, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_mirrored_field_is_the_field_of_the_mirrored_video(seed: int) -> None:
    """To two levels of 20 / 127.5 pixels: 255 - x is off by the rounding of x, and DIS looks from the top left on."""
    frames = moving_texture(seed, frames=2)
    mirrored = to_levels(dis(*grey(frames)))[:, ::-1].astype(int)
    mirrored[..., 0] = 255 - mirrored[..., 0]
    assert np.abs(to_levels(dis(*grey(frames[:, :, ::-1]))) - mirrored).max() <= 2


def test_levels_are_tsns() -> None:
    field = np.array([0.0, -BOUND, BOUND, -99, 99, 10], np.float32)
    assert to_levels(field).tolist() == [128, 0, 255, 0, 255, 191]
    assert to_levels(np.array([7.5, -7.5]), 7.5).tolist() == [255, 0]
    inside = np.linspace(-BOUND, BOUND, 999, dtype=np.float32)
    np.testing.assert_allclose(to_pixels(to_levels(inside)), inside, atol=BOUND / 255 * (1 + 1e-4))


def test_flow_does_not_depend_on_opencvs_threads() -> None:
    pair, threads = grey(moving_texture(1, frames=2)), cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        many = dis(*pair)
        assert cv2.getNumThreads() == 4
        cv2.setNumThreads(1)
        assert (dis(*pair) == many).all()
    finally:
        cv2.setNumThreads(threads)


def test_colours_tell_directions_and_white_stands_still() -> None:
    levels = np.full((1, 2, 3, 3, 2), 128, np.uint8)
    levels[0, 0, ..., 0] = 255
    shown = to_colours(levels)
    assert shown.shape == (1, 2, 3, 3, 3)
    assert shown[0, 0, 0, 0].tolist() == [255, 0, 0] and shown[0, 1].min() > 230


def test_what_is_too_small_or_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FrameError, match="8x8 pixels is too small"):
        dis(*np.zeros((2, 8, 8), np.uint8))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tvl1 needs scikit-image: pip install -r requirements-extras.txt"):
        needs("tvl1")
    needs("dis")
