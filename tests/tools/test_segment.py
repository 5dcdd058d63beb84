"""`tools.segment`: known scores give known segments, in every form in which they are written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from datasets.spans.files import read_spans
from datasets.spans.video_files import VideoFiles
from datasets.videos.video import Video
from tests.helpers.make_video import encoder
from tests.helpers.planted import brightness
from tools import segment
from tools.inference import Recognizer, Timeline
from tools.inference import segment as segment_run
from tools.inference.segmenting import Cutting
from utils.errors import UserError
from utils.npz import read_npz

FPS, BRIGHT = 10, (40, 80)  # frames: four seconds dark, four bright, four dark
WINDOWS = ("--window", "0.5", "--step", "0.1", "--background", "dark")


def make_film(path: Path, *, moments: Sequence[int] = range(120)) -> Path:
    """Twelve seconds that are bright from the fourth to the eighth. moments: of its frames, in tenths of a second."""
    with encoder(path, "libx264", rate=FPS, size=(64, 48), pix_fmt="yuv420p", container=None) as (output, stream):
        for index, moment in enumerate(moments):
            level = 255 if BRIGHT[0] <= index < BRIGHT[1] else 0
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            frame.pts = moment
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return brightness(tmp_path_factory.mktemp("brightness"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("films") / "film 0.mp4")


@pytest.fixture(autouse=True)
def planted(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_run, "load_from_arguments", lambda args: recognizer)


def run(*arguments: object, code: int = 0) -> None:
    assert segment.main(["ckpt.pth.tar", *map(str, arguments)]) == code


def timeline_of(scores: Any, *, step: float = 1.0, seconds: float | None = None) -> Timeline:
    """Scores (T, K) of windows of two steps, the first of which begins with the video."""
    values = np.asarray(scores, np.float32)
    times = step * (1 + np.arange(len(values)))
    return Timeline(times, values, seconds or times[-1] + step, 100, 10.0, "", [])


def rows(cutting: Cutting, timeline: Timeline) -> list[tuple[float, float, int, float]]:
    found = cutting.segments(timeline)
    columns = (getattr(found, name).tolist() for name in ("start", "end", "label", "score"))
    return [(start, end, label, pytest.approx(score)) for start, end, label, score in zip(*columns, strict=True)]


@pytest.mark.whole
def test_a_bright_stretch_is_the_segment_that_is_printed_and_written(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(film, *WINDOWS, "--out", tmp_path / "out.json")
    head, line = capsys.readouterr().out.splitlines()
    assert head == "film 0.mp4  12.0 s, 120 frames; windows of 0.5 s"
    found = json.loads((tmp_path / "out.json").read_text())["results"]["film 0.mp4"]
    (start, end), label, score = found[0]["segment"], found[0]["label"], found[0]["score"]
    assert len(found) == 1 and label == "bright" and 0.95 < score <= 1
    assert (start, end) == (pytest.approx(4, abs=0.11), pytest.approx(8, abs=0.11))
    assert line == f"  {start:7.1f} - {end:7.1f} s  {score:.2f}  bright"


@pytest.mark.parametrize(
    ("name", "out"), [("csv", "out.csv"), ("label_studio", "out.json"), ("srt", "film 0.srt"), ("vtt", "subs")]
)
def test_formats_give_back_the_segments(film: Path, tmp_path: Path, name: str, out: str) -> None:
    run(film, *WINDOWS, "--format", name, "--out", tmp_path / out)
    file = tmp_path / out / "film 0.vtt" if name == "vtt" else tmp_path / out
    (span,) = read_spans([file]).spans
    assert (span.start, span.end, span.label) == (pytest.approx(4, abs=0.11), pytest.approx(8, abs=0.11), "bright")
    assert (span.score is None) is (name in ("srt", "vtt"))


def test_frames_are_those_of_the_video_where_they_are_not_equally_long(tmp_path: Path) -> None:
    slow_then_fast = [*range(0, 120, 3), *range(120, 200)]
    make_film(tmp_path / "film.mkv", moments=slow_then_fast)
    run(tmp_path / "film.mkv", *WINDOWS, "--format", "cvat", "--out", tmp_path / "film.xml")
    run(tmp_path / "film.mkv", *WINDOWS, "--out", tmp_path / "out.json")
    (span,) = read_spans([tmp_path / "film.xml"], videos=VideoFiles(tmp_path)).spans
    (exact,) = read_spans([tmp_path / "out.json"]).spans
    assert span.start == pytest.approx(exact.start, abs=0.06) and span.end == pytest.approx(exact.end, abs=0.06)
    text = (tmp_path / "film.xml").read_text()
    frames = [slow_then_fast.index(min(slow_then_fast, key=lambda one: abs(one / 10 - moment)))
              for moment in (exact.start, exact.end)]  # fmt: skip
    assert [f'frame="{frame}"' in text for frame in frames] == [True, True]


def test_scores_and_page_come_from_the_same_windows(film: Path, tmp_path: Path, recognizer: Recognizer) -> None:
    run(film, *WINDOWS, "--scores", tmp_path / "s.npz", "--page", tmp_path / "page.html")
    expected = recognizer.timeline(film, window=0.5, step=0.1)
    found = read_npz(tmp_path / "s.npz", ["times", "scores", "class_names"])
    np.testing.assert_array_equal(found["scores"], expected.scores)
    np.testing.assert_array_equal(found["times"], expected.times)
    assert found["class_names"].tolist() == ["dark", "bright"]
    page = (tmp_path / "page.html").read_text()
    assert "film%200.mp4" in page and "plotly" not in page and "media-src" in page


def test_several_videos_go_on_after_one_that_cannot_be_read(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "films" / "a"
    folder.mkdir(parents=True)
    (folder / "bad.mp4").write_bytes(b"no video")
    (folder / "good.mp4").write_bytes(film.read_bytes())
    run(folder.parent, *WINDOWS, "--scores", tmp_path / "s", "--out", tmp_path / "o.json", code=1)
    assert "bad.mp4" in capsys.readouterr().err
    assert list(json.loads((tmp_path / "o.json").read_text())["results"]) == ["a/good.mp4"]
    assert [path.name for path in (tmp_path / "s").rglob("*.npz")] == ["good.mp4.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0"], "segments need videos with an end"),
        (["{film}", "--format", "xml"], "--format xml: no such format; there are csv, "),
        (["{film}", "--background", "drak"], "--background: class 'drak' is not in the checkpoint; perhaps 'dark'"),
        (["{film}", "--low", "0.6"], "--low 0.6 is above --high 0.5"),
        (["{film}", "--high", "0.2", "0.4"], "several --high give segments that overlap: add --nms or --soft-nms"),
        (["{film}", "--min-length", "nan"], "--min-length: nan is not a number of seconds from 0 on"),
        (["{film}", "--smoothing", "inf"], "--smoothing: inf is not a number of seconds from 0 on"),
        (["{film}", "--low", "nan"], "--low: nan is not a finite number"),
        (["{film}", "--page", "{tmp}"], "is a folder; name a file"),
        (["{film}", "--nms", "1.5"], "1.5 is not from 0 to below 1"),
        (["{film}", "--out", "{tmp}/no/out.json"], "out.json: its folder does not exist"),
        (["{film}", "--out", "{tmp}"], "is a folder; ActivityNet has one file for all videos"),
        (["{film}", "--format", "srt", "--out", "{tmp}/other.srt"], "other.srt: SRT names its files after what"),
        (["{film}", "{twin}", "--format", "srt", "--out", "{tmp}/s"], "would both be called film 0 in SRT: rename one"),
        (["{film}", "--format", "thumos14", "--out", "{tmp}/t"], "its subset is 'unknown'; write multithumos"),
        (["{film}", "--format", "finegym", "--out", "{tmp}/g.json"], "class 'dark': FineGym's JSON names events only"),
        (["{film}", "--format", "epic_kitchens", "--out", "{tmp}/e.csv"], "class 'dark': EPIC-Kitchens writes actions"),
        (["{film}", "{twin}", "--scores", "{tmp}/s.npz"], "s.npz: there are scores of 2 videos; give a folder"),
        (["{film}", "--thresholds", "{film}"], "holds no thresholds; python -m tools.score_segments --json writes"),
        (["{film}", "--thresholds", "{tmp}/no.json"], "no.json: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_frame_is_decoded(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    twin = tmp_path / "film 0.mkv"
    twin.touch()
    monkeypatch.setattr(segment_run, "open_input", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(UserError) as error:
        run(*(one.format(film=film, tmp=tmp_path, twin=twin) for one in arguments))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.whole
def test_thresholds_leave_out_what_is_below_them_and_classes_without_one(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.json"
    for bright, count in ((0.5, 1), (0.9999, 0), (None, 0)):
        file.write_text(json.dumps({"classes": {"bright": {"threshold": bright}}}))
        run(film, *WINDOWS, "--thresholds", file)
        printed = capsys.readouterr()
        assert printed.out.count(" s  ") == count and ("no segments" in printed.out) is (count == 0)
        assert ("no threshold for bright: no segments of them" in printed.err) is (bright is None)
    file.write_text(json.dumps({"classes": {"brihgt": {"threshold": 0.5}}}))
    with pytest.raises(UserError, match="class 'brihgt' is not in the checkpoint; perhaps 'bright' is meant"):
        run(film, "--thresholds", file)


def test_the_first_and_the_last_window_reach_the_ends_of_the_video() -> None:
    timeline = timeline_of([[0.9], [0.9], [0.1], [0.9]], seconds=5.04)
    assert rows(Cutting([0.5]), timeline) == [(0, 2.5, 0, 0.9), (3.5, 5.04, 0, 0.9)]
    assert rows(Cutting([0.5], min_length=2), timeline) == [(0, 2.5, 0, 0.9)]
    assert rows(Cutting([0.5]), timeline_of([[0.9]], seconds=3)) == [(0, 3, 0, 0.9)]


def test_a_segment_goes_on_down_to_the_low_score_and_the_background_gives_none() -> None:
    timeline = timeline_of([[0.1, 0.9], [0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.4, 0.6]])
    assert rows(Cutting([0.8], low=0.3, background=1), timeline) == [(1.5, 3.5, 0, 0.65)]


def test_several_heights_give_nested_segments_of_which_suppression_keeps_the_best() -> None:
    timeline = timeline_of([[0.1], [0.4], [0.9], [0.9], [0.4], [0.1]])
    nested = [(1.5, 5.5, 0, 0.65), (2.5, 4.5, 0, 0.9)]
    assert rows(Cutting([0.3, 0.35, 0.8]), timeline) == nested
    assert rows(Cutting([0.3, 0.8], nms=0.4), timeline) == nested[1:]
    soft = rows(Cutting([0.3, 0.8], soft_nms=0.5), timeline)
    assert soft == [(1.5, 5.5, 0, 0.65 * math.exp(-0.5)), nested[1]]
    assert rows(Cutting([0.3, 0.8], soft_nms=0.5, least=np.array([0.5])), timeline) == nested[1:]


def test_a_segment_reaches_the_threshold_that_its_score_in_a_file_has_set() -> None:
    timeline = timeline_of([[0.7777777]])
    assert len(rows(Cutting([0.5], least=np.array([0.777778])), timeline)) == 1
    assert rows(Cutting([0.5], least=np.array([0.777779])), timeline) == []


def test_smoothing_closes_a_gap() -> None:
    scores = [[0.9]] * 4 + [[0.3]] + [[0.9]] * 4
    assert len(rows(Cutting([0.5]), timeline_of(scores))) == 2
    assert len(rows(Cutting([0.5], smoothing=1), timeline_of(scores))) == 1


def test_the_film_is_what_the_tests_take_it_for(film: Path) -> None:
    levels = np.array([picture.mean() for _, picture in Video(film).frames()])
    assert (np.flatnonzero(levels > 128) == np.arange(*BRIGHT)).all()
