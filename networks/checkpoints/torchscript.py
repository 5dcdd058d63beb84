"""Reads the tensors out of a TorchScript archive, such as OpenAI's CLIP, without running the program in it."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from networks.checkpoints.plain_pickle import PlainUnpickler

CODE = "__torch__"  # where the classes of a program seem to be
TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Part:
    """Stands in for an object of the program: it keeps what was set on it, and does nothing."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


class _Unpickler(PlainUnpickler):
    """Unpickles in Python, with `_Part` for every class of the program, and nothing but tensors beside them."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(_record(archive, f"{folder}/data.pkl"))
        self._archive, self._folder = archive, folder
        self._read: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == CODE:
            return _Part
        known: dict[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data,
            **{f"torch.{storage}": dtype for storage, dtype in TYPES.items()},
        }
        if f"{module}.{name}" not in known and module == "torch.jit._pickle":
            return lambda *values: values[0] if values else None  # lists of plain values
        if f"{module}.{name}" not in known:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")  # the same words as torch's error
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Tensor:
        """Returns a storage as a flat tensor. Raises: pickle.UnpicklingError for another kind of object."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise pickle.UnpicklingError("an object that is no tensor")
        _, dtype, key, _, _ = pid
        if not isinstance(key, str):
            raise pickle.UnpicklingError("a storage without a name")
        if key not in self._read:
            data = bytearray(_record(self._archive, f"{self._folder}/data/{key}"))
            self._read[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._read[key]


def _record(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns a record of an archive. Raises: ValueError for one that would unpack to more than the file has."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """Returns the part of a storage that a tensor is. Raises: ValueError if it is larger than the storage."""
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    held = storage.numel()
    outside = offset < 0 or min((*size, *stride, 0)) < 0 or (0 not in size and last >= held)
    if outside or math.prod(size) > held:  # with strides of 0, a few bytes would stand for any number of values
        raise ValueError("a tensor is larger than what is stored of it")
    return storage.as_strided(size, stride, offset)


def is_torchscript(path: Path) -> bool:
    """Tells whether a zip file is the archive of a TorchScript program."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Returns the parameters and buffers of a program by name, as its state dict would; its code is not looked at.

    Raises: pickle.UnpicklingError that names an object which is not allowed; zipfile.BadZipFile and others for a
        damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        folder = next(name for name in names if name.endswith("/constants.pkl")).rpartition("/")[0]
        program = _Unpickler(archive, folder).load()
    found: dict[str, Tensor] = {}
    todo: list[tuple[str, Any]] = [("", program)]
    seen: set[int] = set()
    while todo:
        name, part = todo.pop()
        if isinstance(part, Tensor):
            found[name] = part
        elif isinstance(part, _Part) and id(part) not in seen:
            seen.add(id(part))
            todo += [(f"{name}.{key}" if name else key, value) for key, value in vars(part).items()]
    return dict(sorted(found.items()))
