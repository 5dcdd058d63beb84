"""From the config to a split: a checked list with everything that turns its records into batches.

The one place where the names of stores, presets and sampling rules in a config become objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets import DATASETS, FakeDataset
from datasets.frame_dataset import FrameDataset
from datasets.lists.class_names import find_class_file
from datasets.loader import EvalShard, TrainStream, balanced_chances, make_loader
from datasets.open import flip_labels, has_videos, open_frames, open_list
from datasets.stores.check import can_look, check_on_disk
from datasets.video_dataset import VideoDataset
from utils.clip_spec import ClipSpec
from utils.config.build import build
from utils.config.schema import Common
from utils.errors import ConfigError, ListError
from utils.processes.session import Rank
from utils.scoring.label_sets import LabelSets
from utils.scoring.result_files import Evaluation, Videos
from utils.scoring.task import task_of
from utils.training.batch import Batch
from utils.training.loop import Scores
from utils.transforms.augment import Augment
from utils.transforms.build import check_decode, make_augment, make_spatial, test_batch_size, test_clip, train_clip
from utils.transforms.cut_clip import Spatial
from utils.transforms.gpu_decode import CodedSpatial
from utils.transforms.presets import find_preset

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
        clips = isinstance(self.dataset, VideoDataset) and len(self) != len(self.dataset.index)
        return f"{len(self)} {'clips' if clips else 'videos'}, {self.about}"

    def store_counts(self) -> dict[str, int]:
        """What the frame store has counted since the start, over all workers; empty where there is nothing to count."""
        return self.dataset.store.stats() if isinstance(self.dataset, FrameDataset) else {}

    @property
    def labels(self) -> np.ndarray | LabelSets:
        """The truth of all videos: int (len(self),), or sets of classes."""
        return self.dataset.labels if isinstance(self.dataset, FakeDataset) else self.dataset.records.labels

    @property
    def labelled(self) -> np.ndarray:
        """Which videos have a truth, be it the empty set; bool (len(self),)."""
        return self.labels.known if isinstance(self.labels, LabelSets) else self.labels >= 0

    def check_labelled(self) -> None:
        """Raises: ListError where there is nothing to validate by."""
        if not self.labelled.any():
            raise ListError(
                f"{self.common.val_source}: none of its videos has a label, so there is nothing to validate by; it can "
                "be scored with --evaluate"
            )

    def path(self, index: int) -> str:
        """The record's path as its list has it."""
        return f"fake_{index}" if isinstance(self.dataset, FakeDataset) else self.dataset.records.path(index)

    def videos(self) -> Videos:
        """The whole list and its truth."""
        labels, rows = self.labels, range(len(self))
        truth = np.stack([labels[row] for row in rows])
        return Videos(f"the {self.name} list", [self.path(row) for row in rows], truth, self.class_names)

    def evaluation(self, scores: Scores, name: str) -> Evaluation:
        """Scores with all that is known of their videos. name: of what scored them."""
        paths = [self.path(int(index)) for index in scores.indices]
        numbers = self._view_numbers(scores) if scores.num_views > 1 else {}
        return Evaluation(name, paths, scores.labels, self.class_names, scores.scores, self.protocol(scores), numbers)

    def _view_numbers(self, scores: Scores) -> dict[str, float]:
        task = task_of(self.common)
        known = task.known(scores.labels)
        with np.errstate(invalid="ignore"):  # nan where no video has a label
            shares = 100.0 * scores.view_hits[known].sum(0) / np.float64(known.sum() * scores.num_views)
        return dict(zip(task.view_numbers, shares.tolist(), strict=True))

    def train_batches(self, process: Rank, *, start: int, stop: int, beside: Split | None = None) -> DataLoader[Batch]:
        """This process's batches of the steps start <= s < stop. beside: the list that is scored meanwhile.

        Raises: UserError where there is too little shared memory for the batches of both.
        """
        stream = TrainStream(
            len(self),
            self.common.batch_size,
            seed=self.common.seed,
            rank=process.number,
            world=process.world_size,
            start_step=start * self.common.accumulate,
            stop_step=stop * self.common.accumulate,
            chances=balanced_chances(self.labels) if self.common.balanced_sampling else None,
        )
        loader = self._loader(stream, process)
        if beside is not None:
            beside.eval_batches(process)  # let go at once: what it lacks shows now and not at the first validation
        return loader

    def clips(self, process: Rank, *, start: int, count: int) -> Iterator[Tensor]:
        """The normalised clips (B, C, T, H, W) of `count` training batches from a step on, on the device."""
        for batch in self.train_batches(process, start=start, stop=start + count):
            moved = batch.to(process.device)
            yield self.pipeline.apply(moved.clips, moved.augment)

    def eval_batches(self, process: Rank) -> DataLoader[Batch]:
        """This process's share of the list, each video once."""
        shard = EvalShard(len(self), self.eval_batch_size, rank=process.number, world=process.world_size)
        return self._loader(shard, process)

    @property
    def eval_batch_size(self) -> int:
        """Videos per evaluation step."""
        return test_batch_size(self.common, self.dataset.num_views)

    def _loader(self, sampler: TrainStream | EvalShard, process: Rank) -> DataLoader[Batch]:
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
            "modality": self.clip.modality,
            "stack": self.clip.stack,
            "num_frames": self.clip.num_frames,
            "frame_stride": self.clip.frame_stride,
            "sampling": self.clip.sampling,
            "average": self.average,
            "scores": task_of(self.common).scores,
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
        if about := task_of(self.common).about(scores.labels):
            videos += f", {about}"
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
    check_decode(common)
    _check_gpu(common)
    clip = train_clip(common, clip) if train else test_clip(common, clip)
    spatial = make_spatial(common, preset, train=train)
    pipeline = make_augment(common, preset, clip, train=train)
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
            task_of(common).made_up(FAKE_VIDEOS[name], common.model.num_class),
            size=spatial.size,
            num_crops=spatial.num_crops,
            **settings,
        )
    elif has_videos(common):
        dataset, names, about = open_videos(common, name, spatial, settings)
    else:
        records, names = open_list(common, name)
        records, store, about = open_frames(common, records)
        if common.data.decode == "cuda":
            spatial, about = CodedSpatial.like(spatial), f"{about}, decoded on the GPU"
        if can_look(store):
            about += f", {check_on_disk(records, store, allowed=common.bad_frame_budget)} looked at on disk"
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


def _check_gpu(common: Common) -> None:
    """Raises: ConfigError for decode: cuda without a GPU; what else it needs, a dry run checks as well."""
    if common.data.decode == "cuda" and (common.device not in ("auto", "cuda") or not torch.cuda.is_available()):
        raise ConfigError("common.data.decode: cuda needs a GPU, and this run has none; cpu decodes anywhere")


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
            seen, store, _ = open_frames(common, records)
            if can_look(store):
                check_on_disk(seen, store, allowed=common.bad_frame_budget)
    except ListError as error:
        return str(error), len(records)
    count = len(records)
    if name == "train" and has_videos(common):
        count *= int(common.data.store.get("clips_per_video", 1))  # without scanning, as if none were too short
    if names is None and find_class_file(source, records.root) is None:
        return f"no classInd.txt beside {source} nor in {records.root}/lists: classes will have no names", count
    return None, count
