"""From the config to a split: a checked list with everything that turns its records into batches.

The one place where the names of stores, presets and sampling rules in a config become objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from datasets import DATASETS, FakeDataset
from datasets.assemble_lists import check_store, flip_labels, has_videos, open_list, open_store
from datasets.class_names import find_class_file
from datasets.disk_check import check_on_disk
from datasets.frame_dataset import FrameDataset
from datasets.frame_store import DiskStore
from datasets.loader import EvalShard, TrainStream, balanced_chances, make_loader
from datasets.packed_store import PackedStore
from datasets.sampling import get_rule
from datasets.video_dataset import VideoDataset
from utils.augment import Augment
from utils.batch import Batch
from utils.build import build
from utils.clip import ClipSpec
from utils.config import Common
from utils.distributed import Process
from utils.engine import Scores
from utils.errors import ConfigError, ListError
from utils.presets import Preset, find_preset
from utils.transforms import Spatial

FAKE_VIDEOS = {"train": 512, "val": 64}


@dataclass(frozen=True)
class Split:
    """The training or the validation list of a run.

    pipeline: what happens to its batches on the device. class_names: by label, None without a class file.
    average: "scores" or "logits", over the views of a video.
    """

    name: str
    common: Common
    clip: ClipSpec
    dataset: FrameDataset | VideoDataset | FakeDataset
    pipeline: Augment
    class_names: list[str] | None
    average: str
    size: tuple[int, int]
    about: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __str__(self) -> str:
        return f"{len(self)} videos, {self.about}"

    def store_counts(self) -> dict[str, int]:
        """What the frame store has counted since the start, over all workers; empty where there is nothing to count."""
        return self.dataset.store.stats() if isinstance(self.dataset, FrameDataset) else {}

    @property
    def labels(self) -> np.ndarray:
        """int (len(self),)."""
        if isinstance(self.dataset, FakeDataset):
            return np.arange(len(self)) % self.common.model.num_class
        return self.dataset.records.labels

    def path(self, index: int) -> str:
        """The record's path as its list has it."""
        return f"fake_{index}" if isinstance(self.dataset, FakeDataset) else self.dataset.records.path(index)

    def train_batches(self, process: Process, *, start: int, stop: int) -> DataLoader[Batch]:
        """This process's batches of the steps start <= s < stop."""
        stream = TrainStream(
            len(self),
            self.common.batch_size,
            seed=self.common.seed,
            rank=process.rank,
            world=process.world_size,
            start_step=start * self.common.accumulate,
            stop_step=stop * self.common.accumulate,
            chances=balanced_chances(self.labels) if self.common.balanced_sampling else None,
        )
        return self._loader(stream, process)

    def clips(self, process: Process, *, start: int, count: int) -> Iterator[Tensor]:
        """The normalised clips (B, C, T, H, W) of `count` training batches from a step on, on the device."""
        for batch in self.train_batches(process, start=start, stop=start + count):
            moved = batch.to(process.device)
            yield self.pipeline.apply(moved.clips, moved.augment)

    def eval_batches(self, process: Process) -> DataLoader[Batch]:
        """This process's share of the list, each video once."""
        shard = EvalShard(len(self), self.eval_batch_size, rank=process.rank, world=process.world_size)
        return self._loader(shard, process)

    @property
    def eval_batch_size(self) -> int:
        """Videos per evaluation step: by default as many views as training has clips."""
        return self.common.test.batch_size or max(1, self.common.batch_size // self.dataset.num_views)

    def _loader(self, sampler: TrainStream | EvalShard, process: Process) -> DataLoader[Batch]:
        return make_loader(self.dataset, sampler, workers=self.common.workers, pin_memory=process.device.type == "cuda")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the network's input went through, in plain values, for the checkpoint."""
        return {
            "preset": self.common.augmentation.preset,
            "mean": list(self.pipeline.mean),
            "std": list(self.pipeline.std),
            "value_range": self.pipeline.value_range,
            "size": list(self.size),
            "num_frames": self.clip.num_frames,
            "frame_stride": self.clip.frame_stride,
            "sampling": self.clip.sampling,
            "average": self.average,
        }

    def protocol(self, scores: Scores) -> str:
        """How a number came about: clips x crops x frames x size, what was averaged, and how many videos."""
        height, width = self.size
        crops = self.dataset.num_views // self.dataset.num_clips
        videos = f"{len(scores.indices)} videos"
        if scores.faults:
            videos += f" of {len(self)}, {len(scores.faults)} unreadable"
        if not scores.labelled.all():
            videos += f", {int(scores.labelled.sum())} with a label"
        return (
            f"{self.dataset.num_clips} clips x {crops} crops, {self.clip.num_frames} x {height} x {width}, "
            f"{self.clip.sampling} sampling, {self.average} averaged, {videos}"
        )


def open_split(common: Common, name: str, clip: ClipSpec, *, fake: bool = False) -> Split:
    """Opens the "train" or "val" list of a config for a method that wants to see `clip`.

    fake: noise instead of the list.
    Raises: ListError for anything wrong with the list, its classes or its frames; ConfigError for the config.
    """
    train = name == "train"
    preset = find_preset(common.augmentation.preset)
    clip = train_clip(common, clip) if train else test_clip(common, clip)
    spatial = make_spatial(common, preset, train=train)
    pipeline = make_augment(common, preset, train=train)
    settings: dict[str, Any] = {
        "clip": clip,
        "augment": pipeline,
        "train": train,
        "num_clips": None if train else common.test.num_clips,
        "seed": common.seed,
    }
    dataset: FrameDataset | VideoDataset | FakeDataset
    if fake:
        names, about = None, "made up"
        dataset = FakeDataset(
            FAKE_VIDEOS[name], common.model.num_class, size=spatial.size, num_crops=spatial.num_crops, **settings
        )
    elif has_videos(common):
        dataset, names, about = open_videos(common, name, spatial, settings)
    else:
        records, names = open_list(common, name)
        store, about = open_store(common, records)
        if isinstance(store, DiskStore | PackedStore):
            about += f", {check_on_disk(records, store)} looked at on disk"
        flip = flip_labels(common, names) if train else None
        dataset = DATASETS[clip.dataset](records, store, spatial=spatial, flip_labels=flip, **settings)
    average = common.test.average or preset.average
    return Split(name, common, clip, dataset, pipeline, names, average, spatial.size, about)


def open_videos(
    common: Common, name: str, spatial: Spatial, settings: dict[str, Any]
) -> tuple[VideoDataset, list[str] | None, str]:
    """Encoded videos instead of frames (data.store.type: video)."""
    records, names = open_list(common, name)
    runtime = settings | {
        "records": records,
        "spatial": spatial,
        "flip_labels": flip_labels(common, names) if name == "train" else None,
    }
    arguments = {key: value for key, value in common.data.store.items() if key != "type"}
    dataset = build({"video": VideoDataset}, "video", arguments, where="common.data.store", **runtime)
    scanned, unreadable = dataset.index.num_videos, len(dataset.index.errors)
    about = f"encoded videos, {scanned} scanned, {unreadable} of them unreadable"
    if records.spans is not None:
        about = f"parts of {scanned} encoded videos, {unreadable} of the parts without a readable frame"
    return dataset, names, about


def train_clip(common: Common, clip: ClipSpec) -> ClipSpec:
    """The clip in training: data.sampling before the method's rule."""
    return _sampled(clip, common.data.sampling, "common.data.sampling")


def test_clip(common: Common, clip: ClipSpec) -> ClipSpec:
    """The clip at test time: test.sampling before data.sampling before the method's rule, test.num_frames frames."""
    clip = _sampled(train_clip(common, clip), common.test.sampling, "common.test.sampling")
    frames = common.test.num_frames or clip.num_frames
    return ClipSpec(frames, clip.frame_stride, clip.sampling, clip.dataset)


def _sampled(clip: ClipSpec, rule: str | None, key: str) -> ClipSpec:
    """`clip` by another sampling rule, if one is given."""
    if rule is None:
        return clip
    try:
        get_rule(rule)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return ClipSpec(clip.num_frames, clip.frame_stride, rule, clip.dataset)


def make_spatial(common: Common, preset: Preset, *, train: bool) -> Spatial:
    """The worker's side of a preset, with the values that the config changes."""
    wanted = common.augmentation
    if train:
        spatial = preset.train(input_size=wanted.input_size, crop=wanted.crop, scales=wanted.scales, flip=wanted.flip)
        return _fitting(spatial, "common.augmentation.scales")
    size = common.test.input_size or wanted.input_size
    resize = wanted.test_resize
    if resize is None and size is not None and preset.test_crops.resize is not None:
        # another crop keeps its share of the resized frame, as 224 of 256
        resize = scaled(preset.test_crops.resize, size, preset.test_input_size or preset.input_size)
    spatial = preset.test(input_size=size, resize=resize, num_crops=common.crops)
    return _fitting(spatial, "common.test.input_size" if common.test.input_size else "common.augmentation.test_resize")


def _fitting(spatial: Spatial, key: str) -> Spatial:
    """`spatial`, unless its crop is larger than what it resizes frames to; that need not wait for the first frame."""
    side = max(spatial.size)
    try:
        spatial.rule.plan(side, side, spatial.size, np.random.default_rng(0))
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return spatial


def scaled(resize: int | tuple[int, int], size: int, of: int) -> int | list[int]:
    """`resize` in the proportion of a crop of `size` to one `of`."""
    return resize * size // of if isinstance(resize, int) else [side * size // of for side in resize]


def make_augment(common: Common, preset: Preset, *, train: bool) -> Augment:
    """The device's side: colour and erasing for training, normalisation always."""
    wanted = common.augmentation
    random: dict[str, Any] = {}
    if train:
        random = {
            "colorjitter": wanted.colorjitter,
            "random_erasing": wanted.random_erasing,
            "colorold": wanted.colorold,
            "rand_augment": wanted.rand_augment,
            "consistent": wanted.consistent,
        }
    given = wanted.mean is not None or wanted.std is not None
    return Augment(
        mean=wanted.mean or preset.mean,
        std=wanted.std or preset.std,
        value_range=1.0 if given else preset.value_range,
        **random,
    )


def check_pipelines(common: Common, clip: ClipSpec) -> None:
    """Builds what stands between a frame and the network, without any list, so that mistakes show in a dry run."""
    preset = find_preset(common.augmentation.preset)
    check_store(common)
    for train in (True, False):
        _ = train_clip(common, clip) if train else test_clip(common, clip)
        make_spatial(common, preset, train=train)
        make_augment(common, preset, train=train)


def missing(common: Common, name: str) -> tuple[str | None, int | None]:
    """For a dry run: (what is missing of a split, or None; how many videos its list has, or None)."""
    source = common.train_source if name == "train" else common.val_source
    if source is None:
        return f"common.{name}_source is not set", None
    if not Path(source).exists():
        return f"common.{name}_source: {source} is not there", None
    records, names = open_list(common, name)
    if name == "train":
        flip_labels(common, names)
    try:
        if not has_videos(common):
            store, _ = open_store(common, records)
            if isinstance(store, DiskStore | PackedStore):
                check_on_disk(records, store)
    except ListError as error:
        return str(error), len(records)
    if names is None and find_class_file(source, records.root) is None:
        return f"no classInd.txt beside {source} nor in {records.root}/lists: classes will have no names", len(records)
    return None, len(records)
