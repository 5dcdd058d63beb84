from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from datasets.videos.video import Video
from datasets.windows import Window, cut, sliding
from tests.helpers.experiment import make_experiment, run
from tests.helpers.file_server import serving
from tests.helpers.make_video import make_video
from tests.helpers.run_tool import run_tool, start_tool
from tests.helpers.trained import CLASSES, CLIP, UNI, write_checkpoint
from tools import predict
from tools.inference import load
from tools.inference.inputs import open_input
from tools.inference.predict import COLUMNS
from utils.cli import run_cli
from utils.errors import CheckpointError, FrameError, UserError
from utils.scoring.result_files import read_results


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tsn"), class_names=CLASSES)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "a b.mp4", frames=50, fps=10)


def answers(*arguments: object, tmp_path: Path) -> list[dict]:
    target = tmp_path / "answers.json"
    assert predict.main([*map(str, arguments), "--json", str(target)]) == 0
    return json.loads(target.read_text(encoding="utf-8"))["videos"]


@pytest.mark.whole
def test_a_prediction_is_the_score_of_the_evaluation(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, val=3)
    assert run(config) == 0 and run(config, "--evaluate") == 0
    results = read_results(config.parent)
    assert results.scores is not None
    for path, scores in zip(results.paths, results.scores, strict=True):
        found = answers(config.parent / "ckpt_best.pth.tar", tmp_path / "frames" / path, tmp_path=tmp_path)
        told = {row["class"]: row["score"] for row in found[0]["top"]}
        np.testing.assert_allclose([told[0], told[1]], scores, atol=2e-6)
        assert {row["name"] for row in found[0]["top"]} == {"dark", "bright"}


@pytest.mark.whole
def test_a_frame_rate_is_said_to_change_nothing_where_there_is_no_folder_of_frames(
    ckpt: Path, video: Path, tmp_path: Path
) -> None:
    said = run_tool("predict", ckpt, video, "--fps", 5)
    assert said.stderr.startswith("warning: --fps 5 changes nothing: it is for folders of frames")
    assert said.stdout == run_tool("predict", ckpt, video).stdout and said.stderr.count("\n") == 1
    for number, (_, picture) in enumerate(Video(video).frames()):
        (tmp_path / "frames").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"frames/img_{number + 1:05d}.jpg"), picture)
    said = run_tool("predict", ckpt, tmp_path / "frames", "--fps", 5)
    assert "10.0 s, 50 frames" in said.stdout and not said.stderr


@pytest.mark.long
@pytest.mark.whole
def test_runs_in_an_empty_folder_with_nothing_but_the_checkpoint(ckpt: Path, video: Path, tmp_path: Path) -> None:
    done = start_tool("predict", ckpt, video, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == f"{video}  5.0 s, 50 frames"
    assert len(lines) == 1 + len(CLASSES)
    assert {line.split("  ")[2] for line in lines[1:]} == set(CLASSES)
    assert not any(tmp_path.iterdir())


@pytest.mark.whole
def test_without_names_a_class_is_its_number(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main([str(write_checkpoint(tmp_path, num_class=2)), str(video)]) == 0
    assert {line.split("  ")[2] for line in capsys.readouterr().out.splitlines()[1:]} == {"class 0", "class 1"}


def test_scores_add_up_and_fall(ckpt: Path, video: Path, tmp_path: Path) -> None:
    (found,) = answers(ckpt, video, tmp_path=tmp_path)
    scores = [row["score"] for row in found["top"]]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
    assert found["timeline"] == []


def test_timeline_covers_the_video(ckpt: Path, video: Path, tmp_path: Path) -> None:
    (found,) = answers(ckpt, video, "--window", "2", "--step", "1", "--topk", "2", tmp_path=tmp_path)
    spans = [(span["start"], span["end"]) for span in found["timeline"]]
    assert spans == [(0, 1.9), (1, 2.9), (2, 3.9), (3, 4.9)]
    assert all(len(span["top"]) == 2 for span in found["timeline"])


@pytest.mark.whole
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_window_scores_as_the_video_cut_out_would(ckpt: Path, video: Path, batch_size: int) -> None:
    recognizer = load(ckpt, device="cpu")
    frames = [picture for _, picture in Video(video).frames()]
    for window in recognizer.windows(video, window=2, step=0.7, batch_size=batch_size):
        part = frames[round(window.start * 10) :][:20]
        # this untrained network's logits are near 60, so that another batch size rounds a score by some 1e-5
        np.testing.assert_allclose(window.scores, recognizer.scores(part), atol=1e-4)


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["tsn", "uni"], ids=["frames shared", "clips"])
def test_a_short_video_at_an_address_is_one_window_as_the_file_is(
    kind: str, ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=8, fps=10)
    path = ckpt if kind == "tsn" else write_checkpoint(tmp_path / "uni", UNI)
    with serving(**{"v.mp4": video.read_bytes()}) as server:
        (found,) = load(path, device="cpu").windows(f"{server.address}/v.mp4")
        assert predict.main([str(path), f"{server.address}/v.mp4"]) == 0
    np.testing.assert_allclose(found.scores, load(path, device="cpu").predict(video).scores, atol=1e-4)
    assert (found.start, found.end) == (0, pytest.approx(0.7))
    assert "windows of 10 s" in (lines := capsys.readouterr().out.splitlines())[0] and len(lines) == 2


def test_a_stream_that_ends_before_its_first_window_shows_a_frame_says_so(ckpt: Path) -> None:
    few = (np.zeros((40, 40, 3), np.uint8) for _ in range(3))
    with pytest.raises(FrameError, match=r"ended after 3 frames, before the first .* a window of 100 frames shows"):
        list(load(ckpt, device="cpu").windows(few, fps=10, window=10))


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["tsn", "uni"], ids=["frames shared", "clips"])
@pytest.mark.parametrize(
    ("count", "step", "said"),
    [
        (22, 0.5, ["it ended inside the last 2 windows, which repeat its last picture"]),
        (25, 0.5, ["it ended inside the last window, which repeats its last picture"]),
        (20, 1.0, []),
        (29, 1.0, []),  # the last picture that a window shows is no longer the last one in it
    ],
)
def test_windows_that_a_stream_does_not_fill_are_told(
    kind: str, count: int, step: float, said: list[str], ckpt: Path, tmp_path: Path
) -> None:
    recognizer = load(ckpt if kind == "tsn" else write_checkpoint(tmp_path / "uni", UNI), device="cpu")
    stream = open_input((np.zeros((40, 40, 3), np.uint8) for _ in range(count)), fps=10)
    assert list(recognizer.windows(stream, window=1, step=step)) and stream.warnings == said
    held = open_input([np.zeros((40, 40, 3), np.uint8)] * count, fps=10)
    assert list(recognizer.windows(held, window=1, step=step)) and not held.warnings, "its last window ends with it"


@pytest.mark.whole
def test_windows_of_clip_networks_are_their_clips(tmp_path: Path) -> None:
    protocol = load(write_checkpoint(tmp_path, CLIP), device="cpu").protocol
    windows = sliding(protocol, length=7, step=4, num_frames=16, fps=25)
    assert [window.indices.tolist() for window in windows] == [
        [[first, first + 2, first + 4, first + 6]] for first in (0, 4, 8, 9)
    ]


@pytest.mark.parametrize("length, step, num_frames", [(4, 2, 3), (4, 9, 20), (1, 1, 1), (5, 2, 5)])
def test_the_last_window_ends_with_the_video(ckpt: Path, length: int, step: int, num_frames: int) -> None:
    protocol = load(ckpt, device="cpu").protocol
    windows = list(sliding(protocol, length=length, step=step, num_frames=num_frames, fps=25))
    assert windows[0].first == 0
    assert windows[-1].first + windows[-1].length == num_frames
    assert all(window.indices.max() < num_frames for window in windows)


def test_a_stream_that_ends_early_holds_its_last_picture(ckpt: Path) -> None:
    transform = load(ckpt, device="cpu").protocol.transform
    frames = [(float(i), np.full((40, 40, 3), 20 * i, np.uint8)) for i in range(4)]
    windows = [Window(0, 8, np.array([[1, 3, 6]])), Window(6, 2, np.array([[6, 7, 7]]))]
    (found,) = cut(frames, windows, transform)
    assert found.views[0, :, 0, 0, 0].tolist() == [20, 60, 60]
    assert (found.start, found.end, found.num_frames) == (0, 3, 4)


def test_csv_has_a_row_per_window_and_class(ckpt: Path, video: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    predict.main([str(ckpt), str(video), "--window", "2", "--csv", str(target)])
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 4 * len(CLASSES)
    assert {row["name"] for row in rows} == set(CLASSES)  # a comma in a name stays in its cell


def test_json_to_the_standard_output_is_all_there_is(ckpt: Path, video: Path) -> None:
    done = run_tool("predict", ckpt, video, "--json", "-")
    assert json.loads(done.stdout)["videos"][0]["frames"] == 50


@pytest.mark.whole
def test_several_videos_are_answered_one_after_the_other(
    ckpt: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_video(tmp_path / "in" / "other.mp4", frames=5)
    assert predict.main([str(ckpt), str(video), str(tmp_path / "in"), "--json", str(tmp_path / "a.json")]) == 0
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["videos"]
    assert [answer["path"] for answer in found] == [str(video), str(other)]
    again = make_video(tmp_path / "again" / "other.mp4", frames=5)
    for inputs, said in (
        ([other, again], f"{other} and {again} would both be called other.mp4: give a folder that holds both"),
        ([video, "0"], "a camera or an address has to be the only input"),
    ):
        with pytest.raises(UserError) as error:
            predict.main([str(ckpt), *map(str, inputs)])
        assert str(error.value) == said


@pytest.mark.whole
def test_windows_are_as_long_as_what_the_network_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = make_video(tmp_path / "long.mp4", "mpeg4", frames=65, fps=1)
    lengths = (
        ({}, "windows of 10 s, as the checkpoint does not say how long its training videos were", 12),
        ({"frames": 26.0}, "windows of 26 s, as many frames as the training videos have", 4),
        ({"frames": 9.0, "seconds": 30.0}, "windows of 30 s, as in training", 4),
        ({"seconds": "long", "frames": -1.0}, "windows of 10 s, as the checkpoint does not say", 12),
    )
    for number, (length, said, count) in enumerate(lengths):
        path = write_checkpoint(tmp_path / str(number))
        entries = torch.load(path, weights_only=True)
        torch.save({**entries, "lists": {"train": {"length": length}}}, path)
        recognizer = load(path, device="cpu")
        prediction = recognizer.predict(long)
        assert prediction.windows.startswith(said) and len(prediction.timeline) == count
        assert predict.main([str(path), str(long)]) == 0
        assert said in capsys.readouterr().out.splitlines()[0]
    asked = recognizer.predict(long, window=20)
    assert asked.windows == "windows of 20 s" and recognizer.predict(long, window=20).as_dict()["windows"]


def test_a_folder_of_videos_goes_on_after_a_broken_one(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_video(tmp_path / "in" / "sub" / "good.mp4", frames=5)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video")
    assert predict.main([str(ckpt), str(tmp_path / "in")]) == 1
    said = capsys.readouterr()
    assert "good.mp4" in said.out and "bad.mp4: cannot be read as a video" in said.err


@pytest.mark.whole
def test_annotated_copy_shows_every_frame(ckpt: Path, video: Path, tmp_path: Path) -> None:
    target = tmp_path / "seen.mp4"
    predict.main([str(ckpt), str(video), "--window", "1", "--annotate", str(target)])
    before = [picture for _, picture in Video(video).frames()]
    after = [picture for _, picture in Video(target).frames()]
    assert len(after) == len(before) and after[0].shape == before[0].shape
    change = np.abs(after[20].astype(int) - before[20]).mean((1, 2))
    assert change[-8:].mean() > 5 * change[:16].mean()  # text below, the picture above it untouched


def test_annotated_copies_of_a_folder_keep_apart(ckpt: Path, tmp_path: Path) -> None:
    videos, copies = tmp_path / "in", tmp_path / "out"
    copies.mkdir()
    for name in ("a/x.mp4", "b/x.mp4", "b/x.mkv", "y.mkv"):
        make_video(videos / name, frames=2)
    predict.main([str(ckpt), str(videos), "--annotate", str(copies)])
    found = {path.relative_to(copies).as_posix() for path in copies.rglob("*.mp4")}
    assert found == {"a/x.mp4", "b/x.mp4.mp4", "b/x.mkv.mp4", "y.mp4"}


def test_an_annotated_copy_shows_frames_when_the_video_did(ckpt: Path, tmp_path: Path) -> None:
    moments = [0, 1, 2, 4, 8, 9, 15, 16]
    video = make_video(tmp_path / "phone.mp4", frames=len(moments), fps=10, pts=moments)
    predict.main([str(ckpt), str(video), "--annotate", str(tmp_path / "seen.mp4")])
    times = [time for time, _ in Video(tmp_path / "seen.mp4").frames()]
    assert times == pytest.approx([moment / 10 for moment in moments], abs=1e-3)


@pytest.mark.whole
def test_mistakes_are_one_line(ckpt: Path, video: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(torch.load(ckpt, weights_only=True)["state_dict"], weights)
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, kind, words in (
        ((ckpt, tmp_path / "none.mp4"), FrameError, "no such video, folder, camera or pattern"),
        ((ckpt, empty), FrameError, "holds neither videos nor numbered frames"),
        ((ckpt, "99"), FrameError, "camera 99: there is no such camera"),
        ((tmp_path / "none.pth", video), CheckpointError, "no such checkpoint"),
        ((weights, video), CheckpointError, "--config exps"),
        ((ckpt, video, "--annotate", tmp_path / "a.avi"), UserError, r"\.mp4"),
        ((ckpt, video, "--annotate", video), UserError, "the video itself"),
        ((ckpt, video, "--json", tmp_path / "none" / "a.json"), UserError, "cannot be written"),
        ((ckpt, "0", "--json", "-"), UserError, "not a camera or an address"),
    ):
        with pytest.raises(kind, match=words):
            predict.main([*map(str, arguments)])


def test_no_camera_is_one_line_and_code_2(ckpt: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(predict.main, [str(ckpt), "99"])
    assert ended.value.code == 2
    assert capfd.readouterr().err == "error: camera 99: there is no such camera, or another program uses it\n"
