from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.utils.transforms.test_image import JPEG, encoded
from utils.transforms.crops import RandomResized
from utils.transforms.cut_clip import CutClip
from utils.transforms.image import decode_image, headers_of_one_size, jpeg_header

# how the colours are sampled (OpenCV's names of it), or Pillow's options
CODINGS = {
    "4:2:0": 0x221111,
    "4:2:2": 0x211111,
    "4:4:0": 0x121111,
    "4:4:4": 0x111111,
    "4:1:1": 0x411111,
    "grey": "L",
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 3},
}
SMOOTH = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (256, 340, 3), np.uint8), (0, 0), 2)
DETAILED = np.random.default_rng(0).integers(0, 256, (77, 61, 3), np.uint8)


def coded(image: np.ndarray, coding: int | str | dict[str, object]) -> bytes:
    if isinstance(coding, int):
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, coding])[1].tobytes()
    if isinstance(coding, str):
        return encoded(Image.fromarray(image).convert(coding))
    return encoded(Image.fromarray(image), **coding)


@pytest.mark.parametrize("reduce", [1, 2])
@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("shape", [(77, 61), (16, 40), (40, 1), (33, 9)])
def test_the_rows_that_are_needed_are_what_the_whole_picture_has(
    shape: tuple[int, int], coding: int | str | dict[str, object], reduce: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for picture in (DETAILED[: shape[0], : shape[1]], np.full((*shape, 3), 7, np.uint8)):
        data = coded(picture, coding)
        whole = decode_image(data, reduce)
        for rows in range(reduce, shape[0] + 1, reduce):
            part = decode_image(data, reduce, rows=rows)
            assert rows // reduce <= len(part) <= len(whole)
            np.testing.assert_array_equal(part[: rows // reduce], whole[: rows // reduce])
    assert capfd.readouterr() == ("", ""), "libjpeg complains on stderr about what it takes for damage"


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_rows_that_are_not_needed_are_not_decoded_where_they_come_last(coding: int | str | dict[str, object]) -> None:
    data = coded(DETAILED, coding)
    in_order = coding not in ({"progressive": True}, {"restart_marker_blocks": 3})
    assert len(decode_image(data, rows=30)) == (31 if in_order and hasattr(cv2, "IMREAD_COLOR_RGB") else 77)


@pytest.mark.parametrize("behind", [b"more", b"\xff\xd9", b"\xff\xfe\x00\x05hey\xff\xd9", coded(DETAILED, 0x221111)])
def test_a_jpeg_with_something_behind_its_end_is_decoded_whole_and_in_silence(
    behind: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    data = coded(DETAILED, 0x221111)
    np.testing.assert_array_equal(decode_image(data + behind, rows=30), decode_image(data))
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_whose_data_end_early_is_an_error_unless_only_rows_before_the_damage_are_needed() -> None:
    data = coded(SMOOTH, 0x221111)
    header = jpeg_header(data)
    assert header is not None
    damaged = data[: (header.scan + len(data)) // 2] + b"\xff\xd9"
    for rows in (None, 200):
        with pytest.raises(ValueError, match=r"damaged JPEG, .* bytes: libjpeg says 'Corrupt JPEG data: premature end"):
            decode_image(damaged, rows=rows)
    if hasattr(cv2, "IMREAD_COLOR_RGB"):  # an older OpenCV decodes all rows
        np.testing.assert_array_equal(decode_image(damaged, rows=64)[:64], decode_image(data)[:64])


def test_markers_without_a_length_hide_no_header() -> None:
    data = coded(DETAILED, 0x221111)
    inner = b"\xff\xe4\x00\x20" + b"\xff\xc0\x00\x11\x08\x01\x2c\x01\xf4\x03" + bytes(20)
    odd = data[:2] + b"\xff\x01" + inner + data[2:]
    header = jpeg_header(odd)
    assert header is not None and header[:3] == (77, 61, 3)


@pytest.mark.parametrize("length", range(0, 700, 7))
def test_a_header_that_is_cut_off_anywhere_is_no_header_or_a_whole_one(length: int) -> None:
    data = coded(DETAILED, 0x221111)
    whole = jpeg_header(data)
    assert whole is not None and whole[:3] == (77, 61, 3) and whole.block == 16 and not whole.exif
    header = jpeg_header(data[:length])
    assert header is None or header[:3] == whole[:3]
    with pytest.raises(ValueError, match=r"bytes|OpenCV"):
        decode_image(data[:length], rows=20)


def test_headers_of_one_size_are_those_of_plain_jpegs_that_are_all_as_large() -> None:
    frames = [coded(DETAILED, 0x221111), coded(255 - DETAILED, 0x221111), coded(DETAILED, 0x111111)]
    found = headers_of_one_size(frames)
    assert found is not None and found == [jpeg_header(frame) for frame in frames] and found[0] != found[2]
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(DETAILED), exif=exif)
    for other in (coded(DETAILED[:-1], 0x221111), turned, encoded(Image.fromarray(DETAILED), "PNG"), b"", JPEG[:30]):
        assert headers_of_one_size([*frames, other]) is None and headers_of_one_size([other, *frames]) is None


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_an_orientation_that_only_xmp_tells_is_the_same_encoded_and_decoded(mode: str) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    frames = [encoded(Image.fromarray(DETAILED).convert(mode), xmp=xmp)] * 2
    for seed in range(6):
        clips, _ = CutClip(RandomResized(), 32, interpolation="linear")(frames, np.random.default_rng(seed))
        decoded = [decode_image(frame) for frame in frames]
        whole, _ = CutClip(RandomResized(), 32, interpolation="linear").apply(decoded, np.random.default_rng(seed))
        np.testing.assert_array_equal(clips, whole)
