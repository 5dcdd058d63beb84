"""Opens the training or the validation list of a config, with all that turns its records into batches.

The one place where the names of stores, presets and sampling rules in a config become objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets import DATASETS, FakeDataset
from datasets.cached_features import CachedDataset, FeatureBatches, origin
from datasets.decoding import BATCHES, choose_decoder
from datasets.frame_dataset import FrameDataset, SampleDataset
from datasets.lists.groups import fold_split, group_names
from datasets.lists.manifest import settings_below
from datasets.lists.shards import is_shards, missing_shard, shard_starts
from datasets.loader import EvalShard, TrainStream, Window, balanced_chances, make_loader
from datasets.open import background_of, flip_labels, has_videos, open_frames, open_list, open_whole, store_type
from datasets.places.files import exists
from datasets.places.place import place
from datasets.protocol import ClipProtocol, check_used, clip_protocol
from datasets.stores.check import can_look, check_on_disk
from datasets.stores.feature_store import FeatureStore
from datasets.video_dataset import VideoDataset
from datasets.videos.clip_times import VideoSampling
from datasets.videos.reader import find_reader, lacks_torchcodec
from datasets.whole_videos import WholeVideos
from utils.clip_spec import ClipSpec
from utils.config.build import check_arguments, parameters_of
from utils.config.file import nearest
from utils.config.schema import Common
from utils.errors import ConfigError, ListError, UserError
from utils.processes.launch import Rank
from utils.run.context import Run
from utils.scoring.evaluation import Evaluation
from utils.scoring.label_sets import LabelSets
from utils.scoring.task import task_for
from utils.training.batch import Batch
from utils.transforms.gpu_decode import COLOURS, DECODED

Protocols = dict[str, ClipProtocol]  # of the lists "train" and "val"
FAKE_VIDEOS = {"train": 512, "val": 64}


@dataclass(frozen=True)
class Split:
    """Holds the training or the validation list of a run, with all that turns its records into batches.

    name: "train" or "val".
    protocol: how a video becomes views, and their logits scores.
    class_names: by label; None without a class file.
    description: what was found out about the list, for the log.
    digest: of the videos as the list has them; "" for made-up ones.
    """

    name: str
    common: Common
    protocol: ClipProtocol
    dataset: SampleDataset
    class_names: list[str] | None
    description: str
    digest: str = ""

    def __len__(self) -> int:
        return len(self.dataset)

    def __str__(self) -> str:
        window = self.window if self.name == "train" else None
        order = ""
        if window is not None:
            order = f", {len(window.starts)} tars shuffled, and their videos in windows of {window.length}"
        return f"{self.dataset.description}, {self.description}{order}"

    @property
    def decoding(self) -> dict[str, str]:
        """The entry of a checkpoint's protocol that says where frames are decoded, cpu or cuda, after `prepare`."""
        return {"decode": "cuda" if getattr(self.dataset, "encoded", False) else "cpu"}  # whole videos have no choice

    def store_counts(self) -> dict[str, int]:
        """Returns what the frame store has counted since the start, over all workers; empty if it counts nothing."""
        return self.dataset.store_counts()

    @property
    def labels(self) -> np.ndarray | LabelSets:
        """The truth of all videos: int (len(self),), or sets of classes."""
        return self.dataset.labels

    @property
    def labelled(self) -> np.ndarray:
        """The videos with a known label, which may be an empty set of classes; bool (len(self),)."""
        return self.labels.known if isinstance(self.labels, LabelSets) else self.labels >= 0

    @property
    def window(self) -> Window | None:
        """The window in which samples of tars are shuffled, with data.shuffle_window; None: all of them together."""
        length = self.common.data.shuffle_window
        if length is None or isinstance(self.dataset, FakeDataset):
            return None
        return Window(shard_starts([self.dataset.path(row) for row in range(len(self))]), length)

    def check_labelled(self) -> None:
        """Raises: ListError when no video has a label, so that nothing could be validated."""
        if not self.labelled.any():
            raise ListError(
                f"{self.common.val_source}: none of its videos has a label, so there is nothing to validate by; it can "
                "be scored with --evaluate"
            )

    def path(self, index: int) -> str:
        """Returns the path of a record as its list has it and, behind it, the span that it is: `a.mp4#t=1.5,4`."""
        return self.dataset.name(index)

    def about(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps about the list, and how the tools made its frames or videos."""
        common, train = self.common, self.name == "train"
        source = common.train_source if train else common.val_source
        root = place(common.train_root if train else common.val_root)
        made = settings_below(root) if self.digest and isinstance(root, Path) else {}
        dataset = self.dataset
        about = {"source": source, "videos": len(self), "digest": self.digest, "length": dataset.usual_length}
        return about | {"made": made, "files": dataset.facts()}

    def videos(self) -> Evaluation:
        """Returns the whole list and its truth, without scores."""
        labels, rows = self.labels, range(len(self))
        truth = np.stack([labels[row] for row in rows])
        return Evaluation(
            f"the {self.name} list", [self.path(row) for row in rows], truth, class_names=self.class_names
        )

    def prepare(self, network: Any, device: torch.device, log: Callable[[str], None], decided: dict[str, Any]) -> None:
        """Makes what the list needs before its first batch. `log` takes lines about it.

        That is, the features of whole videos that data.feature_cache lacks, and, with data.decode: auto, where frames
        are decoded. decided: `decode`, where they are for the lists that were prepared before, which the others follow;
            `before`, where they were for the checkpoint that a run goes on from or scores.

        Raises: ListError when more videos are damaged, or end before a span, than bad_frame_budget allows.
        """
        if isinstance(self.dataset, WholeVideos):
            self.dataset.compute(network, device, log)
            _check_readable(self.dataset.faults, allowed=self.common.bad_frame_budget)
        elif self.common.data.decode == "auto" and isinstance(self.dataset, FrameDataset | VideoDataset):
            before = decided.pop("before", None)
            if "decode" not in decided:
                stream = TrainStream(len(self), self.protocol.batch_size, seed=self.common.seed)
                batches = [stream.step(step) for step in range(BATCHES)]
                given: dict[str, Any] = {"workers": self.common.workers, "before": before}
                decided["decode"] = choose_decoder(self.dataset, batches, device, log, **given)
            if before in DECODED and before != decided["decode"]:
                log(f"warning: decode is {before} in the checkpoint and {decided['decode']} here: {COLOURS}")
            self.dataset.encoded = decided["decode"] == "cuda"

    def train_batches(
        self, rank: Rank, network: Any = None, *, start: int, stop: int, also_validating: Split | None = None
    ) -> Iterable[Batch]:
        """Returns this process's batches of the steps start <= s < stop.

        network: whose features data.feature_cache keeps.
        also_validating: the list that is scored in between, whose batches need shared memory too.

        Raises: UserError when there is too little shared memory for the batches of both; ListError when
        `also_validating` has no label to validate by.
        """
        if self.common.solves:  # one step sees all
            return self.eval_batches(rank, network)
        stream = TrainStream(
            len(self),
            self.protocol.batch_size,
            seed=self.common.seed,
            rank=rank.number,
            world=rank.world_size,
            start_step=start * self.common.accumulate,
            stop_step=stop * self.common.accumulate,
            chances=balanced_chances(self.labels) if self.common.balanced_sampling else None,
            repeated=self.common.data.repeated,
            window=self.window,
        )
        loader = self._loader(stream, rank, network)
        if also_validating is not None:
            also_validating.check_labelled()
            also_validating.eval_batches(
                rank
            )  # released at once: missing memory shows now, not at the first validation
        return loader

    def held_out(self, rows: Sequence[int], parts: int) -> list[int] | None:
        """Returns the part, 0 to parts - 1, in which each of these videos is held out; no group is in two parts.

        None if there are too few videos or groups for two parts.
        """
        labels = [task_for(self.labels).text(self.labels[row]) for row in rows]
        paths = [PurePosixPath(self.dataset.path(row)) for row in rows]
        names, regex = [path.stem for path in paths], self.common.data.group_regex
        groups = group_names(names, labels, regex=regex, key="common.data.group_regex:")
        of_path = dict(zip(reversed(paths), reversed(groups), strict=True))
        groups = [of_path[path] for path in paths]  # the spans of one video stay together, whatever their classes
        for count in range(parts, 1, -1):
            with contextlib.suppress(UserError):
                return fold_split([label.split(";") for label in labels], groups, folds=count, seed=self.common.seed)
        return None

    def clips(self, rank: Rank, *, start: int, count: int) -> Iterator[Tensor]:
        """Yields the normalised clips (B, C, T, H, W) of `count` training batches from a step on, on the device."""
        for batch in self.train_batches(rank, start=start, stop=start + count):
            moved = batch.to(rank.device)
            yield self.protocol.augment.apply(moved.clips, moved.augment)

    def eval_batches(self, rank: Rank, network: Any = None) -> Iterable[Batch]:
        """Returns this process's share of the list, each video once. network: as in `train_batches`."""
        shard = EvalShard(len(self), self.protocol.batch_size, rank=rank.number, world=rank.world_size)
        return self._loader(shard, rank, network)

    def _loader(self, sampler: TrainStream | EvalShard, rank: Rank, network: Any) -> Iterable[Batch]:
        if isinstance(self.dataset, WholeVideos):
            return make_loader(self.dataset, sampler)
        given: dict[str, Any] = {"workers": self.common.workers, "pin_memory": rank.device.type == "cuda"}
        folder = self.common.data.feature_cache
        if folder is None or network is None or isinstance(self.dataset, FakeDataset):
            return make_loader(self.dataset, sampler, **given)
        store = FeatureStore(folder)
        cached: Any = CachedDataset(
            self.dataset, store, origin(network, self.protocol, rank.device), by_clip=network.by_clip
        )
        return FeatureBatches(make_loader(cached, sampler, **given), store, network, self.protocol, rank.device)


def open_split(common: Common, name: str, protocol: ClipProtocol, *, fake: bool = False) -> Split:
    """Opens the "train" or "val" list of a config.

    fake: noise instead of the list.
    Raises: ListError for anything wrong with the list, its classes or its frames; ConfigError for the config.
    """
    check_dataset(common, protocol)
    _check_gpu(common)
    if fake and protocol.clip.whole_videos:
        raise ConfigError(f"--fake makes clips, and model.type: {common.model.type} sees whole videos")
    if fake:
        labels = protocol.task.made_up(FAKE_VIDEOS[name], common.model.num_class)
        return Split(name, common, protocol, FakeDataset(labels, protocol, seed=common.seed), None, "made up")
    records, names = open_list(common, name)
    digest = records.digest()
    if protocol.clip.whole_videos:
        assert common.data.feature_cache is not None
        videos, folder = open_whole(common, records), common.data.feature_cache
        films: Any = WholeVideos(records, videos, protocol, folder, num_class=common.model.num_class)
        description = f"{videos.description}, windows of {protocol.clip.window:g} s"
        return Split(name, common, protocol, films, names, description, digest)
    flip = flip_labels(common, names) if name == "train" else None
    dataset: SampleDataset
    if has_videos(common):
        given = _video_arguments(common) | {"background": background_of(common, names)}
        given["encoded"] = common.data.decode == "cuda"
        dataset = VideoDataset(records, protocol, seed=common.seed, flip_labels=flip, **given)
        scanned, unreadable = dataset.index.num_videos, len(dataset.index.errors)
        faults = {row: f"{records.where(row)}: {error}" for row, error in dataset.index.errors.items()}
        _check_readable(faults, allowed=common.bad_frame_budget)
        description = f"encoded videos, {scanned} scanned, {unreadable} of them unreadable"
        if records.spans is not None:
            description = f"spans of {scanned} encoded videos, {unreadable} of the spans without a readable frame, "
            description += f"{len(dataset.index) - len(records)} of background"
        if (near := protocol.video_sampling.near_key) is not None:
            description += f", frames moved to key frames up to {near:g} s away"
        description += ", decoded on the GPU" if dataset.encoded else ""
    else:
        listed = len(records)
        records, store, description = open_frames(common, records)
        if records.spans is not None:
            description += f", spans of videos, {len(records) - listed} of them background"
        encoded = common.data.decode == "cuda"
        if encoded:
            description += ", decoded on the GPU"
        if can_look(store):
            description += f", {check_on_disk(records, store, allowed=common.bad_frame_budget)} looked at on disk"
        kind = DATASETS[protocol.clip.dataset]
        dataset = kind(records, store, protocol, seed=common.seed, flip_labels=flip, encoded=encoded)
    return Split(name, common, protocol, dataset, names, description, digest)


def open_videos(run: Run, name: str, protocols: Protocols) -> Split:
    """Opens the videos that a run trains on ("train") or is scored by ("val"), and logs what was found."""
    split = open_split(run.common, name, protocols[name], fake=run.args.fake)
    run.folder.log(f"{name}: {split}")
    return split


def _check_readable(faults: Mapping[int, str], *, allowed: int) -> None:
    """Raises: ListError for records that cannot be read, before any is trained on, if there are too many.

    faults: where each is listed and what is wrong with it, by its row.
    """
    if len(faults) > allowed:
        others = f", and {len(faults) - 1} others (tools/check_data.py names all)" if len(faults) > 1 else ""
        raise ListError(f"{faults[min(faults)]}{others}; bad_frame_budget is {allowed}")


def check_lists(common: Common, clip: ClipSpec, *, trains: bool = False) -> Protocols:
    """Makes every check of both lists that needs no data, and returns their protocols.

    clip: what the method asks for. trains: whether a run will train by this config, in which each key has to count.

    Raises: ConfigError.
    """
    protocols = {name: clip_protocol(common, clip, train=name == "train") for name in ("train", "val")}
    if trains:
        check_used(common)
    for protocol in protocols.values():
        check_dataset(common, protocol)
    return protocols


def check_dataset(common: Common, protocol: ClipProtocol) -> None:
    """Checks that the store is known and that the dataset takes such clips and arguments; needs no data.

    Raises: ConfigError.
    """
    if store_type(common) == "video":
        if common.data.fps is not None:
            raise ConfigError("common.data.fps: is for folders of frames; encoded videos know their own rate")
        VideoDataset.check(protocol, swaps_labels=protocol.train and bool(common.augmentation.flip_labels))
        if "decoder" in (arguments := _video_arguments(common)):
            find_reader(arguments["decoder"])  # which may not be installed
        if common.data.decode == "cuda" and (why := lacks_torchcodec()):
            raise ConfigError(
                f"common.data.decode: cuda needs torchcodec for videos, which cannot be used: {why}; use cpu"
            )
    else:
        DATASETS[protocol.clip.dataset].check_clip(protocol.clip)


def _video_arguments(common: Common) -> dict[str, Any]:
    """Returns what data.store gives to VideoDataset besides its VideoSampling, checked. Raises: ConfigError."""
    where, given_here = "common.data.store", ("records", "protocol", "seed", "flip_labels", "background", "encoded")
    sampling = parameters_of(VideoSampling)
    own = [key for key in parameters_of(VideoDataset) if key not in given_here]
    arguments = {key: value for key, value in common.data.store.items() if key != "type" and key not in sampling}
    for key in arguments:
        if key not in own:
            raise ConfigError(f"{where}.{key}: video does not take it{nearest(key, [*own, *sampling])}")
    return check_arguments(VideoDataset, arguments, name="video", where=where, without=given_here)


def _check_gpu(common: Common) -> None:
    """Raises: ConfigError for decode: cuda without a GPU; what else it needs, a dry run checks as well."""
    if common.data.decode == "cuda" and (common.device not in ("auto", "cuda") or not torch.cuda.is_available()):
        raise ConfigError("common.data.decode: cuda needs a GPU, and this run has none; cpu decodes anywhere")


def missing_lists(common: Common, protocols: Protocols) -> dict[str, tuple[str | None, int | None]]:
    """Returns for a dry run what `missing` says about each list."""
    return {name: missing(common, name, protocol) for name, protocol in protocols.items()}


def _lacking(source: str) -> str | None:
    """Returns the list, or the first of its shards, that is missing; None if nothing is."""
    if is_shards(source):
        return missing_shard(source)
    return None if exists(source) or Path(source).exists() else source


def missing(common: Common, name: str, protocol: ClipProtocol) -> tuple[str | None, int | None]:
    """Returns for a dry run what is missing for a list, or None, and how many samples it has, or None."""
    source = common.train_source if name == "train" else common.val_source
    if source is None:
        return f"common.{name}_source is not set", None
    if (lacking := _lacking(source)) is not None:
        return f"common.{name}_source: {lacking} is not there", None
    records, names = open_list(common, name)
    if name == "train":
        flip_labels(common, names)
        if common.data.shuffle_window is not None:
            shard_starts([records.path(row) for row in range(len(records))])
    background_of(common, names)
    try:
        if protocol.clip.whole_videos:
            open_whole(common, records)
        elif not has_videos(common):
            seen, store, _ = open_frames(common, records)
            if can_look(store):
                check_on_disk(seen, store, allowed=common.bad_frame_budget)
    except ListError as error:
        return str(error), len(records)
    count = len({records.path(row) for row in range(len(records))} if protocol.clip.whole_videos else records)
    if protocol.train and protocol.video_sampling.sampler != "random_multi":
        count *= protocol.video_sampling.clips_per_video  # without scanning, as if none were too short
    if names is None:
        return f"no classInd.txt next to {source} or in {records.root}/lists: classes will have no names", count
    return None, count
