"""A file of flat arrays is what was written, or an error."""

from __future__ import annotations

import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.flat_file import open_arrays, save_arrays

ARRAYS = {
    "a": np.arange(5, dtype=np.int32),
    "b": np.ones((3, 2)),
    "none": np.empty((0, 2), np.uint8),
    "flag": np.array([True, False]),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_arrays(tmp_path / "x.flat", {"source": "x"}, ARRAYS)
    return tmp_path / "x.flat"


def with_header(path: Path, header: Any, content: bytes = bytes(128)) -> None:
    text = json.dumps(header).encode()
    text += b" " * (-(24 + len(text)) % 64)
    path.write_bytes(
        struct.pack("<8sQII", b"FLATARR2", len(text), zlib.crc32(text), zlib.crc32(content)) + text + content
    )


def test_what_was_written_comes_back(file: Path) -> None:
    about, arrays = open_arrays(file)
    assert about == {"source": "x"} and list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert not arrays[name].flags.writeable or not array.size


def test_every_flipped_bit_and_every_cut_is_noticed(file: Path) -> None:
    data = file.read_bytes()
    for place in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[place // 8] ^= 1 << place % 8
        if place % 7 and place > 64 * 8:  # all of the beginning, a part of the rest
            continue
        file.write_bytes(wrong)
        with pytest.raises(ValueError):
            open_arrays(file)
    for length in random.Random(0).sample(range(len(data)), 40):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError):
            open_arrays(file)


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    header = json.dumps(
        {"about": {}, "arrays": {"a": {"dtype": "<i4", "shape": [2], "offset": 0}}, "bytes": 64}
    ).encode()
    header += b" " * (-(16 + len(header)) % 64)
    content = np.array([7, 8], np.int32).tobytes() + bytes(56)
    (tmp_path / "x.flat").write_bytes(b"FLATARR1" + len(header).to_bytes(8, "little") + header + content)
    assert open_arrays(tmp_path / "x.flat")[1]["a"].tolist() == [7, 8]


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2**62, 8]},
        {"shape": [-1]},
        {"shape": [17]},
        {"shape": "x"},
        {"offset": -64},
        {"offset": 2**70},
        {"offset": 3},
        {"dtype": "|O"},
        {"dtype": "<u$"},
        {"dtype": "<U4"},
        {"dtype": None},
    ],
)
def test_arrays_that_the_file_cannot_hold_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    entry = {"dtype": "<i8", "shape": [4], "offset": 64} | change
    with_header(tmp_path / "x", {"about": {}, "arrays": {"a": entry}, "bytes": 128})
    with pytest.raises(ValueError, match="its header is damaged"):
        open_arrays(tmp_path / "x")


@pytest.mark.parametrize(
    "header", [[], {}, {"about": 1, "arrays": {}, "bytes": 128}, {"about": {}, "arrays": [1], "bytes": 128}]
)
def test_a_header_of_another_form_is_refused(header: Any, tmp_path: Path) -> None:
    with_header(tmp_path / "x", header)
    with pytest.raises(ValueError, match="its header is damaged"):
        open_arrays(tmp_path / "x")
