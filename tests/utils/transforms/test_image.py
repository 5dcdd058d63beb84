from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.golden import fill
from utils.transforms.image import decode_grey, decode_image, jpeg_header

RGB = cv2.GaussianBlur(fill.make_frames(1, 60, 82)[0], (0, 0), 3)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


JPEG = encoded(Image.fromarray(RGB), quality=95)


def test_a_jpeg_decodes_as_pillow_decodes_it_in_rgb_order() -> None:
    expected = np.asarray(Image.open(io.BytesIO(JPEG)))
    image = decode_image(JPEG)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable
    np.testing.assert_allclose(image.astype(int), expected, atol=1)  # the two may carry different libjpegs
    red = decode_image(encoded(Image.new("RGB", (8, 8), (250, 10, 20)), "PNG"))
    assert red[0, 0].tolist() == [250, 10, 20]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_read_whatever_the_file_is_called(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(RGB), kind, **options)), RGB)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_grey_palette_and_alpha_become_rgb(mode: str) -> None:
    source = Image.fromarray(RGB).convert(mode)
    image = decode_image(encoded(source, "PNG"))
    assert image.shape == RGB.shape
    np.testing.assert_allclose(image.astype(int), np.asarray(source.convert("RGB")), atol=1)


def test_grey_jpeg_becomes_rgb_with_equal_channels() -> None:
    image = decode_image(encoded(Image.fromarray(RGB).convert("L"), quality=95))
    assert image.shape == RGB.shape and (image[..., 0] == image[..., 2]).all()


def test_cmyk_jpeg_looks_like_its_rgb_original() -> None:
    data = encoded(Image.fromarray(RGB).convert("CMYK"), quality=98)
    header = jpeg_header(data)
    assert header is not None and header[:3] == (60, 82, 4)
    image = decode_image(data)
    assert image.shape == RGB.shape
    assert np.abs(image.astype(int) - RGB).mean() < 3


def test_exif_orientation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to show
    for mode in ("RGB", "CMYK"):
        data = encoded(Image.fromarray(RGB).convert(mode), exif=exif)
        assert decode_image(data).shape == (82, 60, 3), mode


def test_bytes_after_the_end_do_not_matter() -> None:
    np.testing.assert_array_equal(decode_image(JPEG + b"\0" * 100), decode_image(JPEG))
    np.testing.assert_array_equal(decode_image(JPEG + b"a trailer of some phone"), decode_image(JPEG))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_image_is_an_error_never_half_a_picture(kind: str, share: float) -> None:
    data = encoded(Image.fromarray(RGB), kind)
    with pytest.raises(ValueError, match=r"bytes|OpenCV"):
        decode_image(data[: int(len(data) * share)])


def test_a_truncated_jpeg_with_a_thumbnail_is_still_truncated() -> None:
    thumbnail = encoded(Image.fromarray(RGB[:16, :16]))
    data = JPEG[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + JPEG[2:]
    assert decode_image(data).shape == RGB.shape
    with pytest.raises(ValueError, match="truncated JPEG"):
        decode_image(data[: len(data) * 2 // 3])


def test_a_jpeg_whose_rest_was_never_written_is_truncated() -> None:
    half = len(JPEG) // 2
    with pytest.raises(ValueError, match="truncated JPEG"):
        decode_image(JPEG[:half] + b"\0" * half)


def claiming(kind: str, side: int) -> bytes:
    """Returns a small picture whose header says that it has side x side pixels."""
    data = bytearray(encoded(Image.fromarray(RGB), kind))
    if kind == "JPEG":
        header = jpeg_header(bytes(data))
        assert header is not None
        data[header.height_at : header.height_at + 4] = side.to_bytes(2, "big") * 2
    elif kind == "PNG":
        data[16:24] = side.to_bytes(4, "big") * 2
    elif kind == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_picture_that_claims_too_many_pixels_takes_no_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for decode in (decode_image, decode_grey):
        with pytest.raises(ValueError, match=r"9000x9000 pixels are more than the 67108864 of common\.data\.max"):
            decode(claiming(kind, 9000))


def test_the_limit_of_pixels_is_the_last_number_that_is_allowed() -> None:
    height, width = RGB.shape[:2]
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(Image.fromarray(RGB), kind)
        assert decode_image(data, max_pixels=height * width).shape == RGB.shape
        with pytest.raises(ValueError, match=f"{width}x{height} pixels are more than the {height * width - 1}"):
            decode_image(data, max_pixels=height * width - 1)


def test_a_jpeg_that_hides_its_size_from_us_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = claiming("JPEG", 30000)
    hidden = data[:2] + b"garbage" + data[2:]  # libjpeg skips what is between segments
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="nothing in it says its size"):
        decode_image(hidden)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"<html>404</html>" * 9])
def test_what_is_no_image_is_an_error_with_its_size(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"{len(data)} bytes"):
        decode_image(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_reduced_decoding_is_close_to_averaging_the_whole_picture(kind: str, reduce: int) -> None:
    source = cv2.GaussianBlur(fill.make_frames(1, 240, 320)[0], (0, 0), 2)
    data = encoded(Image.fromarray(source), kind, **({"quality": 95} if kind == "JPEG" else {}))
    small = decode_image(data, reduce)
    assert small.shape == (240 // reduce, 320 // reduce, 3)
    expected = cv2.resize(decode_image(data), (320 // reduce, 240 // reduce), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 2.5
