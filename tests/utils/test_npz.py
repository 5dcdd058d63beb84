"""An .npz file is read as numbers and text, and takes no more memory than its size explains."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from utils import npz
from utils.npz import read_npz


def written(path: Path, content: bytes, *, compress: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("a.npy", content)
    return path


def npy(shape: str, kind: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3),
        "b": np.asfortranarray(np.ones((3, 2), np.float32)),
        "c": np.array("text"),
        "d": np.array([b"x", b"yz"]),
        "e": np.empty((0, 4), np.int8),
        "f": np.array([], dtype=np.str_),
    }
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    found = read_npz(tmp_path / "x.npz", arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


@pytest.mark.parametrize(
    "content",
    [
        npy("(4294967296, 1024)"),
        npy("(2,)", data=b"\0" * 9),
        npy("(-1,)"),
        npy("(1,)", "|O", b"\0" * 8),
        npy("(" * 200),
        npy("(1,", data=b"\0" * 4),
        npy("(True,)", "<f4", b"\0" * 4)[:20],
        b"",
        b"\x93NUMPY\x07\x00" + bytes(100),
    ],
)
def test_a_shape_that_the_bytes_do_not_have_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="damaged, or not what is expected"):
        read_npz(written(tmp_path / "x.npz", content), ["a"])


def test_what_unpacks_to_far_more_than_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "FREE_BYTES", 1 << 20)
    bomb = written(tmp_path / "x.npz", npy("(4000000,)", "|i1", bytes(4_000_000)), compress=True)
    assert bomb.stat().st_size < 10_000
    with pytest.raises(ValueError, match="claims to have 4000128 bytes"):
        read_npz(bomb, ["a"])


def test_a_damaged_archive_and_a_missing_array_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(1000))
    data = file.getvalue()
    for damaged in (data[:-30], data[:60] + bytes(30) + data[90:], b"PK\x03\x04", b"x"):
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            read_npz(tmp_path / "x.npz", ["a"])
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"b\.npy"):
        read_npz(tmp_path / "x.npz", ["b"])
