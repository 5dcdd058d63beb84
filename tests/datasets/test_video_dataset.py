"""Encoded videos: the frame that is asked for is the frame that comes, in every container and by every sampler."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import VideoDataset
from datasets.lists.records import RecordList, read_list
from datasets.loader import EvalShard, TrainStream, make_loader
from datasets.sampling.rules import get_rule
from datasets.video_dataset import near_keys
from datasets.videos.clip_times import VideoSampling
from datasets.videos.reader import find_reader, read_pyav
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.shown import shown_at
from datasets.videos.video import Video
from tests.helpers.make_video import block_position, damage, make_audio, make_video, truncate
from tests.helpers.protocol import for_testing, for_training
from tests.helpers.requirements import CLIPS, needs_clips, needs_torchcodec
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError
from utils.transforms.crops import MultiScale, TestCrops
from utils.transforms.cut_clip import CutClip

WHOLE = CutClip(TestCrops(None), (64, 96))
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264.mp4": ("libx264", {"g": "8", "bf": "2"}),
    "open_gop.mp4": ("libx264", {"g": "6", "bf": "3", "x264-params": "open-gop=1"}),
    "h264.mkv": ("libx264", {"g": "8"}),
    "one_key.mp4": ("libx264", {"g": "250"}),
    "mpeg4.avi": ("mpeg4", {"g": "8", "b": "2000k"}),
    "mjpeg.avi": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "vp8.webm": ("libvpx", {"g": "8", "auto-alt-ref": "1", "b": "1000k"}),
    "vp9.webm": ("libvpx-vp9", {"g": "8", "b": "1000k"}),
    "ten_bit.mp4": ("libx264", {"pix_fmt": "yuv420p10le"}),
    "rotated.mp4": ("libx264", {"rotation": 90.0, "g": "8"}),
}


def records_of(folder: Path, **videos: int) -> RecordList:
    source = folder / "list.txt"
    source.write_text("".join(f"{name} {label}\n" for name, label in videos.items()))
    return read_list(source, root=folder, columns=("label",))


def dataset_of(
    records: RecordList,
    clip: ClipSpec,
    *,
    train: bool = True,
    num_clips: int = 1,
    transform: CutClip = WHOLE,
    seed: int = 0,
    flip_labels: np.ndarray | None = None,
    **sampling: Any,
) -> VideoDataset:
    """A dataset that shows the seconds that `sampling` says (VideoSampling)."""
    kind = for_training if train else for_testing
    protocol = kind(clip, transform, num_clips=num_clips, video_sampling=VideoSampling(**sampling))
    cache = records.source.parent / "cache"
    return VideoDataset(records, protocol, seed=seed, flip_labels=flip_labels, cache=cache)


@pytest.mark.alike
@pytest.mark.parametrize("kind", KINDS)
def test_seeking_is_exact(tmp_path: Path, kind: str):
    codec, options = KINDS[kind]
    path = make_video(tmp_path / kind, codec, frames=40, **options)
    times = scan(path)
    assert len(times) == 40 and times.duration == pytest.approx(40 / 24, rel=0.03)
    every = [frame for _, frame in Video(path).frames()]
    for indices in ([39], [0], [17, 3, 17], [7, 8, 9, 31], [5, 38], list(range(40))):
        got = read_pyav(path, times, np.array(indices))
        assert all((frame == every[index]).all() for frame, index in zip(got, indices, strict=True)), indices
    if kind != "rotated.mp4":
        assert [block_position(frame) // 2 for frame in read_pyav(path, times, np.arange(40))] == list(range(40))


def test_rules_of_frame_folders_work_on_videos(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=40, g="8")
    records = records_of(tmp_path, **{"a.mp4": 1})
    test = dataset_of(records, ClipSpec(4, 1, "segments"), train=False)
    sample = test[0]
    assert [block_position(frame) // 2 for frame in sample["clips"][0]] == [5, 15, 25, 35]
    assert sample["label"] == 1 and sample["fault"] == ""
    views = dataset_of(records, ClipSpec(4, 2, "clip"), train=False, num_clips=3)
    assert views.num_views == 3 and views.indices(0, None)[[0, 2], [0, 3]].tolist() == [0, 39]
    train = dataset_of(records, ClipSpec(4, 1, "segments"))
    wanted = train.indices(0, np.random.default_rng([0, 2, 0]))[0]
    assert [block_position(frame) // 2 for frame in train[2, 0]["clips"][0]] == wanted.tolist()


def test_spans_in_seconds(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=48)
    records = records_of(tmp_path, **{"a.mp4": 0})
    clip = ClipSpec(4, 1, "clip", "video")
    constant = dataset_of(records, clip, sampler="constant_clips_per_video", clip_seconds=0.5, train=False, num_clips=3)
    assert constant.indices(0, None).tolist() == [[0, 3, 7, 11], [18, 21, 25, 29], [36, 39, 43, 47]]
    assert constant.num_views == 3
    uniform = dataset_of(records, clip, sampler="uniform", clip_seconds=0.5, train=False)
    assert len(uniform) == 4 and uniform.num_views == 1
    assert [uniform.indices(item, None)[0, 0] for item in range(4)] == [0, 12, 24, 36]
    assert {uniform.records.path(item) for item in range(4)} == {"a.mp4"} and len(uniform.records.labels) == 4
    assert len(dataset_of(records, clip, sampler="uniform", clip_seconds=0.2, train=False)) == 10
    overlapping = dataset_of(records, clip, sampler="uniform", clip_seconds=0.5, stride=0.25)
    assert len(overlapping) == 7
    random = dataset_of(records, clip, sampler="random", clip_seconds=0.5)
    starts = {int(random.indices(0, np.random.default_rng(seed))[0, 0]) for seed in range(80)}
    assert min(starts) <= 1 and 34 <= max(starts) <= 36
    multi = dataset_of(records, clip, sampler="random_multi", clip_seconds=0.5, clips_per_video=3, num_clips=3)
    assert len(multi) == 1 and multi.num_views == 3 and multi[0, 0]["clips"].shape == (3, 4, 64, 96, 3)
    several = dataset_of(records, clip, sampler="random", clip_seconds=0.5, clips_per_video=3)
    assert len(several) == 3 and (several[0, 0]["clips"] != several[0, 1]["clips"]).any()


def test_frame_rate_resampling(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=48)
    records = records_of(tmp_path, **{"a.mp4": 0})
    slow = dataset_of(records, ClipSpec(6, 1, "clip"), sampler="constant_clips_per_video", fps=8, train=False)
    assert slow.indices(0, None).tolist() == [[0, 3, 6, 9, 12, 15]]
    fast = dataset_of(records, ClipSpec(6, 1, "clip"), sampler="constant_clips_per_video", fps=48, train=False)
    assert fast.indices(0, None).tolist() == [[0, 0, 1, 1, 2, 2]]
    by_rule = dataset_of(records, ClipSpec(4, 1, "segments"), fps=8, train=False)
    assert by_rule.indices(0, None).tolist() == [[6, 18, 30, 42]]


def test_variable_frame_rate_goes_by_the_clock(tmp_path: Path):
    pts = list(range(12)) + [12 + 4 * step for step in range(9)]  # 24 fps, then 6 fps
    path = make_video(tmp_path / "a.mkv", frames=21, pts=pts)
    times = scan(path)
    assert times.seconds == pytest.approx(np.array(pts) / 24, abs=2e-3)
    dataset = dataset_of(
        records_of(tmp_path, **{"a.mkv": 0}), ClipSpec(5, 1, "clip"),
        sampler="constant_clips_per_video", fps=3, train=False,
    )  # fmt: skip
    expected = [0, 8, 13, 15, 17]  # what is on the screen at 0, 1/3, 2/3, 1 and 4/3 s
    assert dataset.indices(0, None).tolist() == [expected]
    assert [block_position(frame) // 2 for frame in dataset[0]["clips"][0]] == expected
    assert dataset.seconds(0, fps=25) == pytest.approx(np.array([[0, 1 / 3, 2 / 3, 1, 4 / 3]]), abs=2e-3)


def test_short_videos_hold_their_last_frame(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=1)
    make_video(tmp_path / "b.mp4", frames=3)
    records = records_of(tmp_path, **{"a.mp4": 0, "b.mp4": 1})
    for kwargs in ({}, {"sampler": "uniform"}, {"sampler": "constant_clips_per_video", "fps": 24.0}):
        dataset = dataset_of(records, ClipSpec(8, 2, "clip"), train=False, **kwargs)
        assert len(dataset) == 2
        assert all(dataset[item]["fault"] == "" for item in range(2))
        assert set(dataset.indices(0, None).ravel().tolist()) == {0}
        assert dataset.indices(1, None).max() == 2


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize("kind", ["missing", "empty", "audio", "no video", "truncated", "damaged"])
def test_a_bad_video_is_a_fault_that_names_it(tmp_path: Path, kind: str):
    good, bad = make_video(tmp_path / "good.mp4"), tmp_path / "bad.mp4"
    if kind == "empty":
        bad.write_bytes(b"")
    elif kind == "audio":
        make_audio(bad)
    elif kind == "no video":
        bad.write_bytes(b"just text" * 100)
    elif kind == "truncated":
        truncate(make_video(bad))
    elif kind == "damaged":
        damage(make_video(bad, frames=60, b="800k"), places=60)
    records = records_of(tmp_path, **{"good.mp4": 0, "bad.mp4": 1})
    for kwargs in ({"train": True}, {"train": False}, {"train": False, "sampler": "uniform"}):
        dataset = dataset_of(records, ClipSpec(8, 1, "segments"), **kwargs)
        bad_ones = [item for item in range(len(dataset)) if dataset.records.path(item) == "bad.mp4"]
        good_ones = [item for item in range(len(dataset)) if dataset.records.path(item) == "good.mp4"]
        assert all(dataset[item]["fault"] == "" for item in good_ones) and good_ones
        faults = [dataset[item]["fault"] for item in bad_ones]
        assert any(faults), kwargs
        assert all(fault.startswith(f"{records.source}:2: {bad}: ") and "\n" not in fault for fault in faults if fault)
        broken = next(item for item in bad_ones if dataset[item]["fault"])
        assert (
            not dataset[broken]["clips"].any()
            and dataset[broken]["clips"].shape == dataset[good_ones[0]]["clips"].shape
        )
    assert good.exists()


@pytest.mark.parametrize("seed", range(10))
def test_frames_move_to_the_nearest_key_frame_of_their_part_or_not_at_all(seed: int):
    rng = np.random.default_rng(seed)
    stamps = np.unique(rng.integers(0, 10_000, 300))
    times = VideoTimes(stamps, np.sort(rng.choice(stamps, int(rng.integers(1, 40)), replace=False)), 1e-3, True)
    times = replace(times, stamps=stamps[int(rng.integers(0, 50)) : -int(rng.integers(1, 50))])  # a span of it
    rule, clip, moved = get_rule("segments"), ClipSpec(8), 0
    parts = np.arange(9) * len(times) // 8
    for _ in range(50):
        drawn = rule.draw(len(times), clip, rng)[None]
        for asked, given, low, high in zip(drawn[0], near_keys(times, drawn, 0.3)[0], parts, parts[1:], strict=False):
            keys = [n for n in range(low, high) if times.stamps[n] in times.keys]
            away = [abs(times.seconds[n] - times.seconds[asked]) for n in keys]
            if keys and min(away) <= 0.3:
                assert given in keys and abs(times.seconds[given] - times.seconds[asked]) == min(away)
                moved += given != asked
            else:
                assert given == asked
    assert moved > 5 or len(times.keys) < 20
    assert (near_keys(replace(times, seekable=False), drawn, 9.0) == drawn).all()


def test_only_training_moves_frames_to_key_frames(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=40, g="5", sc_threshold="0")
    records = records_of(tmp_path, **{"a.mp4": 0})
    near, far = (dataset_of(records, ClipSpec(4), near_key=seconds) for seconds in (0.2, 0.01))
    plain, test = dataset_of(records, ClipSpec(4)), dataset_of(records, ClipSpec(4), near_key=0.2, train=False)
    for epoch in range(5):
        shown = near.shown((epoch, 0))
        assert (shown % 5 == 0).all() and (shown // 10 == np.arange(4)).all()
        assert (far.shown((epoch, 0)) == plain.shown((epoch, 0))).all()
        assert [block_position(frame) // 2 for frame in near[epoch, 0]["clips"][0]] == shown[0].tolist()
    assert test.shown(0).tolist() == [[5, 15, 25, 35]]


def test_workers_change_nothing(tmp_path: Path):
    for name in "abc":
        make_video(tmp_path / f"{name}.mp4", frames=20, g="5")
    records = records_of(tmp_path, **{"a.mp4": 0, "b.mp4": 1, "c.mp4": 0})
    transform = CutClip(MultiScale(), 32, flip=0.5)
    dataset = dataset_of(records, ClipSpec(4, 1, "segments"), transform=transform, seed=3)
    alone, several = (
        [batch.clips for batch in make_loader(dataset, TrainStream(3, 2, stop_step=4), workers=workers)]
        for workers in (0, 2)
    )
    assert all((one == two).all() for one, two in zip(alone, several, strict=True)) and len(alone) == 4
    test = dataset_of(records, ClipSpec(4, 1, "segments"), train=False)
    assert sum(len(batch) for batch in make_loader(test, EvalShard(3, 2))) == 3


def test_clips_that_cannot_be_are_refused(tmp_path: Path):
    make_video(tmp_path / "a.mp4", frames=5)
    records = records_of(tmp_path, **{"a.mp4": 0})
    clip = ClipSpec(4, 1, "segments")
    for more, message in (
        ({"sampler": "random_multi", "flip_labels": np.array([1, 0])}, "random_multi joins clips to one sample"),
        ({"clip": ClipSpec(4, modality="flow")}, "videos hold no optical flow"),
        ({"near_key": 1.0, "sampler": "random"}, "near_key: moves frames that are drawn one from each part"),
        ({"near_key": 1.0, "clip": ClipSpec(4, 1, "dense")}, "near_key: moves frames that are drawn one from each"),
        ({"near_key": 1.0, "clip": ClipSpec(4, modality="rgbdiff", stack=5)}, "near_key: moves single frames"),
    ):
        with pytest.raises(ConfigError, match=message):
            dataset_of(records, **{"clip": clip, **more})  # type: ignore[arg-type]
    if importlib.util.find_spec("torchcodec") is None:
        assert find_reader("auto") is read_pyav


@needs_torchcodec
def test_torchcodec_gives_the_same_frames(tmp_path: Path):
    path = make_video(tmp_path / "a.mp4", frames=40, g="8", bf="2")
    times = scan(path)
    for one, two in zip(find_reader("torchcodec")(path, times, np.array([30, 3, 3])), (30, 3, 3), strict=True):
        assert block_position(one) // 2 == two


@needs_clips
def test_real_videos(tmp_path: Path):
    names = ["demo.mp4", "flipping_a_pancake.mkv", "video_90.mov", "h264_10bits.mp4", "corrupted.mp4"]
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{name} 0\n" for name in names))
    records = read_list(source, root=CLIPS, columns=("label",))
    protocol = for_testing(ClipSpec(4, 1, "segments"), CutClip(TestCrops(64), 56))
    dataset = VideoDataset(records, protocol, cache=tmp_path)
    faults = [dataset[item]["fault"] for item in range(len(names))]
    assert faults[:4] == [""] * 4 and "corrupted.mp4: cannot be decoded" in faults[4]
    assert scan(CLIPS / "flipping_a_pancake.mkv").duration == pytest.approx(310 / 30, abs=0.02)
    assert read_pyav(CLIPS / "video_90.mov", scan(CLIPS / "video_90.mov"), np.array([0]))[0].shape[0] == 568


def test_what_is_shown_when():
    times = VideoTimes(np.array([10, 20, 40]), np.array([10]), 0.1, True)
    assert times.seconds.tolist() == [0, 1, 3] and times.duration == float(Fraction(9, 2))
    assert shown_at(times, np.array([0, 0.99, 1, 2.9, 3, 9])).tolist() == [0, 0, 1, 1, 2, 2]
