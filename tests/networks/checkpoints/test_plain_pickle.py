"""Pickles of arrays in plain containers: what is in them comes back, and nothing that a stranger chose happens."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from networks.checkpoints.load import load_checkpoint_file
from networks.checkpoints.plain_pickle import read_plain_pickle
from tests.utils.test_pickle_containers import TWICE
from utils.errors import CheckpointError


class _Reduced:
    """Pickles as the call of a function with these arguments, and then the state that the result gets."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


_REBUILD, _SCALAR = (value.__reduce__()[0] for value in (np.zeros(1), np.float64(0)))
POINTERS = [
    ("buffer", _Reduced(np.ndarray, ((1,), "O", b"\x10\x32\x54\x76\x98\xba\xdc\xfe"))),
    ("type", _Reduced(np.ndarray, ((1,), _Reduced(np.dtype, ("O",)), b"\x10\x32\x54\x76\x98\xba\xdc\xfe"))),
    ("state", _Reduced(_REBUILD, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("O"), False, b"A" * 8))),
    ("scalar", _Reduced(_SCALAR, (np.dtype("O"), b"\x10\x32\x54\x76\x98\xba\xdc\xfe"))),
]


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("pointer", [made for _, made in POINTERS], ids=[name for name, _ in POINTERS])
def test_no_file_chooses_an_address_in_memory(pointer: _Reduced, kind: str, tmp_path: Path) -> None:
    contents = {"blobs" if kind == "pickle" else "state_dict": resnet18().state_dict(), "extra": pointer}
    path = tmp_path / "x.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"blobs": {"fc.weight": np.zeros(3)}, "extra": pointer}, 2))
        found = read_plain_pickle(path)["extra"]
    else:
        torch.save(contents, path)
        found = load_checkpoint_file(path).others["extra"]
    assert found is None or (isinstance(found, np.ndarray) and found.size == 0)


def test_arrays_and_numbers_of_numpy_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {
        "plain": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "other order of bytes": np.arange(3, dtype=">f4"),
        "none": np.zeros((0, 4), np.float32),
        "half": np.ones(2, np.float16),
        "bool": np.array([True, False]),
        "number": np.float64(0.1),
        "count": np.int64(-3),
    }
    for protocol in (0, 2, 4):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(arrays, protocol))
        found = read_plain_pickle(tmp_path / "x.pkl")
        for name, value in arrays.items():
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype.newbyteorder("=")


NOT_PLAIN = {
    "a name": (b"}" + TWICE + b"K\x01s", "nested too deeply"),
    "a codec": (b"c_codecs\nencode\nX\x01\x00\x00\x00aK\x01\x86R", "text in another codec"),
    "a changed function": (
        b"cnumpy.core.multiarray\n_reconstruct\nN}X\x08\x00\x00\x00__name__K\x01s\x86b",
        "a function or a class that is to be changed",
    ),
    "a changed class": (
        b"ccollections\nOrderedDict\nN}X\x03\x00\x00\x00getK\x01s\x86b",
        "a function or a class that is to be changed",
    ),
}


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_no_small_pickle_hangs_or_ends_the_process_or_changes_code(kind: str, tmp_path: Path) -> None:
    content, why = NOT_PLAIN[kind]
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04" + content + b".")
    with pytest.raises((pickle.UnpicklingError, ValueError), match=why):
        read_plain_pickle(tmp_path / "x.pkl")
    with pytest.raises(CheckpointError, match=r"x\.pkl: is neither"):
        load_checkpoint_file(tmp_path / "x.pkl")


def test_the_shape_of_an_array_is_plain_numbers(tmp_path: Path) -> None:
    shape = np.array([2**32, 2**32])  # whose product overflows to 0
    array = _Reduced(_REBUILD, (np.ndarray, (0,), b"b"), (1, shape, np.dtype("f4"), False, b""))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"blobs": {"x": array}}, 2))
    with pytest.raises(ValueError, match="an array without a shape"):
        read_plain_pickle(tmp_path / "x.pkl")
