"""What a layer of a trained network says: one row per time it looks at, and where rows are kept."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from methods.base import Method
from tools.inference.inputs import Input
from tools.inference.prediction import Settings, as_seen, frame_counts
from tools.inference.trained import Trained
from tools.inference.windows import Cut, Window, cut, sliding, whole
from utils.errors import FrameError, UserError
from utils.files import atomic_write


@dataclass(frozen=True)
class Features:
    """features: float32 (N, ...), a row per window. times: float64 (N, 2), seconds of its first and last frame."""

    features: np.ndarray
    times: np.ndarray


class Layer:
    """One layer of a trained network, by its dotted name; "" is the network's own output.

    pool: "space" averages maps over height and width, "all" over time and the frames of a clip too, "none" keeps all.
    Raises: UserError for a name that is not there, with those that are near.
    """

    def __init__(self, trained: Trained, name: str, pool: str) -> None:
        self._trained, self._module, self.name, self._pool = trained, find_layer(trained.method, name), name, pool

    @torch.no_grad()
    def rows(self, views: np.ndarray, batch_size: int) -> np.ndarray:
        """Views (V, T, H, W, C) of one window -> float32 (...), averaged over the views."""
        parts = []
        for start in range(0, len(views), batch_size):
            clips = self._trained.normalise(views[start : start + batch_size])
            parts.append(self._shaped(self._output(clips), len(clips)).float().cpu())
        return self._trained.finite(torch.cat(parts).mean(0), f"features of {self.name or 'the output'}").numpy()

    def _output(self, clips: Tensor) -> Tensor:
        caught: list[Any] = []
        handle = self._module.register_forward_hook(lambda module, given, output: caught.append(output))
        try:
            self._trained.method(clips)
        finally:
            handle.remove()
        if len(caught) != 1 or not isinstance(caught[0], Tensor):
            what = "does not run" if not caught else f"runs {len(caught)} times" if len(caught) > 1 else "has no tensor"
            raise UserError(f"--layer {self.name}: it {what} in one pass, so it has no one answer")
        output: Tensor = caught[0]
        return output

    def _shaped(self, output: Tensor, clips: int) -> Tensor:
        tokens, maps = output.dim() == 3, output.dim() >= 4
        output = by_clip(output, clips)
        if self._pool == "none" or tokens:
            return output
        if self._pool == "all":
            return output.flatten(2).mean(2) if output.dim() > 2 else output
        return output.mean(dim=(-2, -1)) if maps else output


def find_layer(method: Method, name: str) -> nn.Module:
    """The module of that dotted name, "" for the whole. Raises: UserError with near names when it is not there."""
    modules = dict(method.named_modules())
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=3) or [key for key, _ in method.named_children()]
        raise UserError(f"--layer {name}: {method.name} has no such layer; near are {', '.join(near)}")
    return modules[name]


def by_clip(output: Tensor, clips: int) -> Tensor:
    """Layers of image networks see the frames of a clip as rows: (B*T, C, H, W) -> (B, C, T, H, W).

    Tokens (rows, L, C) become (B, T, L, C): which of them are space, only their network knows.
    """
    frames = output.shape[0] // clips
    if frames == 1:
        return output
    output = output.unflatten(0, (clips, frames))
    return output if output.dim() == 4 else output.transpose(1, 2)


def extract(trained: Trained, layer: Layer, video: Input, settings: Settings, *, slides: bool) -> Features:
    """A row per sliding window, or one for the whole video by the checkpoint's test protocol.

    Raises: FrameError when nothing of it can be decoded.
    """
    video = as_seen(trained, video)
    assert video.num_frames is not None
    windows: Iterable[Window]
    if slides:
        counts = frame_counts(trained, video, settings)
        windows = sliding(trained.protocol.rule, trained.protocol.clip, num_frames=video.num_frames, **counts)
    else:
        windows = [
            whole(
                trained.protocol.rule,
                trained.protocol.clip,
                num_frames=video.num_frames,
                num_clips=trained.protocol.num_clips,
            )
        ]
    rows, times = [], []
    item: Cut
    for item in cut(video.frames(), windows, trained.protocol.transform):
        rows.append(layer.rows(item.views, settings.batch_size))
        times.append((item.start, item.end))
    if not rows:
        raise FrameError(f"{video.name}: nothing in it can be decoded: {'; '.join(video.warnings) or 'no frame'}")
    return Features(np.stack(rows), np.array(times, np.float64))


class Shelf(Protocol):
    """Where features are kept, by the video's name. What is on it is whole."""

    def __contains__(self, name: object) -> bool: ...
    def put(self, name: str, found: Features) -> None: ...


class NpzFolder:
    """A file NAME.npz per video below a folder, each written whole."""

    def __init__(self, folder: Path, about: dict[str, str]) -> None:
        self._folder, self._about = folder, about

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"

    def __contains__(self, name: object) -> bool:
        path = self._path(str(name))
        if not path.is_file():
            return False
        with np.load(path) as file:
            check_same(path, {key: str(file[key]) for key in self._about}, self._about)
        return True

    def put(self, name: str, found: Features) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        about: dict[str, Any] = {key: np.array(value) for key, value in self._about.items()}
        with atomic_write(path) as file:
            np.savez_compressed(file, features=found.features, times=found.times, **about)


class Hdf5File:
    """One file with a group per video; a group is whole when its attribute `whole` is there."""

    def __init__(self, file: Any, about: dict[str, str], path: Path) -> None:
        self._file = file
        if file.attrs:
            check_same(path, {key: str(file.attrs.get(key, "")) for key in about}, about)
        file.attrs.update(about)

    def __contains__(self, name: object) -> bool:
        return name in self._file and "whole" in self._file[name].attrs

    def put(self, name: str, found: Features) -> None:
        if name in self._file:
            del self._file[name]
        group = self._file.create_group(name)
        group["features"], group["times"] = found.features, found.times
        self._file.flush()
        group.attrs["whole"] = True
        self._file.flush()


@contextlib.contextmanager
def open_shelf(path: Path, about: dict[str, str]) -> Iterator[Shelf]:
    """An HDF5 file for names that end in .h5 or .hdf5, else a folder. Raises: UserError when it was made otherwise."""
    if path.suffix not in (".h5", ".hdf5"):
        yield NpzFolder(path, about)
        return
    try:
        import h5py
    except ImportError:
        raise UserError("HDF5 needs h5py: pip install -r requirements-extras.txt") from None
    try:
        file = h5py.File(path, "a")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened as HDF5 ({error}); was it cut off? then delete it") from None
    with file:
        yield Hdf5File(file, about, path)


def check_same(path: Path, found: dict[str, str], wanted: dict[str, str]) -> None:
    """Raises: UserError when what is there was made in another way, so that rows never mix."""
    for key, value in wanted.items():
        if found.get(key) != value:
            raise UserError(f"{path}: made with {key} {found.get(key)!r}, now it is {value!r}; take another --out")


def layer_names(method: nn.Module) -> list[str]:
    """Every name that --layer takes."""
    return [name for name, _ in method.named_modules() if name]
