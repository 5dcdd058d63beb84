"""Takes features from a layer of a trained network, and stores them: one row per video or window."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from datasets.videos.index import PIXELS
from tools.inference.channels import channel_axes
from tools.inference.network import TrainedNetwork
from tools.inference.token_maps import in_the_picture
from utils.errors import FrameError, UserError
from utils.files import atomic_write
from utils.npz import names_in, read_npz

Pool = Literal["space", "all", "none"]


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one video at one layer.

    features: float32 (N, ...), a row per window.
    times: float64 (N, 2), seconds of the first and last frame of each window.
    warnings: what was wrong with the video.
    """

    features: np.ndarray
    times: np.ndarray
    warnings: list[str] = field(default_factory=list)


class Layer:
    """One layer of a trained network, by its dotted name; "" is the network's own output.

    pool: "space" averages maps over height and width, "all" over time and the frames of a clip too, "none" keeps all.
    Raises: UserError for a name that does not exist, with similar ones.
    """

    def __init__(self, recognizer: TrainedNetwork, name: str, pool: Pool) -> None:
        if pool not in get_args(Pool):
            raise UserError(f"pool {pool!r}: should be one of {', '.join(get_args(Pool))}")
        network, changed = recognizer.folded
        self._network = recognizer.method if name in changed else network
        self._recognizer, self._module = recognizer, find_layer(self._network, name)
        self.name, self._pool = name, pool

    @torch.no_grad()
    def row(self, views: np.ndarray, batch_size: int) -> np.ndarray:
        """Runs the views (V, T, H, W, C) of one window -> float32 (...), averaged over the views."""
        parts = []
        for start in range(0, len(views), batch_size):
            clips = self._recognizer.normalise(views[start : start + batch_size])
            parts.append(self._shaped(*self._output(clips), clips).float().cpu())
        description = f"features of {self.name or 'the output'}"
        return self._recognizer.finite(torch.cat(parts).mean(0), description).numpy()

    def _output(self, clips: Tensor) -> tuple[Tensor, int | None]:
        """Returns what the layer answers, and the axis of its channels."""
        caught: list[Any] = []
        handle = self._module.register_forward_hook(lambda module, given, output: caught.append(output))
        try:
            with torch.inference_mode(), channel_axes(self._network, {self.name: self._module}) as axes:
                self._network(clips)
        finally:
            handle.remove()
        if len(caught) != 1 or not isinstance(caught[0], Tensor):
            what = "does not run" if not caught else f"runs {len(caught)} times" if len(caught) > 1 else "has no tensor"
            raise UserError(f"layer {self.name}: it {what} in one pass, so it has no single answer")
        return caught[0], axes[self.name]

    def _shaped(self, output: Tensor, axis: int | None, clips: Tensor) -> Tensor:
        if self._pool != "none":
            output = self._in_the_picture(output, axis, clips)
        tokens, maps = output.dim() == 3, output.dim() >= 4
        output = by_clip(output, len(clips))
        if self._pool == "none" or tokens:
            return output
        if self._pool == "all":
            return output.flatten(2).mean(2) if output.dim() > 2 else output
        return output.mean(dim=(-2, -1)) if maps else output

    def _in_the_picture(self, output: Tensor, axis: int | None, clips: Tensor) -> Tensor:
        """Orders an answer as maps. Raises: UserError if nothing tells which of its axes are height and width."""
        size = (clips.shape[2], clips.shape[3], clips.shape[4])
        maps = in_the_picture(self._recognizer.method, self.name, output, axis, size, len(clips))
        if maps is None:
            raise UserError(
                f"layer {self.name}: answers {tuple(output.shape[1:])}, and nothing tells which of these are places in "
                "the picture; take --pool none, or a layer that answers maps"
            )
        return maps


def find_layer(method: nn.Module, name: str) -> nn.Module:
    """Returns the module of that dotted name, "" for the whole network. Raises: UserError with similar names."""
    modules = dict(method.named_modules())
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=3) or [key for key, _ in method.named_children()]
        raise UserError(f"layer {name}: the network has no such layer; similar names are {', '.join(near)}")
    return modules[name]


def by_clip(output: Tensor, clips: int) -> Tensor:
    """Puts the frames of a clip together, which image networks see as rows: (B*T, C, H, W) -> (B, C, T, H, W).

    Tokens (rows, L, C) become (B, T, L, C): only their network knows which of them are space.
    """
    frames = output.shape[0] // clips
    if frames == 1:
        return output
    output = output.unflatten(0, (clips, frames))
    return output if output.dim() == 4 else output.transpose(1, 2)


def version_of(video: Path, fps: float) -> str:
    """Returns what tells the pictures of a video from those of another one of its name: sizes, times, rate.

    fps: of a folder of frames. Raises: FrameError for a video that cannot be read.
    """
    try:
        files = [file for file in video.iterdir() if file.is_file()] if video.is_dir() else [video]
        found = [file.stat() for file in files]
    except OSError as error:
        raise FrameError(f"{video}: {error.strerror}") from None
    about = {"size": sum(one.st_size for one in found), "time": max((one.st_mtime_ns for one in found), default=0)}
    return json.dumps(about | ({"files": len(files), "fps": fps} if video.is_dir() else {"pixels": PIXELS.decode()}))


class FeatureStore(Protocol):
    """Keeps features by the video's name. Whatever is in it is complete."""

    def version(self, name: str) -> str | None:
        """Returns of which version of its video the features are, as `version_of` has it; None without features."""
        ...

    def put(self, name: str, found: Features, version: str) -> None:
        """Stores the features of one video, in place of those of another version."""
        ...


class NpzFolder(FeatureStore):
    """A folder with a file NAME.npz per video, each written completely or not at all."""

    def __init__(self, folder: Path, origin: dict[str, str]) -> None:
        self._folder, self._origin = folder, origin

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"

    @override
    def version(self, name: str) -> str | None:
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            about = {key: None for key in (*names_in(path), "version") if key not in ("features", "times")}
            found = {key: str(value) for key, value in read_npz(path, about).items()}
        except ValueError as error:
            raise UserError(f"{error}; remove it, and its features are computed again") from None
        check_origin(path, found, {**self._origin, "version": found["version"]})
        return found["version"]

    @override
    def put(self, name: str, found: Features, version: str) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        about: dict[str, Any] = {key: np.array(value) for key, value in {**self._origin, "version": version}.items()}
        with atomic_write(path) as file:
            np.savez_compressed(file, features=found.features, times=found.times, **about)


class Hdf5File(FeatureStore):
    """A file with a group per video. A group is complete when it has the attribute `whole`."""

    def __init__(self, file: Any, origin: dict[str, str], path: Path) -> None:
        self._file = file
        if file.attrs:
            check_origin(path, {key: str(value) for key, value in file.attrs.items()}, origin)
        file.attrs.update(origin)

    @override
    def version(self, name: str) -> str | None:
        group = self._file.get(name)
        return None if group is None or "whole" not in group.attrs else str(group.attrs.get("version", ""))

    @override
    def put(self, name: str, found: Features, version: str) -> None:
        if name in self._file:
            del self._file[name]
        group = self._file.create_group(name)
        group["features"], group["times"] = found.features, found.times
        group.attrs["version"] = version
        self._file.flush()
        group.attrs["whole"] = True
        self._file.flush()


@contextlib.contextmanager
def open_feature_store(path: Path, origin: dict[str, str]) -> Iterator[FeatureStore]:
    """Opens an HDF5 file if the name ends in .h5 or .hdf5, else a folder.

    origin: how its rows are made. Raises: UserError when there are rows that were made in another way.
    """
    if path.suffix not in (".h5", ".hdf5"):
        yield NpzFolder(path, origin)
        return
    try:
        import h5py
    except ImportError:
        raise UserError("HDF5 needs h5py: pip install -r requirements-extras.txt") from None
    try:
        file = h5py.File(path, "a")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened as HDF5 ({error}); if it was cut off, delete it") from None
    with file:
        yield Hdf5File(file, origin, path)


def check_origin(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raises UserError when existing rows were made in another way, so that rows never mix.

    What only one of the two says, as `segments` of clips of several windows, is another way too.
    """
    for key in dict.fromkeys([*wanted, *found]):
        if found.get(key) != wanted.get(key):
            theirs, ours = (repr(one[key]) if key in one else "(not set)" for one in (found, wanted))
            raise UserError(f"{path}: made with {key} {theirs}, not {ours}; choose another output")
