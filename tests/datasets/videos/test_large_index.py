"""A training whose index knows ten million videos: the memory of its workers stays flat (`make soak`)."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.video_index import identities, make_index
from datasets import VideoDataset
from datasets.lists.records import read_list
from datasets.loader import TrainStream, make_loader
from datasets.videos.clip_times import VideoSampling
from datasets.videos.scan import VideoTimes
from tests.helpers.protocol import for_training
from tests.helpers.requirements import lacking
from utils.clip_spec import ClipSpec
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip

WORKERS, BATCH = 2, 500


def anonymous_bytes() -> float:
    """The memory of this process without pages of files, which the system takes back when it needs them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def available_bytes() -> float:
    """The memory that processes can have without taking it from others."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says how much is whose")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("videos", "samples"),
    [pytest.param(20_000, 20_000, marks=pytest.mark.long), pytest.param(10_000_000, 500_000, marks=pytest.mark.slow)],
)
def test_the_memory_of_workers_stays_flat_over_an_epoch(
    videos: int, samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if videos * 450 > available_bytes():
        lacking(f"{videos:,} videos need {videos * 450 / 1e9:.1f} GB of free memory")
    make_index(tmp_path / "cache", videos)
    with (tmp_path / "list.txt").open("w") as file:
        file.writelines(f"{number:08d}.mp4 {number % 7}\n" for number in range(videos))
    memory = multiprocessing.Array("d", 2 * WORKERS, lock=False)
    read, marks = [0], (samples // WORKERS // 10, samples // WORKERS - BATCH)

    def read_nothing(path: Any, times: VideoTimes, indices: np.ndarray) -> list[np.ndarray]:
        info = torch.utils.data.get_worker_info()
        assert info is not None and len(times) > int(indices.max())
        read[0] += 1
        if read[0] in marks:
            memory[2 * info.id + marks.index(read[0])] = anonymous_bytes()
        return [np.zeros((8, 8, 3), np.uint8)] * len(indices)

    monkeypatch.setattr("datasets.video_dataset.find_reader", lambda _: read_nothing)
    monkeypatch.setattr("datasets.video_dataset.READERS", {"pyav": read_nothing})
    known = identities(videos), np.zeros(videos, bool), {}
    monkeypatch.setattr("datasets.videos.index._identities", lambda paths: known)
    records = read_list(tmp_path / "list.txt", root=tmp_path, columns=("label",))
    transform = CutClip(TestCrops(None), 8)
    protocol = for_training(ClipSpec(8, 1, "segments"), transform, video_sampling=VideoSampling())
    dataset = VideoDataset(records, protocol, cache=tmp_path / "cache")
    assert len(dataset) == videos and not dataset.index.errors
    for batch in make_loader(dataset, TrainStream(videos, BATCH, stop_step=samples // BATCH), workers=WORKERS):
        assert not any(batch.faults)
    early, late = np.array(memory).reshape(WORKERS, 2).T
    assert (early > 0).all() and (late - early < 0.02 * early + 2e6).all(), (early, late)
