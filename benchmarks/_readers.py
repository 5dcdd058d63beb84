"""Holds what is compared: each reader turns the same keys into one batch. All run in this process with one thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import ColorJitter

from benchmarks._workload import Key, Workload
from datasets.memcached_dataset_tsn import TSNDataset
from datasets.protocol import ClipProtocol
from datasets.stores.disk import FrameStore
from utils.clip_spec import ClipSpec
from utils.training.batch import Batch
from utils.training.mixup import MixUp
from utils.transforms.augment import Augment
from utils.transforms.crops import MultiScale
from utils.transforms.presets import PRESETS

# the augmentation of the original project
COLORJITTER, ERASING, MIX_UP = [0.2, 0.2, 0.2, 0.1], [0.5, 0.02, 0.4, 0.3], 0.2
ERASE_FILL = (152, 142, 127)
PRESET = PRESETS["tsn"]


class Reader:
    """Makes batches; `seconds` says how long one took."""

    def prepare(self, keys: Sequence[Key]) -> None:
        """Does what `read` needs and what is not timed."""

    def read(self, keys: Sequence[Key]) -> Any:
        """Makes the batch, which is timed."""
        raise NotImplementedError

    def seconds(self, keys: Sequence[Key]) -> tuple[float, float]:
        """Returns wall-clock and CPU time of `read`."""
        self.prepare(keys)
        wall, cpu = time.perf_counter(), time.process_time()
        self.read(keys)
        return time.perf_counter() - wall, time.process_time() - cpu


class Ours(Reader):
    """Keys -> uint8 batch, as a worker makes it."""

    def __init__(self, workload: Workload, store: FrameStore) -> None:
        self.data = make_dataset(workload, store)

    def read(self, keys: Sequence[Key]) -> Batch:
        """Returns a batch (N, V, C, T, H, W), uint8."""
        return whole(self.data.__getitems__(keys))


class OursFull(Reader):
    """Keys -> float batch, jittered, erased, normalised and mixed, all on the CPU."""

    def __init__(self, workload: Workload, store: FrameStore) -> None:
        self.data = make_dataset(workload, store, full=True)
        self.augment, self.mixer = make_augment(), MixUp(MIX_UP)

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Returns a batch (N, C, T, H, W), float32."""
        batch = whole(self.data.__getitems__(keys))
        return mixed(self.mixer, self.augment.apply(batch.clips, batch.augment), keys)


class BareDecode(Reader):
    """The limit: cv2.imdecode of the same frames, already in memory, and nothing else."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.data = workload, make_dataset(workload, workload.store)
        self.known: dict[Key, list[bytes]] = {}

    def prepare(self, keys: Sequence[Key]) -> None:
        """Reads the files."""
        for key in keys:
            if key not in self.known:
                path = self.workload.records.path(key[1])
                self.known[key] = self.workload.store.get_many(path, frame_indices(self.data, key))

    def read(self, keys: Sequence[Key]) -> None:
        """Decodes the frames and discards them."""
        for key in keys:
            for encoded in self.known[key]:
                cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)


class PillowReader(Reader):
    """Pillow frame by frame: decode, crop, resize and flip there; uint8 batches as ours."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.data, self.rule = workload, make_dataset(workload, workload.store), MultiScale()
        self.size = workload.input_size, workload.input_size

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Returns a batch (N, T, H, W, C), uint8."""
        return torch.stack([torch.from_numpy(np.stack([np.asarray(i) for i in self.images(key)])) for key in keys])

    def images(self, key: Key) -> list[Image.Image]:
        """Returns the cut and resized frames of one clip."""
        store, path = self.workload.store, self.workload.records.path(key[1])
        rng = np.random.default_rng([0, *key])
        names = [store.frame_name(path, index) for index in frame_indices(self.data, key)]
        images = [Image.open(name).convert("RGB") for name in names]
        top, left, height, width = self.rule.plan(images[0].height, images[0].width, self.size, rng).box or (0, 0, 0, 0)
        box = left, top, left + width, top + height
        images = [image.crop(box).resize(self.size[::-1], Image.Resampling.BILINEAR) for image in images]
        if rng.random() < 0.5:
            images = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
        return images


class MITReader(PillowReader):
    """Reads as MIT's code does (TSM, and tsn-pytorch before), without its conversion to float.

    Frames stand one behind another as channels of pixels, which are then brought to the front.
    """

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Returns a batch (N, T * C, H, W), uint8."""
        stacked = [np.concatenate([np.asarray(image) for image in self.images(key)], axis=2) for key in keys]
        return torch.stack([torch.from_numpy(clip).permute(2, 0, 1).contiguous() for clip in stacked])


class PillowFull(PillowReader):
    """Reads with Pillow and augments as the original project does, with torchvision on Pillow images, and mix-up."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.jitter, self.augment, self.mixer = ColorJitter(*COLORJITTER), make_augment(), MixUp(MIX_UP)
        self.mean, self.std = torch.tensor(PRESET.mean)[:, None, None], torch.tensor(PRESET.std)[:, None, None]

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Returns a batch (N, T, C, H, W), float32."""
        return mixed(self.mixer, torch.stack([self._clip(key) for key in keys]), keys)

    def _clip(self, key: Key) -> Tensor:
        frames = np.stack([np.asarray(self.jitter(image)) for image in self.images(key)])
        top, left, height, width = self.augment.draw(np.random.default_rng(key), 1, 1, *self.size)["erase"][0, 0]
        frames[:, top : top + height, left : left + width] = ERASE_FILL
        tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().float().div(255)
        return tensor.sub_(self.mean).div_(self.std)


def make_dataset(workload: Workload, store: FrameStore, *, full: bool = False) -> TSNDataset:
    """Makes our dataset as a config would; `full` draws the original project's augmentation as well."""
    augment = make_augment() if full else Augment(mean=PRESET.mean, std=PRESET.std)
    transform = PRESET.train(input_size=workload.input_size)
    protocol = ClipProtocol(ClipSpec(workload.segments), transform, augment, train=True)
    return TSNDataset(workload.records, store, protocol)


def make_augment() -> Augment:
    """Makes the original project's colour jitter and erasing."""
    return Augment(mean=PRESET.mean, std=PRESET.std, colorjitter=COLORJITTER, random_erasing=ERASING)


def frame_indices(data: TSNDataset, key: Key) -> np.ndarray:
    """Returns the frames that our dataset takes for that key, int64 (T,)."""
    shown = data.shown(key)
    assert shown is not None
    return shown.ravel()


def mixed(mixer: MixUp, clips: Tensor, keys: Sequence[Key]) -> Tensor:
    """Applies mix-up to the batch."""
    mix = mixer.draw(np.random.default_rng(keys[0]), len(clips), *clips.shape[-2:])
    return clips if mix is None else mix.clips(clips)


def whole(batch: Batch) -> Batch:
    """Returns the batch unless something in it could not be read: a broken reader would win every race."""
    if any(batch.faults):
        raise RuntimeError(next(fault for fault in batch.faults if fault))
    return batch
