"""A file of flat arrays: what comes back is what was written, to the bit, or the file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.flat_file import open_arrays, save_arrays

ARRAYS = {
    "labels": np.arange(7),
    "empty": np.zeros((0, 3), np.float32),
    "names": np.array(["a", "bcd"], "S3"),
    "grid": np.arange(6, dtype=np.uint8).reshape(2, 3),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_arrays(tmp_path / "x.flat", {"source": "ü"}, ARRAYS)
    return tmp_path / "x.flat"


def test_arrays_come_back_with_their_description(path: Path) -> None:
    about, arrays = open_arrays(path)
    assert about == {"source": "ü"} and arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_a_changed_byte_anywhere_is_seen(path: Path) -> None:
    whole = path.read_bytes()
    header = whole.rindex(b"}") + 1
    for place in [*range(header), *range(len(whole) - 4 * 64, len(whole), 5)]:
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"x\.flat|Expecting|Unterminated|Invalid|utf-8|Extra|place|delimiter"):
            open_arrays(path)


def test_a_file_that_is_cut_off_is_incomplete(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 10, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"x\.flat"):
            open_arrays(path)


def _rewritten(path: Path, **entry: Any) -> None:
    """Changes the header as somebody may who knows the format: without a checksum, as earlier versions wrote it."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[8:16], "little")
    header = json.loads(whole[16 : 16 + length])
    del header["sum"]
    header["arrays"]["labels"] |= entry
    text = json.dumps(header).encode().ljust(length)
    path.write_bytes(whole[:16] + text + whole[16 + length :])


def test_a_pack_from_before_there_were_checksums_opens(path: Path) -> None:
    _rewritten(path)
    assert open_arrays(path)[1]["labels"].tolist() == [*range(7)]


@pytest.mark.parametrize(
    "entry",
    [{"dtype": "O"}, {"dtype": "|V8"}, {"offset": -64}, {"offset": 9999}, {"shape": [-7]}, {"shape": [10**15]}],
)
def test_a_header_opens_nothing_outside_its_file_and_makes_no_pointers(path: Path, entry: dict[str, Any]) -> None:
    _rewritten(path, **entry)
    with pytest.raises(ValueError, match=r"no place for|damaged \("):
        open_arrays(path)
