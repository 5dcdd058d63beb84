"""What samples of a batch share is decoded once, and every sample has the bits that it has alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from datasets import VideoDataset
from datasets.lists.records import RecordList, read_list
from datasets.loader import TrainStream
from datasets.videos import reader as video_reader
from datasets.videos import together
from datasets.videos.clip_times import VideoSampling
from datasets.videos.reader import read_pyav
from datasets.videos.scan import scan
from datasets.videos.together import TogetherReader
from tests.helpers.make_video import block_position, make_video
from tests.helpers.numbered import RATE, write_numbers
from tests.helpers.protocol import for_testing, for_training
from utils.clip_spec import ClipSpec
from utils.errors import FrameError
from utils.transforms.crops import MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip

SEGMENTS = ClipSpec(4, 1, "segments")
Asked = list[tuple[str, list[int]]]


@pytest.fixture
def records(tmp_path: Path) -> RecordList:
    for name in ("a.mp4", "b.mp4"):
        write_numbers(tmp_path / name, "libx264", g="12")
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 1\n")
    return read_list(tmp_path / "list.txt", root=tmp_path, columns=("label",))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The passes over files: which file, and which frames are asked for."""
    found: Asked = []

    def read(path: Path, times: Any, indices: np.ndarray) -> list[np.ndarray]:
        found.append((path.name, sorted(set(indices.tolist()))))
        return read_pyav(path, times, indices)

    monkeypatch.setitem(video_reader.READERS, "pyav", read)
    monkeypatch.setattr("datasets.video_dataset.find_reader", video_reader.READERS.__getitem__)
    return found


def dataset_of(records: RecordList, clip: ClipSpec = SEGMENTS, *, num_clips: int = 0, **sampling: Any) -> VideoDataset:
    """A dataset of training clips, or of so many clips of each video in testing."""
    protocol = for_training(clip, CutClip(MultiScale(), 32, flip=0.5), video_sampling=VideoSampling(**sampling))
    if num_clips:
        protocol = for_testing(clip, CutClip(TestCrops(40, num_crops=3), 32), num_clips=num_clips)
    return VideoDataset(records, protocol, cache=records.source.parent / "cache")


def test_repeated_augmentation_reads_a_file_once_with_the_bits_of_each_sample_alone(
    records: RecordList, asked: Asked
) -> None:
    dataset = dataset_of(records)
    keys = TrainStream(2, 8, repeated=4).step(0)
    batch = dataset.__getitems__(keys)
    assert [name for name, _ in asked] == [dataset.path(index) for index in dict.fromkeys(index for _, index in keys)]
    assert len(asked[0][1]) > SEGMENTS.num_frames, "the four samples show other frames"
    for clips, key in zip(batch.clips, keys, strict=True):
        assert (clips.permute(0, 2, 3, 4, 1).numpy() == dataset[key]["clips"]).all()
    assert len(asked) == 2 + len(keys), "a sample alone is read alone"


def test_repeated_clips_of_a_video_are_of_the_same_frames_which_are_read_once(
    records: RecordList, asked: Asked
) -> None:
    dataset = dataset_of(records)
    dataset.repeated = 4
    keys = TrainStream(2, 8, repeated=4).step(0)
    batch = dataset.__getitems__(keys)
    assert [len(frames) for _, frames in asked] == [SEGMENTS.num_frames] * 2
    assert len({dataset.shown(key).tobytes() for key in keys}) == 2
    for clips, key in zip(batch.clips, keys, strict=True):
        assert (clips.permute(0, 2, 3, 4, 1).numpy() == dataset[key]["clips"]).all()
    assert not torch.equal(batch.clips[0], batch.clips[1])


def test_the_clips_of_a_video_that_share_a_batch_are_read_in_one_pass(records: RecordList, asked: Asked) -> None:
    clip = ClipSpec(4, 1, "clip", "video")
    dataset = dataset_of(records, clip, sampler="uniform", clip_seconds=8 / RATE, stride=4 / RATE)
    keys = [(0, index) for index in range(len(dataset))]
    batch = dataset.__getitems__(keys)
    assert len(keys) > 8 and [name for name, _ in asked] == ["a.mp4", "b.mp4"] and not any(batch.faults)
    for clips, key in zip(batch.clips, keys, strict=True):
        assert (clips.permute(0, 2, 3, 4, 1).numpy() == dataset[key]["clips"]).all()


def test_all_views_of_a_video_are_read_in_one_pass_or_in_as_many_as_memory_needs(
    records: RecordList, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_of(records, ClipSpec(4, 2, "clip"), num_clips=10)
    whole = dataset[0]["clips"]
    assert len(whole) == 30 and [name for name, _ in asked] == ["a.mp4"]
    monkeypatch.setattr(together, "MOST_BYTES", 10 * 3 * 128 * 96)
    assert (dataset[0]["clips"] == whole).all()
    assert len(asked) > 3 and all(len(frames) <= 10 for _, frames in asked[1:])


def test_damage_in_one_sample_leaves_the_others_of_its_file_whole(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", "libx264", frames=40, g="40", bf="0")
    with av.open(str(path)) as container:
        middle = [packet for packet in container.demux(video=0) if packet.pos][20]
        place = middle.pos + middle.size // 2
    data = bytearray(path.read_bytes())
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    times, wanted = scan(path), [np.array([index]) for index in (3, 35, 12)]
    read = TogetherReader(read_pyav, [(path, times, indices) for indices in wanted])
    assert block_position(read(path, times, wanted[0])[0]) // 2 == 3
    with pytest.raises(FrameError, match="frame index 35 of 40 is damaged"):
        read(path, times, wanted[1])
    assert block_position(read(path, times, wanted[2])[0]) // 2 == 12


def test_passes_are_no_larger_than_memory_allows_and_are_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbers(tmp_path / "v.mp4", "libx264", g="12")
    times, passes = scan(path), []
    monkeypatch.setattr(together, "MOST_BYTES", 3 * times.size[0] * times.size[1] * 6)

    def read(path: Any, times: Any, indices: np.ndarray) -> list[np.ndarray]:
        passes.append(indices.tolist())
        return [np.full(1, index) for index in indices]

    wanted = [np.arange(first, first + 4) for first in (0, 2, 4, 20)] + [np.arange(30)]
    reader = TogetherReader(read, [(path, times, indices) for indices in wanted])
    for indices in wanted:
        assert [int(picture[0]) for picture in reader(path, times, indices)] == indices.tolist()
    assert passes == [[0, 1, 2, 3, 4, 5], [4, 5, 6, 7], [20, 21, 22, 23], [*range(30)]]
    counted = replace(times, seekable=False)
    reader = TogetherReader(read, [(path, counted, indices) for indices in wanted])
    for indices in wanted:
        assert len(reader(path, counted, indices)) == len(indices)
    assert passes[4:] == [[*range(30)]], "each pass over it would begin at its start"
    assert not any(reader._passes.values()), "no picture is kept for nobody"
    assert len(reader(path, times, np.array([3]))) == 1 and passes[-1] == [3], "one that nobody has announced"


def test_pictures_of_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = scan(write_numbers(tmp_path / "v.mp4", "libx264", g="12"))
    each = 3 * times.size[0] * times.size[1]
    monkeypatch.setattr(together, "MOST_BYTES", 10 * each)
    passes: list[tuple[str, int]] = []

    def read(path: Any, times: Any, indices: np.ndarray) -> list[np.ndarray]:
        passes.append((path.name, len(indices)))
        return [np.full(1, index) for index in indices]

    files = [Path(name) for name in "abc"]
    asked = [(path, times, np.arange(first, first + 3)) for first in (0, 1) for path in files]
    reader = TogetherReader(read, [*asked, *asked[:1] * 2])
    for path, _, indices in asked:
        assert [int(picture[0]) for picture in reader(path, times, indices)] == indices.tolist()
    assert passes == [("a", 4), ("b", 4), ("c", 3), ("c", 3)], "a and b are kept, and c has no place beside them"
