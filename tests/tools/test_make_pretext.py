"""tools/make_pretext.py on a film whose cuts and movement are known: which frames become which clips."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from datasets.videos.video import Video
from tests.helpers.make_video import encoder, truncate
from tests.helpers.run_tool import run_tool
from tools.dumping.make_pretext import Piece, Place, clips_of
from tools.dumping.shots import cuts, look_at
from tools.make_pretext import parse_arguments

SHOTS = [(0, 30), (30, 120), (120, 150)]
SIZE = 96, 64  # width and height
SETTINGS = ["--clips", 60, "--frames", 4, "--size", 32, "--workers", 1]
SPAN = 3 * 2 + 1  # of four frames at the speed 2


def make_film(path: Path, shots: list[tuple[int, int]], *, step: int = 2) -> Path:
    """Writes shots that each pan over a picture of their own, `step` pixels a frame; no two frames are alike."""
    with encoder(path, "libx264", rate=24, size=SIZE, pix_fmt="yuv420p", container=None, crf="12") as (output, stream):
        for number, (first, end) in enumerate(shots):
            noise = np.random.default_rng(number).integers(0, 256, (SIZE[1] // 8, 60, 3), np.uint8)
            tint = np.roll([40, 120, 200], number)
            wide = cv2.resize(noise // 2 + tint.astype(np.uint8) // 2, (480, SIZE[1]), interpolation=cv2.INTER_LINEAR)
            for frame in range(end - first):
                left = step * frame
                picture = np.ascontiguousarray(wide[:, left : left + SIZE[0]])
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    make_film(folder / "film.mp4", SHOTS)
    return folder


@pytest.fixture(scope="module")
def speed(videos: Path) -> Path:
    out = videos.parent / "speed"
    run_tool("make_pretext", videos, "--out", out, "--speeds", 1, 2, *SETTINGS)
    return out


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def frames_of(row: dict[str, str]) -> list[int]:
    return [int(row["first"]) + int(row["step"]) * place for place in range(4)]


def pictures(out: Path, path: str) -> np.ndarray:
    return np.stack([cv2.imread(str(name)) for name in sorted((out / path).glob("img_*.jpg"))]).astype(int)


def test_cuts_are_found_where_they_are(videos: Path) -> None:
    look = look_at(videos / "film.mp4")
    assert look.shots == SHOTS and not look.errors and len(look.changes) == 150


def test_movement_is_seen_where_it_is(tmp_path: Path) -> None:
    still = look_at(make_film(tmp_path / "still.mp4", [(0, 12)], step=0))
    moves = look_at(make_film(tmp_path / "moves.mp4", [(0, 12)]))
    box = 40, 20, 32
    assert still.motion(5, box) < 1 < 3 < moves.motion(5, box)


def test_fast_movement_is_no_cut() -> None:
    assert cuts(np.full(20, 0.3)) == []
    jumps = np.full(20, 0.02)
    jumps[[4, 7]] = 0.4, 0.6
    assert cuts(jumps) == [4, 7]
    assert cuts(np.full(20, 0.1) * (np.arange(20) == 9)) == []


def test_pictures_are_the_frames_that_the_label_says(videos: Path, speed: Path) -> None:
    film = [frame for _, frame in Video(videos / "film.mp4").frames(order="bgr")]
    assert {(row["label"], row["step"]) for row in rows(speed)} == {("speed_1x", "1"), ("speed_2x", "2")}
    for row in rows(speed)[::7]:
        left, top, side = (int(row[key]) for key in ("left", "top", "side"))
        boxes = [frame[top : top + side, left : left + side] for frame in film]
        small = np.stack([cv2.resize(box, (32, 32), interpolation=cv2.INTER_AREA) for box in boxes]).astype(int)
        shown = [int(np.abs(small - picture).mean(axis=(1, 2, 3)).argmin()) for picture in pictures(speed, row["path"])]
        assert shown == frames_of(row)


def test_lists_give_the_label_and_the_split_of_each_clip(speed: Path) -> None:
    names = [line.split() for line in (speed / "lists/classInd.txt").read_text().splitlines()]
    index = {name: number for number, name in names}
    assert index == {"speed_1x": "0", "speed_2x": "1"}
    for split in ("train", "val"):
        listed = (speed / f"lists/{split}.txt").read_text().splitlines()
        said = [f"{row['path']} 4 {index[row['label']]}" for row in rows(speed) if row["split"] == split]
        assert sorted(listed) == sorted(said) and said
    run_tool("check_data", speed, "--workers", 1)
    assert (speed / "README").read_text().startswith("# speed\n")


def test_no_frame_of_validation_is_near_one_of_training(speed: Path) -> None:
    shown: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for row in rows(speed):
        shown[row["shot"]][row["split"]] |= set(frames_of(row))
    assert set(shown["1"]) == {"train", "val"}, "a long shot is divided in time"
    assert max(shown["1"]["train"]) + SPAN < min(shown["1"]["val"])
    assert all(len(shown[shot]) == 1 for shot in ("0", "2")) and shown["0"].keys() | shown["2"].keys() == {
        "train",
        "val",
    }
    for shot, (first, end) in enumerate(SHOTS):
        assert all(first <= frame < end for frames in shown[str(shot)].values() for frame in frames)


def test_every_class_shows_the_same_places(speed: Path) -> None:
    places = defaultdict(list)
    for row in rows(speed):
        places[row["path"].rpartition("_g")[2]].append(row)
    for same in places.values():
        assert Counter(row["label"] for row in same) == {"speed_1x": 1, "speed_2x": 1}
        assert len({tuple(row[key] for key in ("video", "shot", "split", "left", "top", "side")) for row in same}) == 1
        seen = [frame for row in same for frame in frames_of(row)]
        assert max(seen) - min(seen) < SPAN


def test_slow_clips_are_spread_over_the_places_of_fast_ones() -> None:
    args = parse_arguments(["x", "--out", "y"])
    span, piece = 29, Piece(0, 0, 0, 500, "train")
    offsets: dict[str, list[float]] = defaultdict(list)
    for number in range(600):
        for clip in clips_of(Place(piece, number, 100, 0, 0, 64), Path("x.mp4"), span, args):
            frames = np.array(clip.pictures(8))
            assert frames.min() >= 100 and frames.max() < 100 + span
            offsets[clip.label].append(frames.mean() - 100)
    assert offsets.keys() == {"speed_1x", "speed_2x", "speed_4x"}
    for means in offsets.values():
        assert abs(np.mean(means) - (span - 1) / 2) < 4 * max(float(np.std(means)), 0.1) / np.sqrt(600)


@pytest.mark.whole
def test_a_clip_that_plays_backward_has_the_bytes_of_the_one_that_plays_forward(videos: Path, tmp_path: Path) -> None:
    run_tool("make_pretext", videos, "--out", tmp_path / "arrow", "--task", "direction", *SETTINGS)
    forward = sorted((tmp_path / "arrow/frames/forward").iterdir())
    assert len(forward) == len(list((tmp_path / "arrow/frames/backward").iterdir())) > 20
    for clip in forward:
        files = [sorted((clip.parents[1] / name / clip.name).glob("img_*.jpg")) for name in ("forward", "backward")]
        assert [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1][::-1]]
    assert {(row["label"], row["step"]) for row in rows(tmp_path / "arrow")} == {("forward", "2"), ("backward", "-2")}


@pytest.mark.whole
def test_the_same_seed_makes_the_same_bytes(videos: Path, speed: Path, tmp_path: Path) -> None:
    for name, more in (("again", ["--seed", 0]), ("other", ["--seed", 1])):
        run_tool("make_pretext", videos, "--out", tmp_path / name, "--speeds", 1, 2, *SETTINGS, *more)
    files = sorted(path.relative_to(speed) for path in speed.rglob("*") if path.is_file() and path.name != "README")
    assert all((speed / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in files)
    assert (speed / "clips.csv").read_bytes() != (tmp_path / "other/clips.csv").read_bytes()


def test_what_stands_is_left_alone(videos: Path, speed: Path, tmp_path: Path) -> None:
    again = run_tool("make_pretext", videos, "--out", speed, "--speeds", 1, 2, *SETTINGS)
    assert "already exists" in again.stdout
    (tmp_path / "mine.txt").write_text("precious")
    other = run_tool("make_pretext", videos, "--out", tmp_path, *SETTINGS, code=2)
    assert "was not made by make_pretext" in other.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--speeds", 1, 2, "--seed", 5], "was made with seed 0; give another --out"),
        (["--speeds", 3], "--speeds 3: give different speeds, for speed at least two"),
        (["--frames", 1], "a single frame has no speed"),
        (["--seed", -1], "--seed -1"),
        (["--motion", "nan"], "--motion nan"),
        (["--speeds", 1, 50], "too little footage: it takes two shots of 151 frames, or one of 1359, but the longest"),
    ],
)
def test_a_mistake_is_one_line(more: list[object], said: str, videos: Path, speed: Path) -> None:
    printed = run_tool("make_pretext", videos, "--out", speed, *SETTINGS, *more, code=2)
    # what stands is looked at first, so that a mistake costs no minutes of decoding
    expected = said if not said.startswith("too little") else "was made with speeds"
    assert expected in printed.stderr and printed.stderr.count("\n") == 1
    if expected != said:
        printed = run_tool("make_pretext", videos, "--out", speed.parent / "x", *SETTINGS, *more, code=2)
        assert said in printed.stderr


def test_footage_without_movement_or_videos_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    missing = run_tool("make_pretext", tmp_path / "none", "--out", out, code=2)
    assert "no such video or folder" in missing.stderr
    (tmp_path / "empty").mkdir()
    assert "no videos in it" in run_tool("make_pretext", tmp_path / "empty", "--out", out, code=2).stderr
    still = make_film(tmp_path / "still.mp4", SHOTS, step=0)
    told = run_tool("make_pretext", still, "--out", out, "--speeds", 1, 2, *SETTINGS, code=2)
    assert "nothing moves in the footage of train" in told.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "still.mp4"]


@pytest.mark.whole
def test_a_damaged_video_is_named_and_left_out(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "whole.mp4").write_bytes((videos / "film.mp4").read_bytes())
    (folder / "cut.mp4").write_bytes((videos / "film.mp4").read_bytes())
    truncate(folder / "cut.mp4")
    (folder / "text.mp4").write_text("no video")
    printed = run_tool("make_pretext", folder, "--out", tmp_path / "out", "--speeds", 1, 2, *SETTINGS, code=1)
    for name in ("cut", "text"):
        assert f"left out: {folder / name}.mp4: " in printed.stderr
    assert {row["video"] for row in rows(tmp_path / "out")} == {str(folder / "whole.mp4")}
    (folder / "whole.mp4").unlink()
    none = run_tool("make_pretext", folder, "--out", tmp_path / "none", *SETTINGS, code=2)
    assert "none of the 2 videos can be read" in none.stderr
