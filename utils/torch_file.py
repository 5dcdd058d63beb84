"""Reads files of torch.save without trusting them: whole, without running code, in memory of the file's own size."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.files import no_pipe
from utils.pickle_containers import check_containers

ZIP_MAGIC = b"PK\x03\x04"
BLOCK = 1 << 20
PICKLES = 5  # of torch's old format, the last but one of which has the contents
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SUM = "state_dict_sum"  # entry of our checkpoints


class DamagedError(ValueError):
    """Says in a few words what is wrong with a file."""


class BoundedFile(io.BufferedReader):
    """A file that never makes room for more bytes than it has left, whatever length its contents claim."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(no_pipe(path)))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1) -> bytes:
        """Reads up to `size` bytes, all of them by default."""
        if size is not None and 0 <= size <= BLOCK:  # most are of single bytes
            return super().read(size)
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def read_torch(path: Path, *, allowed: Sequence[Any] = (), trust: bool = False) -> Any:
    """Returns the contents of a file of torch.save, on the CPU.

    allowed: further classes and functions that it may hold, as torch.serialization.safe_globals takes them.
    trust: accept every object, which runs code from the file.
    Raises: DamagedError for changed bytes and for claims that do not fit the file's size; OSError for a named pipe;
        what torch.load raises.
    """
    with BoundedFile(path) as file:
        if file.peek(len(ZIP_MAGIC)).startswith(ZIP_MAGIC):
            check_zip(file, trust=trust)
        elif not trust:
            for _ in range(PICKLES):
                check_containers(file)
        file.seek(0)
        with torch.serialization.safe_globals([*allowed]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*TorchScript")  # it is an error of one line
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # what torch cannot read, it refuses
            try:
                contents = torch.load(file, map_location="cpu", weights_only=not trust)
            except AssertionError as error:  # how torch's old format says that a tensor has no storage
                raise DamagedError(str(error)) from None
    for name, tensor in tensors_in(contents):
        _check_size(name, tensor)
    return contents


def sum_of(state: Mapping[str, Tensor]) -> int:
    """Returns a checksum of names, types, shapes and values."""
    found = 0
    for key, value in state.items():
        found = zlib.crc32(f"{key} {value.dtype} {tuple(value.shape)}".encode(), found)
        if value.numel():
            found = zlib.crc32(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data, found)
    return found


def hash_of(state: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of names, shapes and values in float32, whatever the order and the type they are kept in."""
    found = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu()
        value = value.float() if value.is_floating_point() else value
        found.update(f"{key} {tuple(value.shape)}".encode())
        if value.numel():
            found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def not_finite(state: Mapping[str, Tensor]) -> str:
    """Says which weights or statistics of a network are NaN or infinite; "" if none are."""
    bad = [key for key, value in state.items() if _is_learned(key, value) and not _is_finite(value)]
    if not bad:
        return ""
    first = state[bad[0]]
    return (
        f"{bad[0]} is NaN or infinite in {int((~first.isfinite()).sum())} of {first.numel()} places ({len(bad)} of "
        f"{len(state)} tensors hold such values)"
    )


def _is_learned(key: str, value: Tensor) -> bool:
    return value.dtype in FLOATS and "mask" not in key  # attention masks are infinite on purpose


def _is_finite(value: Tensor) -> bool:
    """Says whether all numbers are finite. It looks at least and largest, a quarter of the time of value.isfinite()."""
    return not value.numel() or all(end.isfinite() for end in value.aminmax())  # aminmax keeps NaN


def check_zip(file: io.BufferedReader, *, trust: bool = False) -> None:
    """Compares the checksum of every record, which torch does not, and refuses records that unpack to more.

    Records that torch.save wrote without checksums (torch.serialization.set_crc32_options) cannot be checked.
    trust: do not look at what is pickled.
    Raises: DamagedError; pickle.UnpicklingError for values without a bound.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if any(record.filename.endswith("/constants.pkl") for record in records):
                return  # a TorchScript program, which torch.load refuses by that name
            size = os.fstat(file.fileno()).st_size
            if sum(record.file_size for record in records) > size:
                raise DamagedError("its records are compressed or overlap")
            for record in records if any(record.CRC for record in records) else ():
                with archive.open(record) as member:
                    while member.read(BLOCK):
                        pass
            for record in records if not trust else ():
                if record.filename.endswith("data.pkl"):
                    check_containers(io.BytesIO(_content(archive, record)))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedError(str(error) or "it is cut off") from None


def _content(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bytes:
    """Returns what a record holds, also one that was written without a checksum."""
    unchecked = copy.copy(record)
    del unchecked.CRC  # zipfile compares it where there is one
    return archive.read(unchecked)


def tensors_in(contents: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor of nested dicts and lists once, with the keys that lead to it."""
    seen: set[int] = set()
    todo: list[tuple[str, Any]] = [("", contents)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, Tensor):
            yield name, value
        if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            todo += [(f"{name}.{key}" if name else str(key), inner) for key, inner in pairs]


def _check_size(name: str, tensor: Tensor) -> None:
    """Raises: DamagedError for a tensor of a few bytes that stands for many numbers, as with a stride of 0."""
    with contextlib.suppress(RuntimeError, NotImplementedError):  # sparse tensors have no storage of their own
        held = tensor.untyped_storage().nbytes()
        if tensor.device.type != "meta" and tensor.numel() * tensor.element_size() > held:
            raise DamagedError(f"{name} has {tensor.numel()} numbers in {held} bytes; save it as a plain tensor")
