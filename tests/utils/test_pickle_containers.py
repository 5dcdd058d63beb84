"""Containers of a pickle: plain ones of any kind pass, those without a bound are refused before anything reads them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from utils.pickle_containers import check_containers
from utils.torch_file import read_torch

TWICE = b")" + b"2\x86" * 60  # a tuple that holds the last one twice, again and again: Python's hash never ends
DEEP = b")" + b"\x85" * 500_000  # whose hash has no place on the stack


def _check(data: bytes) -> None:
    check_containers(io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_of_any_protocol_pass(protocol: int) -> None:
    values: dict[Any, Any] = {
        "a": [1, 2.0, None, True, b"x", "y" * 300, 2**70],
        ("b", 1): ({"c": ()}, {1, 2}, frozenset({3}), bytearray(b"z")),
        "d": OrderedDict(e=[[]] * 50),
    }
    values["itself"] = values
    _check(pickle.dumps(values, protocol))


def test_one_pickle_of_a_file_is_read_and_no_more() -> None:
    file = io.BytesIO(pickle.dumps([1]) + pickle.dumps([2]) + b"tail")
    check_containers(file)
    check_containers(file)
    assert file.read() == b"tail"


def test_nothing_is_imported_or_called() -> None:
    _check(b"cno_such_module\nfunction\n(X\x01\x00\x00\x00atR.")
    _check(b"(X\x01\x00\x00\x00aino_such_module\nfunction\n.")


def _bottom_up(depth: int = 60) -> bytes:
    """Pickles lists that each hold the next one twice; each is whole before it is put anywhere."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value, value]
    return pickle.dumps(value)


def _top_down(depth: int = 60) -> bytes:
    """Pickles such lists so that each one is empty while it is put into the one above."""
    make = b"".join(b"]q%c0" % place for place in range(depth))
    fill = b"".join(b"h%ch%cah%ca0" % (place, place + 1, place + 1) for place in range(depth - 1))
    return b"\x80\x02" + make + fill + b"h\x00."


@pytest.mark.parametrize(
    "data",
    [
        b"}" + TWICE + b"K\x01s.",
        b"}" + DEEP + b"K\x01s.",
        b"}(" + TWICE + b"K\x01u.",
        b"(" + TWICE + b"K\x01d.",
        b"\x8f(" + TWICE + b"\x90.",
        b"(" + TWICE + b"\x91.",
        b"cm\nf\n" + TWICE + b"\x85R.",
        b"cm\nf\n)\x81" + TWICE + b"b.",
        b"cm\nf\n" + TWICE + b"}\x92.",
        b"(" + TWICE + b"icollections\nOrderedDict\n.",
        b"(cm\nf\n" + TWICE + b"o.",
        TWICE + b"0N.",  # thrown away, after it was hashed or printed
        _bottom_up(),
        _top_down(),
    ],
)
def test_containers_that_hold_each_other_without_a_bound_are_refused(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="nested too deeply, or too often in each other"):
        _check(data)


def test_the_two_ways_to_fill_lists_make_the_same() -> None:
    assert pickle.loads(_bottom_up(5)) == [[[[[[], []]] * 2] * 2] * 2] * 2 == pickle.loads(_top_down(6))


def test_what_is_put_into_a_number_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="holds nothing"):
        _check(b"K\x01K\x02a.")


def test_many_times_the_same_list_takes_no_time_that_grows_with_its_square() -> None:
    inner = list(range(20_000))
    _check(pickle.dumps([inner] * 50))
    with pytest.raises(pickle.UnpicklingError, match="too often"):
        _check(pickle.dumps([inner] * 20_000))


def _archive(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", "3\n")


@pytest.mark.parametrize("key", [TWICE, DEEP])
@pytest.mark.parametrize("old", [False, True], ids=["zip", "old format"])
def test_a_file_of_torch_with_such_a_name_is_refused_before_torch_reads_it(
    key: bytes, old: bool, tmp_path: Path
) -> None:
    path, data = tmp_path / "x.pth", b"\x80\x02}" + key + b"K\x01s."
    if old:
        torch.save({}, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes().replace(b"\x80\x02}q\x00.", data, 1))
    else:
        _archive(path, data)
    with pytest.raises(pickle.UnpicklingError, match="nested too deeply"):
        read_torch(path)
