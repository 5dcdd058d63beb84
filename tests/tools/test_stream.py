from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.videos.video import Video
from tests.helpers.make_video import make_video
from tests.helpers.run_tool import run_tool
from tests.helpers.trained import CLASSES, TSN, UNI, UNI_GSF, UNI_TAM, write_checkpoint
from tools import stream
from tools.inference import load
from tools.inference import recognizer as recognizers
from tools.inference.inputs import VideoInput
from tools.inference.streaming import check_stream, stream_logits, streaming_network
from utils.errors import ConfigError, FrameError, UserError


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("uni"), UNI, class_names=CLASSES)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=30, fps=10)


@pytest.mark.whole
def test_streaming_is_the_offline_network(ckpt: Path, video: Path) -> None:
    recognizer = load(ckpt, device="cpu")
    network = streaming_network(recognizer, recognizer.folded.network)
    assert check_stream(recognizer, network).difference < 1e-5
    logits = torch.cat([row for _, row, _ in stream_logits(recognizer, network, VideoInput(video).frames())])
    clip = recognizer.protocol.transform.apply([picture for _, picture in Video(video).frames()])[0]
    offline = recognizer.logits(clip, batch_size=1)[0]
    np.testing.assert_allclose(logits.mean(0), offline, atol=1e-5 * float(logits.abs().max()))
    assert (logits[0] - logits[10]).abs().max() > 0.1  # frames do differ


@pytest.mark.whole
@pytest.mark.parametrize("model", [pytest.param(UNI_TAM, marks=pytest.mark.long), UNI_GSF], ids=["tam", "gsf"])
def test_networks_with_another_causal_module_stream_with_folded_norms(model: dict[str, Any], tmp_path: Path) -> None:
    recognizer = load(write_checkpoint(tmp_path, model), device="cpu")
    found = check_stream(recognizer, streaming_network(recognizer, recognizer.folded.network))
    assert found.num_frames == 64 and found.difference < 1e-5


@pytest.mark.whole
def test_the_check_notices_a_lost_state(ckpt: Path) -> None:
    recognizer = load(ckpt, device="cpu")
    network = streaming_network(recognizer, recognizer.folded.network)
    forward = network.forward
    network.forward = lambda frame, *before: forward(frame)  # type: ignore[method-assign]  # forgets
    assert check_stream(recognizer, network).difference > 1e-3


@pytest.mark.whole
def test_check_says_so_and_ends_with_0(ckpt: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stream.main([str(ckpt), "--check"]) == 0
    assert stream.main([str(ckpt), str(video), "--check", "--every", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("64 frames") and lines[2].startswith("15 frames")
    assert all("below 1e-05" in line for line in lines[1::2])


@pytest.mark.whole
def test_prints_classes_and_the_time_per_frame(ckpt: Path, video: Path, tmp_path: Path) -> None:
    done = run_tool("stream", ckpt, video, "--print", "0.5", cwd=tmp_path)
    *rows, last = done.stdout.splitlines()
    assert [float(row.split()[0]) for row in rows] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert all(any(name in row for name in CLASSES) for row in rows)
    assert re.fullmatch(r"[\d.]+ ms per frame \(\d+ frames/s\), 95 % below [\d.]+ ms", last)


@pytest.mark.whole
@pytest.mark.parametrize(("options", "told"), [([], True), (["--every", "1"], False)])
def test_frames_that_follow_faster_than_in_training_are_told(
    options: list[str], told: bool, ckpt: Path, video: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(recognizers, "_trained_on", lambda file: {"seconds": 2.0})
    segments = load(ckpt, device="cpu").protocol.clip.num_frames
    assert stream.main([str(ckpt), str(video), *options]) == 0
    spacing = 2.0 / segments
    words = (
        f"warning: {video}: every frame is used, 0.1 s apart; the network was trained on frames about {spacing:.3g} s "
        f"apart: --every {round(10 * spacing)}\n"
    )
    assert capsys.readouterr().err == (words if told else "")


@pytest.mark.whole
def test_each_of_several_videos_starts_fresh_and_a_bad_one_is_named(
    ckpt: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stream.main([str(ckpt), str(video)]) == 0
    alone = [line.split("(")[0] for line in capsys.readouterr().out.splitlines()[:-1]]
    copy, bad = tmp_path / "v2.mp4", tmp_path / "v3.mp4"
    copy.write_bytes(video.read_bytes())
    bad.write_bytes(b"no video")
    assert stream.main([str(ckpt), str(video), str(tmp_path / "v?.mp4")]) == 1
    said = capsys.readouterr()
    lines = [line.split("(")[0] for line in said.out.splitlines()[:-1]]
    assert lines == [str(video), *alone, str(copy), *alone, str(bad)]
    assert said.err.count("error: ") == 1 and str(bad) in said.err


@pytest.mark.whole
def test_mistakes_are_one_line(ckpt: Path, tmp_path: Path) -> None:
    both = write_checkpoint(tmp_path / "bi", UNI | {"shift": "bi"})
    tsn = write_checkpoint(tmp_path / "tsn", TSN)
    with pytest.raises(ConfigError, match="only `shift: uni` can run frame by frame"):
        stream.main([str(both), "--check"])
    with pytest.raises(ConfigError, match="only `shift: uni` can run frame by frame"):
        stream.main([str(tsn), "--check"])
    with pytest.raises(FrameError, match="no such camera"):
        stream.main([str(ckpt), "99"])
    with pytest.raises(UserError, match="has to be the only input"):
        stream.main([str(ckpt), str(tmp_path), "0"])
    with pytest.raises(UserError, match="takes one video, and 2 are named"):
        stream.main([str(ckpt), str(both), str(tsn), "--check"])
    with pytest.raises(UserError, match="name a video"):
        stream.main([str(ckpt)])
