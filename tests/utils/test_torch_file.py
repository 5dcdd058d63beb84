"""Files of torch.save: every changed byte is seen, and a small file takes little memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.torch_file import BoundedFile, DamagedError, read_torch


def _saved(path: Path, contents: object, **options: bool) -> bytes:
    torch.save(contents, path, **options)
    return path.read_bytes()


def test_any_flipped_bit_of_the_weights_is_seen(tmp_path: Path) -> None:
    whole = _saved(tmp_path / "x.pth", {"weight": torch.arange(64.0)})
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        start = whole.index(archive.read("x/data/0"))
    rng = np.random.default_rng(0)
    for place in rng.integers(start, start + 256, 20):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "x.pth").write_bytes(changed)
        with pytest.raises(DamagedError, match="Bad CRC-32 for file 'x/data/0'"):
            read_torch(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(whole)
    assert torch.equal(read_torch(tmp_path / "x.pth")["weight"], torch.arange(64.0))


def test_a_file_of_another_pickle_protocol_is_read_without_a_warning(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "x.pth", pickle_protocol=3)
    assert torch.equal(read_torch(tmp_path / "x.pth")["weight"], torch.ones(3))


def test_a_file_that_was_written_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        _saved(tmp_path / "x.pth", {"weight": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_torch(tmp_path / "x.pth")["weight"], torch.ones(3))


def _compressed(path: Path) -> None:
    whole = zipfile.ZipFile(io.BytesIO(_saved(path, {"weight": torch.zeros(1 << 20)})))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for record in whole.infolist():
            packed.writestr(record.filename, whole.read(record))


HUGE = {"weight": torch.ones(1).expand(4 * 10**9)}
GROWS: list[tuple[str, Callable[[Path], object]]] = [
    ("0.weight has 4000000000 numbers in 4 bytes", lambda path: _saved(path, [HUGE])),
    (
        "weight has 4000000000 numbers in 4 bytes",
        lambda path: _saved(path, HUGE, _use_new_zipfile_serialization=False),
    ),
    ("its records are compressed or overlap", _compressed),
]


@pytest.mark.parametrize(("words", "write"), GROWS, ids=["zip", "legacy", "compressed"])
def test_what_would_grow_in_memory_is_refused(words: str, write: Callable[[Path], object], tmp_path: Path) -> None:
    write(tmp_path / "x.pth")
    with pytest.raises(DamagedError, match=words):
        read_torch(tmp_path / "x.pth")


def test_no_more_bytes_are_read_than_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcdef")
    with BoundedFile(tmp_path / "x") as file:
        assert (file.read(2), file.read(1 << 40), file.read(1 << 40), file.read()) == (b"ab", b"cdef", b"", b"")
