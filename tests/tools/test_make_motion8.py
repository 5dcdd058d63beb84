from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.videos.video import Video
from tests.helpers.run_tool import run_tool
from tools import make_motion8
from tools.dumping.make_motion8 import CLASSES, NUM_FRAMES, PAIRS, SIDE, Clip, plan, render
from tools.listing.splits import read_split
from utils.errors import UserError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("motion8") / "videos"
    assert make_motion8.main([str(out), "--train", "16", "--val", "8"]) == 0
    return out


def decode(path: Path) -> np.ndarray:
    video = Video(path)
    frames = np.stack([frame for _, frame in video.frames()])
    assert not video.errors
    return frames


@pytest.mark.whole
def test_clips_are_short_videos_in_balanced_classes(dataset: Path) -> None:
    split = read_split(dataset / "splits", number=1)
    assert split.classes == CLASSES and len(CLASSES) == 8
    assert Counter((row.label, row.split) for row in split.rows) == {
        **{(name, "train"): 2 for name in CLASSES},
        **{(name, "val"): 1 for name in CLASSES},
    }
    files = {path.relative_to(dataset).with_suffix("").as_posix() for path in dataset.rglob("*.mp4")}
    assert files == {f"{row.label}/{row.stem}" for row in split.rows}
    for path in dataset.rglob("*.mp4"):
        assert decode(path).shape == (NUM_FRAMES, SIDE, SIDE, 3)


@pytest.mark.whole
def test_no_bag_of_frames_tells_the_members_of_a_pair_apart(dataset: Path) -> None:
    for forward, backward in PAIRS:
        for path in (dataset / forward).iterdir():
            twin = dataset / backward / path.name.replace(f"v_{forward}_", f"v_{backward}_")
            np.testing.assert_array_equal(decode(path), decode(twin)[::-1])


def test_textures_of_training_and_validation_differ(dataset: Path) -> None:
    groups: dict[str, set[str]] = {"train": set(), "val": set()}
    for row in read_split(dataset / "splits", number=1).rows:
        groups[row.split].add(row.stem.split("_g")[1])
    assert groups["train"] and groups["val"] and not groups["train"] & groups["val"]


def flow(frames: np.ndarray) -> np.ndarray:
    """Mean optical flow (SIDE, SIDE, 2) of the clip, in pixels per frame, x to the right and y down."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    steps = [
        cv2.calcOpticalFlowFarneback(one, two, np.zeros((SIDE, SIDE, 2), np.float32), 0.5, 3, 15, 3, 5, 1.2, 0)
        for one, two in zip(grey[::4], grey[1::4], strict=False)
    ]
    return np.mean(steps, axis=0)


@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize("pair", range(4))
def test_the_picture_moves_as_its_class_says(pair: int, member: int) -> None:
    frames = render(Clip(pair=pair, group=pair + 1, seed=0))[:: 1 - 2 * member]
    motion = flow(frames)[16:-16, 16:-16]
    y, x = (np.mgrid[16 : SIDE - 16, 16 : SIDE - 16] - (SIDE - 1) / 2) / SIDE
    measures = {
        "right": motion[..., 0].mean(),
        "down": motion[..., 1].mean(),
        "zoom_in": 5 * (motion[..., 0] * x + motion[..., 1] * y).mean(),
        "turn_right": 5 * (motion[..., 1] * x - motion[..., 0] * y).mean(),  # with the clock
    }
    strongest = max(measures, key=lambda name: abs(measures[name]))
    opposite = {"right": "left", "down": "up", "zoom_in": "zoom_out", "turn_right": "turn_left"}
    assert (strongest if measures[strongest] > 0 else opposite[strongest]) == PAIRS[pair][member]


@pytest.mark.whole
def test_only_validation_videos_have_unseen_textures_and_speeds() -> None:
    train, val = plan(16, 8, seed=0)
    assert [clip.unseen for clip in train + val] == [False] * 8 + [True] * 4
    seen = Clip(pair=0, group=1, seed=0)
    speeds = [np.abs(flow(render(replace(seen, group=g, unseen=True)))[16:-16, 16:-16, 0].mean()) for g in range(12)]
    usual = [np.abs(flow(render(replace(seen, group=g)))[16:-16, 16:-16, 0].mean()) for g in range(12)]
    assert min(speeds) < 0.75 * min(usual) and max(speeds) > 1.15 * max(usual)


@pytest.mark.whole
def test_single_frames_of_all_classes_look_alike() -> None:
    """Contrast, brightness and sharpness of a frame have the same distribution in every class."""
    features = {pair: [] for pair in range(4)}
    for number in range(160):
        clip = Clip(pair=number % 4, group=number, seed=5)
        frame = render(clip)[number // 4 % NUM_FRAMES].astype(np.float32).mean(axis=2)
        features[clip.pair].append([frame.mean(), frame.std(), np.abs(np.diff(frame)).mean() / frame.std()])
    spread = np.std(np.concatenate([np.array(rows) for rows in features.values()]), axis=0)
    means = np.array([np.mean(rows, axis=0) for rows in features.values()])
    assert (np.abs(means - means.mean(axis=0)) < 3.5 * spread / np.sqrt(40)).all()


@pytest.mark.whole
def test_the_same_seed_makes_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    done = run_tool("make_motion8", again, "--train", 16, "--val", 8)
    assert "next: python tools/dump_frames.py" in done.stdout
    run_tool("make_motion8", other, "--train", 16, "--val", 8, "--seed", 1)
    for path in dataset.rglob("*.mp4"):
        name = path.relative_to(dataset)
        assert path.read_bytes() == (again / name).read_bytes() != (other / name).read_bytes()


def test_what_stands_is_left_alone(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_motion8.main([str(dataset)]) == 0
    assert "already exists" in capsys.readouterr().out
    (tmp_path / "mine.txt").write_text("precious")
    for arguments, said in (
        ([str(tmp_path)], "not a finished motion8"),
        ([str(tmp_path / "x"), "--train", "12"], "does not divide into 8"),
        ([str(tmp_path / "x"), "--seed", "-1"], "--seed"),
    ):
        with pytest.raises(UserError, match=said):
            make_motion8.main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
