"""PyTorchVideo's tutorial names: every video once, the clips of its samplers, no state between epochs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from datasets.labeled_videos import ExactDistributedSampler, Kinetics, LabeledVideoDataset, make_clip_sampler
from tests.datasets.sampling.test_published import golden
from tests.datasets.videos.test_clip_times import number
from tests.helpers.make_video import block_position, make_video
from tests.helpers.ranks import run_ranks
from utils.errors import ConfigError, FrameError

NAMES = ["a", "b", "c", "d", "e"]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.csv as the tutorial has it: `path label`, no header."""
    folder = tmp_path_factory.mktemp("kinetics")
    for name in NAMES:
        make_video(folder / f"videos/{name}.mp4", frames=24)  # one second
    path = folder / "train.csv"
    path.write_text("".join(f"{folder}/videos/{name}.mp4 {label}\n" for label, name in enumerate(NAMES)))
    return path


def seen(dataset: LabeledVideoDataset, workers: int = 0) -> list[tuple[str, int, float]]:
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    return sorted((clip["video_name"], clip["clip_index"], float(clip["video"].mean())) for clip in loader)


def test_a_sample_has_the_tutorials_keys(csv: Path) -> None:
    clip = next(iter(Kinetics(csv, make_clip_sampler("uniform", 0.5), video_sampler=SequentialSampler)))
    assert list(clip) == ["video", "label", "video_name", "video_index", "clip_index"]
    video = clip["video"]
    assert video.shape == (3, 12, 64, 96) and video.dtype == torch.float32 and 200 < video.max() <= 255
    assert [block_position(frame.byte().permute(1, 2, 0).numpy()) // 2 for frame in video.unbind(1)] == [*range(12)]
    assert (clip["label"], clip["video_name"], clip["video_index"], clip["clip_index"]) == (0, "a", 0, 0)


def test_samplers_give_pytorchvideos_spans() -> None:
    for case in golden("pytorchvideo", "uniform"):
        stride = None if case["stride"] is None else number(case["stride"])
        sampler = make_clip_sampler("uniform", number(case["clip_duration"]), stride, case["backpad_last"])
        spans = [span for (span,) in sampler.spans(number(case["video_duration"]), RNG)]
        assert np.array(spans) == pytest.approx(np.array(case["clips"]), abs=1e-9), case
    for case in golden("pytorchvideo", "constant_clips_per_video"):
        sampler = make_clip_sampler(
            "constant_clips_per_video", number(case["clip_duration"]), case["clips_per_video"],
            case["augs_per_clip"],
        )  # fmt: skip
        spans = [span for (span,) in sampler.spans(number(case["video_duration"]), RNG)]
        assert np.array(spans) == pytest.approx(np.array(case["clips"]), abs=1e-9)
    ((start, end),) = make_clip_sampler("random", 2).spans(10, np.random.default_rng(1))[0]
    assert 0 <= start <= 8 and end == start + 2
    assert len(make_clip_sampler("random_multi", 2, 3).spans(10, RNG)[0]) == 3


@pytest.mark.whole
@pytest.mark.parametrize("workers", [0, 2])
def test_each_video_comes_once_per_epoch_and_in_another_order(csv: Path, workers: int) -> None:
    dataset = Kinetics(csv, make_clip_sampler("random", 0.25))
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    torch.manual_seed(0)
    epochs = [[(clip["video_name"], float(clip["video"].mean())) for clip in loader] for _ in range(3)]
    assert all(sorted(name for name, _ in epoch) == NAMES for epoch in epochs)
    assert len({tuple(name for name, _ in epoch) for epoch in epochs}) > 1
    assert len({dict(epoch)["a"] for epoch in epochs}) > 1, "another clip of it in each epoch"


def test_the_number_of_workers_changes_no_clip_and_no_draw_of_a_transform(csv: Path) -> None:
    def noisy(clip: dict[str, Any]) -> dict[str, Any]:
        return {**clip, "video": clip["video"].mean() + torch.rand(())}

    found = []
    for workers in (1, 2):
        torch.manual_seed(7)
        found.append(seen(Kinetics(csv, make_clip_sampler("random", 0.25), transform=noisy), workers))
    assert found[0] == found[1]


def test_uniform_clips_cover_every_video(csv: Path) -> None:
    found = Counter(name for name, _, _ in seen(Kinetics(csv, make_clip_sampler("uniform", 0.25)), workers=2))
    assert found == dict.fromkeys(NAMES, 4)


def test_several_clips_in_one_sample_are_a_list(csv: Path) -> None:
    clip = next(iter(Kinetics(csv, make_clip_sampler("random_multi", 0.25, 3))))
    assert len(clip["video"]) == 3 and all(video.shape[0] == 3 for video in clip["video"])


def shares(rank: int, csv: Path) -> tuple[list[str], list[str], str]:
    clips = make_clip_sampler("constant_clips_per_video", 0.25, 1)
    exact = Kinetics(csv, clips, video_sampler=ExactDistributedSampler)
    padded = Kinetics(csv, clips, video_sampler=DistributedSampler)
    padded.video_sampler.set_epoch(1)  # type: ignore[attr-defined]
    try:
        Kinetics(csv, clips, video_sampler=RandomSampler)
        refusal = ""
    except ConfigError as error:
        refusal = str(error)
    return [name for name, _, _ in seen(exact)], [name for name, _, _ in seen(padded)], refusal


@pytest.mark.gloo
def test_processes_share_the_videos_out(csv: Path) -> None:
    results = run_ranks(2, shares, csv)
    assert sorted(name for exact, _, _ in results for name in exact) == NAMES
    padded = [name for _, names, _ in results for name in names]
    assert set(padded) == set(NAMES) and len(padded) == 6, "equal shares for training: one video twice"
    assert all("RandomSampler would show every video on each of 2 processes" in refusal for *_, refusal in results)


def test_a_folder_of_class_folders_will_do(csv: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("run", "jump"):
        make_video(tmp_path / name / "x.mp4", frames=6)
    dataset = Kinetics(tmp_path, make_clip_sampler("random", 1), video_sampler=SequentialSampler)
    assert "class names are numbered in alphabetical order" in caplog.text
    assert [clip["label"] for clip in dataset] == [0, 1] and dataset.num_videos == 2


def test_what_is_wrong_is_named(csv: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "list.csv").write_text("bad.mp4 0\n")
    with pytest.raises(FrameError, match=r"bad\.mp4: cannot be read as a video"):
        next(iter(Kinetics(tmp_path / "list.csv", make_clip_sampler("random", 1), video_path_prefix=tmp_path)))
    for arguments, message in (
        (("randm", 2), "'randm' is unknown; did you mean `random`"),
        (("random",), "clip_duration: random needs it"),
        (("random", 2, 3), "random takes clip_duration; 2 values are given"),
        (("uniform", 0), "clip_duration 0.* is not above 0"),
        (("constant_clips_per_video", 2, "x"), "clips_per_video: should be a valid integer"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_clip_sampler(*arguments)
    with pytest.raises(ConfigError, match="no sound is read here"):
        Kinetics(csv, make_clip_sampler("random", 1), decode_audio=True)
