"""Tests what benchmarks/video.py says about times; that it runs is shown on a short video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import video as bench
from benchmarks._videos import CODECS, Truth, Videos, write_videos
from tests.helpers.numbered import write_numbers
from utils.errors import UserError

VIDEO = "h264 48"


def times_of(workload: str = "TSN-8", **milliseconds: float) -> bench.Times:
    return {(VIDEO, workload, name): [value, value * 2, value * 3] for name, value in milliseconds.items()}


def right(times: bench.Times, **wrong: int) -> bench.Wrong:
    return {key: wrong.get(key[2], 0) for key in times}


def test_ours_is_compared_with_the_fastest_bare_decoder_whose_frames_are_right() -> None:
    times = times_of(ours=10, near_key=5, PyAV=30, OpenCV=12, decord=8, mmaction2=20)
    assert bench.speeds(times, right(times), "TSN-8", "ours", "bare") == {VIDEO: pytest.approx(0.8)}
    assert bench.speeds(times, right(times, decord=1), "TSN-8", "ours", "bare") == {VIDEO: pytest.approx(1.2)}
    assert bench.speeds(times, right(times), "TSN-8", "ours", "mmaction2") == {VIDEO: pytest.approx(2)}
    assert bench.speeds(times, right(times), "TSN-8", "ours", "PyTorchVideo") == {}


@pytest.mark.parametrize(
    ("ours", "wrong", "said", "passed"),
    [
        (10, {}, "reached", True),
        (14, {}, "missed", True),
        (25, {}, "BELOW THE GATE", False),
        (10, {"ours": 1}, "", False),
    ],
)
def test_below_the_gate_and_with_a_wrong_frame_the_benchmark_fails(
    ours: float, wrong: dict[str, int], said: str, passed: bool
) -> None:
    times = times_of(ours=ours, PyAV=20)
    text, good = bench.verdicts(times, right(times, **wrong))
    assert said in text and good == passed and f"Wrong frames of ours: {len(wrong)}." in text


def test_another_frame_than_the_one_asked_for_is_noticed(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "v.mp4", "libx264", g="12")
    videos, indices = Videos({VIDEO: path}), np.array([[3, 17, 30]])
    pictures = videos.readers()["ours"](path, indices)
    assert Truth(path).wrong(pictures, indices[0]) == 0
    assert Truth(path).wrong(pictures, np.array([3, 16, 31])) == 2


def test_quick_leaves_peers_out() -> None:
    with pytest.raises(UserError, match="--quick leaves peers and page out"):
        bench.main(["--quick", "--peers"])


@pytest.mark.whole
def test_all_readers_read_all_codecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_numbers(tmp_path / "source.mp4", "libx264", g="12", b="400k")
    videos = Videos(write_videos(tmp_path, source, list(CODECS), [12]))
    times, wrong = bench.measure(videos, videos.readers(), rounds=1)
    assert {key[0] for key in times} == {f"{codec} 12" for codec in CODECS}
    assert {wrong[key] for key in wrong if key[2] in ("ours", "near_key")} == {0}
    assert {key[2] for key in times if key[1] == "32x2"} >= {"ours", "PyAV"}
    assert {key[1] for key in times if key[2] == "ours, each alone"} == {"4 x TSN-8"}
    assert all(seconds >= 0 for row in times.values() for seconds in row)


@pytest.mark.whole
def test_the_gate_of_ratios_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = write_numbers(tmp_path / "source.mp4", "libx264", g="12", b="400k")
    code = bench.main(["--quick", "--rounds", "1", "--source", str(source)])
    printed = capsys.readouterr().out
    assert code in (0, 1), "on a busy machine the clock of one round says nothing"
    for text in ("| TSN-8", "| 32x2", "near_key", "OpenCV", "Wrong frames of ours: 0."):
        assert text in printed
