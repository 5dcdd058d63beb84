"""Clips of encoded videos as torchvision's reference script takes them, against the installed torchvision."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets.video_utils import VideoClips

from datasets import VideoDataset
from datasets.lists.records import RecordList, read_list
from datasets.loader import EvalShard, TrainStream
from datasets.videos.clip_times import VideoSampling
from tests.helpers.make_video import make_video
from tests.helpers.protocol import for_testing, for_training
from utils.clip_spec import ClipSpec
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip

CLIP, RATE = ClipSpec(8, 1, "torchvision", "video"), 15.0
VIDEOS = {"whole_ratio.mp4": (30, 70), "other_ratio.mp4": (24, 60), "few_clips.mp4": (30, 20), "short.mp4": (30, 9)}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> RecordList:
    folder = tmp_path_factory.mktemp("videos")
    for name, (fps, frames) in VIDEOS.items():
        make_video(folder / name, fps=fps, frames=frames)
    (folder / "list.txt").write_text("".join(f"{name} {label}\n" for label, name in enumerate(VIDEOS)))
    return read_list(folder / "list.txt", root=folder, columns=("label",))


def dataset(
    records: RecordList,
    *,
    clip: ClipSpec = CLIP,
    train: bool = True,
    num_clips: int = 1,
    seed: int = 0,
    **given: Any,
) -> VideoDataset:
    sampling, kind = VideoSampling(fps=RATE, **given), for_training if train else for_testing
    protocol = kind(clip, CutClip(TestCrops(None), (64, 96)), num_clips=num_clips, video_sampling=sampling)
    return VideoDataset(records, protocol, seed=seed, cache=records.source.parent / "cache")


def theirs(name: str) -> np.ndarray:
    """All clips of a video, (n, T)."""
    fps, frames = VIDEOS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clips, _ = VideoClips.compute_clips_for_video(torch.arange(frames), CLIP.num_frames, 1, float(fps), RATE)
    return clips.numpy()


def test_testing_takes_its_clips_evenly_from_all_of_them(records: RecordList) -> None:
    ours = dataset(records, train=False, num_clips=5)
    for index, name in enumerate(VIDEOS):
        all_clips = theirs(name)
        if not len(all_clips):
            continue
        wanted = torch.linspace(0, len(all_clips) - 1, 5).floor().long().numpy()
        np.testing.assert_array_equal(ours.indices(index, None), all_clips[wanted])


def test_an_epoch_has_at_most_so_many_different_clips_of_a_video(records: RecordList) -> None:
    train = dataset(records, train=True, clips_per_video=5, seed=3)
    available = [len(theirs(name)) for name in VIDEOS]
    assert available == [28, 30, 3, 0]
    # torchvision skips a video shorter than a clip without a word; here it is one clip that holds its last frame
    assert len(train) == sum(min(5, max(1, count)) for count in available)
    for epoch in (0, 1):
        for name in VIDEOS:
            entries = [item for item in range(len(train)) if train.records.path(item) == name]
            drawn = [tuple(train.indices(item, np.random.default_rng(0), epoch)[0]) for item in entries]
            assert len(set(drawn)) == len(drawn)
            assert len(theirs(name)) == 0 or set(drawn) <= {tuple(clip) for clip in theirs(name)}
    first = [item for item in range(len(train)) if train.records.path(item) == "whole_ratio.mp4"]
    epochs = [{tuple(train.indices(item, np.random.default_rng(0), epoch)[0]) for item in first} for epoch in range(30)]
    assert len(set.union(*epochs)) == 28, "every clip has its turn"


def test_clips_of_differences_are_as_many_as_there_are_places_for_their_stacks(records: RecordList) -> None:
    plain = dataset(records, clips_per_video=100)
    train = dataset(records, clip=replace(CLIP, modality="rgbdiff"), clips_per_video=100)
    assert len(plain) - len(train) == 3, "a difference needs the next picture; the short video has one clip anyway"
    drawn = {(train.path(item), *train.indices(item, np.random.default_rng(0))[0]) for item in range(len(train))}
    assert len(drawn) == len(train)


def test_shards_are_exact_where_torchvision_pads_and_draws_on_each_rank(records: RecordList) -> None:
    train, test = dataset(records, clips_per_video=5), dataset(records, train=False, num_clips=2)
    steps = [
        TrainStream(len(train), 7, seed=1, rank=rank, world=2, stop_step=1).step(0) for rank in range(2)
    ]  # 14 clips: one epoch over two processes
    assert len(train) == 14 and {index for part in steps for _, index in part} == set(range(14))
    shards = [EvalShard(len(test), 3, rank=rank, world=3) for rank in range(3)]
    assert sorted(index for shard in shards for batch in shard for _, index in batch) == [0, 1, 2, 3]


def test_pixels_are_those_of_the_frames_and_the_same_again(records: RecordList) -> None:
    train = dataset(records, clips_per_video=2, seed=5)
    one, again, later = train[0, 1], train[0, 1], train[1, 1]
    assert one["fault"] == "" and np.array_equal(one["clips"], again["clips"])
    assert not np.array_equal(one["clips"], later["clips"])
