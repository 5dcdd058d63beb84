"""Tests that a file of arrays gives what was written, or an error: never other numbers, never an object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.flat_file import is_offsets, open_arrays, save_arrays

ARRAYS = {"a": np.arange(100, dtype=np.int64), "none": np.zeros((0, 3), np.float32), "b": np.ones((2, 3), np.uint8)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_arrays(tmp_path / "x.flat", {"note": "n"}, ARRAYS)
    return tmp_path / "x.flat"


def same(path: Path) -> bool:
    about, arrays = open_arrays(path)
    return about == {"note": "n"} and all(np.array_equal(arrays[name], array) for name, array in ARRAYS.items())


def test_what_was_written_is_read(file: Path) -> None:
    assert same(file) and open_arrays(file)[1]["none"].shape == (0, 3)


def test_no_bit_can_change_without_an_error(file: Path) -> None:
    data = file.read_bytes()
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        file.write_bytes(changed)
        with pytest.raises(ValueError, match=r"x.flat: "):
            open_arrays(file)


def test_a_file_that_is_cut_off_is_an_error(file: Path) -> None:
    data = file.read_bytes()
    for length in (0, 7, 20, 100, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"x.flat: "):
            open_arrays(file)


def first_format(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Writes a file of the first format, which has no checksums, with a changed header."""
    data = file.read_bytes()
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[24 : 24 + length])
    changed = change(header)
    text = json.dumps(header if changed is None else changed).encode()
    text += b" " * (-(16 + len(text)) % 64)
    file.write_bytes(b"FLATARR1" + len(text).to_bytes(8, "little") + text + data[24 + length :])


def test_files_without_checksums_are_read_where_that_is_asked_for(file: Path) -> None:
    first_format(file, lambda header: None)
    assert np.array_equal(open_arrays(file, without_sums=True)[1]["a"], ARRAYS["a"])
    with pytest.raises(ValueError, match="not a file of arrays"):
        open_arrays(file)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "objects": lambda header: header["arrays"]["a"].update(dtype="|O"),
    "text": lambda header: header["arrays"]["a"].update(dtype="no such"),
    "negative": lambda header: header["arrays"]["a"].update(shape=[-100]),
    "too long": lambda header: header["arrays"]["a"].update(shape=[10**9]),
    "huge": lambda header: header["arrays"]["a"].update(shape=[10**30, 10**30]),
    "nothing of huge": lambda header: header["arrays"]["a"].update(shape=[0, 10**30]),
    "no shape": lambda header: header["arrays"]["a"].pop("shape") and None,
    "shape of text": lambda header: header["arrays"]["a"].update(shape="x"),
    "outside": lambda header: header["arrays"]["a"].update(offset=10**9),
    "in front": lambda header: header["arrays"]["a"].update(offset=-64),
    "no arrays": lambda header: header.pop("arrays") and None,
    "a list": lambda header: [1, 2],
    "null": lambda header: header.update(arrays=None),
    "no description": lambda header: header.update(about=3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_header_that_makes_no_sense_is_an_error(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    first_format(file, change)
    with pytest.raises(ValueError, match=r"x.flat: "):
        open_arrays(file, without_sums=True)


def test_offsets_go_up_from_nothing_to_the_end() -> None:
    assert is_offsets(np.array([0, 2, 2, 5]), 3, 5) and is_offsets(np.array([0]), 0, 0)
    for wrong in ([0, 2, 1, 5], [1, 2, 3, 5], [0, 2, 3, 4], [0, 5]):
        assert not is_offsets(np.array(wrong), 3, 5)
