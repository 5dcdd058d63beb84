"""Tests that a JPEG which libjpeg complains about is an error, and that stderr is as before in every case."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.utils.transforms.test_image_jpeg import CODINGS, SMOOTH, coded
from utils.transforms import image
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip
from utils.transforms.image import UnreadableFrameError, decode_grey, decode_image, jpeg_header

SOUND = coded(SMOOTH, 0x221111)


def zeroed(data: bytes) -> bytes:
    """Returns a JPEG with 512 bytes of zeros in the middle of its pixels, and with its end marker."""
    header = jpeg_header(data)
    assert header is not None
    middle = (header.scan + len(data)) // 2
    return data[:middle] + bytes(512) + data[middle + 512 :]


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(file, "JPEG", quality=90)
    return file.getvalue()


DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "whole": decode_image,
    "an eighth, as check_data looks": lambda data: decode_image(data, 8),
    "grey": decode_grey,
}


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
@pytest.mark.parametrize("coding", [*CODINGS.values(), "CMYK"], ids=[*CODINGS, "CMYK"])
def test_a_damaged_jpeg_is_an_error_and_nothing_is_printed(
    decode: Callable[[bytes], np.ndarray], coding: int | str | dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    data = cmyk() if coding == "CMYK" else coded(SMOOTH, coding)
    before = decode(data)
    with pytest.raises(ValueError, match=r"damaged JPEG, [0-9]+ bytes: libjpeg says '(Corrupt|Inconsistent)"):
        decode(zeroed(data))
    np.testing.assert_array_equal(decode(data), before)
    assert capfd.readouterr() == ("", "")


def test_most_cuts_and_most_zeroed_blocks_are_told() -> None:
    rng = np.random.default_rng(0)
    header = jpeg_header(SOUND)
    assert header is not None
    told = {"cut": 0, "zeroed": 0}
    for _ in range(40):
        place = int(rng.integers(header.scan + 14, len(SOUND) - 600))
        for kind, damaged in (
            ("cut", SOUND[:place] + SOUND[place + 100 :]),
            ("zeroed", SOUND[:place] + bytes(512) + SOUND[place + 512 :]),
        ):
            try:
                decode_image(damaged)
            except ValueError:
                told[kind] += 1
    assert told["cut"] > 20 and told["zeroed"] > 20


def test_the_damaged_frame_of_a_clip_is_named_though_the_clip_is_heard_as_a_whole(
    capfd: pytest.CaptureFixture[str],
) -> None:
    cut = CutClip(TestCrops(32), 32)
    before, _ = cut([SOUND] * 4)
    with pytest.raises(UnreadableFrameError, match=r"frame 3 of 4: .*damaged JPEG") as raised:
        cut([SOUND, SOUND, zeroed(SOUND), SOUND])
    assert raised.value.position == 2
    np.testing.assert_array_equal(cut([SOUND] * 4)[0], before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("first", [SOUND, coded(SMOOTH[:40], 0x221111)], ids=["of one size", "of two sizes"])
def test_the_first_damaged_frame_is_named_though_a_later_one_is_cut_off(
    first: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnreadableFrameError, match=r"frame 2 of 4: .*damaged JPEG") as raised:
        CutClip(TestCrops(32), 32)([first, zeroed(SOUND), SOUND, SOUND[:-40]])
    assert raised.value.position == 1
    assert capfd.readouterr() == ("", "")


def test_what_others_print_meanwhile_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    decode = cv2.imdecode

    def printing(*arguments: object) -> object:
        os.write(2, b"a thread says hello\n")
        return decode(*arguments)

    monkeypatch.setattr(image.cv2, "imdecode", printing)
    assert decode_image(SOUND).shape == SMOOTH.shape
    with pytest.raises(ValueError, match="damaged JPEG"):
        decode_image(zeroed(SOUND))
    assert capfd.readouterr().err == "a thread says hello\n" * 2


def test_threads_do_not_hear_each_other() -> None:
    files = [SOUND, zeroed(SOUND)] * 20

    def sound(data: bytes) -> bool:
        try:
            decode_image(data)
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sound, files)) == [True, False] * 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_and_one_without_stderr_hear_as_well() -> None:
    decode_image(SOUND)
    if (child := os.fork()) == 0:
        code = 1
        try:
            sys.stderr = None
            os.close(2)
            decode_image(SOUND)
            try:
                decode_image(zeroed(SOUND))
            except ValueError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    decode_image(SOUND)
