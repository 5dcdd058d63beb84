"""Videos that travel encoded become the clips that workers make; decoded on the CPU here, by the same code."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets import VideoDataset
from datasets.decoding import choose_decoder, measure
from datasets.lists.records import read_list
from datasets.loader import TrainStream
from datasets.videos import encoded_samples
from datasets.videos.clip_times import VideoSampling
from datasets.videos.reader import READERS
from datasets.videos.scan import VideoTimes
from tests.helpers.make_video import damage, make_video
from tests.helpers.protocol import for_testing, for_training
from tests.helpers.requirements import needs_gpu, needs_torchcodec
from utils.clip_spec import ClipSpec
from utils.training.batch import Batch
from utils.transforms.crops import MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip

CPU = torch.device("cpu")
NAMES = ("a.mp4", "turned.mp4", "b.avi", "bad.mp4")
KEYS = [(0, 0), (1, 0), (0, 1), (0, 2), (0, 3), (2, 0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("videos")
    make_video(found / "a.mp4", frames=30, g="8")
    make_video(found / "turned.mp4", frames=30, g="8", rotation=90.0)
    make_video(found / "b.avi", "mpeg4", frames=30, b="2000k")
    damage(make_video(found / "bad.mp4", frames=30, g="30"), places=60)
    (found / "list.txt").write_text("".join(f"{name} {number}\n" for number, name in enumerate(NAMES)))
    return found


def dataset_of(folder: Path, *, train: bool = True, encoded: bool = True, num_clips: int = 1) -> VideoDataset:
    transform = CutClip(MultiScale(), 48, flip=0.5) if train else CutClip(TestCrops(56, num_crops=3), 48)
    kind, clip = for_training if train else for_testing, ClipSpec(4, 1, "segments" if train else "clip")
    protocol = kind(clip, transform, num_clips=num_clips, video_sampling=VideoSampling())
    records = read_list(folder / "list.txt", root=folder, columns=("label",))
    return VideoDataset(records, protocol, cache=folder / "cache", encoded=encoded)


def both(folder: Path, keys: Sequence[Any], device: torch.device = CPU, **given: Any) -> tuple[Batch, Batch]:
    """The batch as workers make it, and as the device makes it of what travels."""
    travelled = pickle.dumps(dataset_of(folder, **given).__getitems__(keys))
    return dataset_of(folder, encoded=False, **given).__getitems__(keys), pickle.loads(travelled).to(device)


def assert_alike(workers: Batch, device: Batch) -> None:
    assert workers.clips.shape == device.clips.shape and workers.clips.stride() == device.clips.stride()
    assert workers.labels.tolist() == device.labels.tolist() and device.encoded is None
    apart = np.abs(workers.clips.float().numpy() - device.clips.float().cpu().numpy())
    assert apart.mean() < 0.6 and np.percentile(apart, 99) <= 3


@needs_torchcodec
def test_training_clips_are_those_of_workers_and_faults_as_well(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded_samples._refused.clear()
    with caplog.at_level(logging.WARNING):
        workers, device = both(folder, KEYS)
    assert_alike(workers, device)
    assert device.faults == workers.faults and [bool(fault) for fault in device.faults] == [False] * 4 + [True, False]
    assert "bad.mp4" in device.faults[4] and not device.clips[4].any()
    said = [record.getMessage() for record in caplog.records if record.name == encoded_samples.__name__]
    assert len(said) == 1 and "PyAV decodes in the training process" in said[0] and "b.avi" in said[0]


@pytest.mark.parametrize("num_clips", [1, 3])
@needs_torchcodec
def test_the_views_of_a_test_are_those_of_workers(folder: Path, num_clips: int) -> None:
    workers, device = both(folder, [(0, 0), (0, 1)], train=False, num_clips=num_clips)
    assert device.clips.shape[:2] == (2, 3 * num_clips)
    assert_alike(workers, device)


@needs_torchcodec
def test_samples_of_one_file_are_decoded_in_one_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = encoded_samples.decode_torchcodec

    def decode(path: Path, times: VideoTimes, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        asked.append(len(indices))
        return real(path, times, indices, device)

    monkeypatch.setattr(encoded_samples, "decode_torchcodec", decode)
    dataset_of(folder).__getitems__([(0, 0), (1, 0), (2, 0)]).to(CPU)
    assert len(asked) == 1 and 4 < asked[0] <= 12


def test_workers_decode_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of(folder)
    for reader in ("pyav", "torchcodec", "auto"):
        monkeypatch.setitem(READERS, reader, lambda *_: pytest.fail("decodes"))
    batch = dataset.__getitems__([(0, 0), (0, 1)])
    assert batch.clips.numel() == 0 and batch.encoded is not None and len(pickle.dumps(batch)) < 20_000


@needs_torchcodec
def test_both_ways_are_measured_and_the_dataset_is_as_before(folder: Path) -> None:
    dataset = dataset_of(folder, encoded=False)
    stream = TrainStream(3, 2)
    seconds = measure(dataset, [stream.step(step) for step in range(2)], workers=2, device=CPU)
    assert min(seconds) > 0 and not dataset.encoded


@pytest.mark.parametrize(("seconds", "chosen"), [((0.02, 0.01), "cuda"), ((0.01, 0.02), "cpu")])
def test_what_takes_less_time_is_chosen_and_said(
    seconds: tuple[float, float], chosen: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.decoding.lacks_torchcodec", lambda: "")
    monkeypatch.setattr("datasets.decoding.measure", lambda *_, **__: seconds)
    said: list[str] = []
    assert choose_decoder(dataset_of(folder), [], torch.device("cuda"), said.append, workers=2) == chosen
    assert f"auto chooses {chosen}: a batch takes {seconds[0] * 1000:.0f} ms in the workers" in said[0]
    assert choose_decoder(dataset_of(folder), [], CPU, said.append, workers=2) == "cpu"
    assert said[1] == "data.decode: auto chooses cpu: this run has no GPU"


@pytest.mark.parametrize("before", ["cpu", "cuda"])
def test_what_a_checkpoint_has_is_kept_where_it_can_be(
    before: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.decoding.lacks_torchcodec", lambda: "")
    monkeypatch.setattr("datasets.decoding.measure", lambda *_, **__: pytest.fail("measured"))
    said: list[str] = []
    given: dict[str, Any] = {"workers": 2, "before": before}
    assert choose_decoder(dataset_of(folder), [], torch.device("cuda"), said.append, **given) == before
    assert said == [f"data.decode: auto takes {before}, as the checkpoint has it"]
    assert choose_decoder(dataset_of(folder), [], CPU, said.append, **given) == "cpu"


@needs_gpu
@needs_torchcodec
def test_a_gpu_makes_the_clips_of_workers(folder: Path) -> None:
    workers, device = both(folder, KEYS, torch.device("cuda"))
    assert device.faults == workers.faults
    apart = np.abs(workers.clips.float().numpy() - device.clips.float().cpu().numpy())
    assert apart.mean() < 3
