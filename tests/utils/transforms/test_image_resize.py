import cv2
import numpy as np
import pytest

from utils.transforms.image import quick_resize


def picture(*shape: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (3, 3), 0)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("channels", [(), (2,), (3,)])
@pytest.mark.parametrize("size", [(40, 48), (31, 57), (128, 100), (1, 1), (300, 20)])
def test_a_pixel_is_at_most_one_grey_level_from_opencvs_own(
    average: bool, channels: tuple[int, ...], size: tuple[int, int]
) -> None:
    image = picture(96, 128, *channels)
    own = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if average else cv2.INTER_LINEAR)
    quick = quick_resize(image, size, average=average)
    assert quick.shape == own.shape and quick.dtype == np.uint8
    assert np.abs(quick.astype(int) - own).max() <= 1


def test_it_writes_where_it_is_told_from_a_piece_of_a_larger_picture() -> None:
    frame, out = picture(96, 128, 3), np.zeros((2, 40, 48, 3), np.uint8)
    piece = frame[7:80, 11:99]
    resized = quick_resize(piece, (40, 48), average=False, out=out[1])
    assert np.shares_memory(resized, out) and not out[0].any()
    np.testing.assert_array_equal(out[1], quick_resize(piece.copy(), (40, 48), average=False))


def test_whoever_resizes_next_gets_opencvs_own_again() -> None:
    image = picture(97, 131, 3)
    before = cv2.resize(image, (60, 50))
    quick_resize(image, (50, 60), average=False)
    with pytest.raises(cv2.error):
        quick_resize(image, (0, 60), average=False)
    assert not cv2.ipp.useIPP_NotExact()
    np.testing.assert_array_equal(cv2.resize(image, (60, 50)), before)
