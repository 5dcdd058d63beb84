from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datasets.videos.video import Video
from tests.helpers.file_server import FileServer, serving
from tests.helpers.make_video import make_video
from tests.helpers.requirements import needs_program
from tests.helpers.rtsp_server import camera
from tools.inference import inputs
from tools.inference.inputs import StreamInput, find_inputs, is_endless, name_inputs, open_input
from utils.errors import FrameError


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=30, fps=10)


@pytest.fixture
def server(video: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(inputs, "ANSWER_SECONDS", 0.5)
    with serving(**{"v.mp4": video.read_bytes(), "page": b"<html>no video</html>"}) as server:
        yield server


def test_a_video_at_an_address_has_the_frames_of_the_file(server: FileServer, video: Path) -> None:
    found = open_input(f"{server.address}/v.mp4")
    assert found.num_frames is None and found.fps == 10
    remote, local = list(found.frames()), list(Video(video).frames())
    assert [moment for moment, _ in remote] == pytest.approx([moment for moment, _ in local])
    for (_, one), (_, other) in zip(remote, local, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.warnings == []


@pytest.mark.whole
@pytest.mark.parametrize(
    ("path", "fault", "words"),
    [
        ("none.mp4", "", "cannot be opened .*404"),
        ("v.mp4", 403, "cannot be opened .*403"),
        ("v.mp4", "silent", "no answer within 0.5 seconds"),
        ("page", "", "cannot be opened"),
    ],
)
def test_an_address_without_a_video_is_one_line(server: FileServer, path: str, fault: str, words: str) -> None:
    server.faults[f"/{path}"] = [fault] * 3
    with pytest.raises(FrameError, match=words) as caught:
        open_input(f"{server.address}/{path}")
    assert server.address in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.whole
def test_a_stream_that_stalls_says_so_after_its_pictures(server: FileServer, tmp_path: Path) -> None:
    server.files["/v.ts"] = make_video(tmp_path / "v.ts", frames=200, fps=10, container={}).read_bytes()
    server.faults["/v.ts"], server.ranges = ["stall"] * 9, False
    found, count = open_input(f"{server.address}/v.ts"), 0
    for _ in found.frames():
        count += 1
    assert 0 < count < 200
    assert any("nothing has come for 0.5 seconds" in text for text in found.warnings)


def test_a_password_is_not_printed(server: FileServer) -> None:
    address = server.address.replace("//", "//admin:secret@")
    with pytest.raises(FrameError) as caught:
        open_input(f"{address}/none.mp4")
    assert "secret" not in str(caught.value)
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(FrameError, match=r"cannot be opened .*refused"):
            open_input(f"rtsp://127.0.0.1:{taken.getsockname()[1]}/door")


def test_a_playlist_cannot_open_a_file(server: FileServer, tmp_path: Path) -> None:
    local = make_video(tmp_path / "local.ts", frames=20, fps=10, container={})
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", "#EXTINF:2.0,", "{}", "#EXT-X-ENDLIST", ""]
    server.files["/ok.ts"] = local.read_bytes()
    server.files["/ok.m3u8"] = "\n".join(lines).format("ok.ts").encode()
    server.files["/bad.m3u8"] = "\n".join(lines).format(f"file://{local}").encode()
    assert len(list(open_input(f"{server.address}/ok.m3u8").frames())) == 20
    with pytest.raises(FrameError):
        list(open_input(f"{server.address}/bad.m3u8").frames())


class Slow(StreamInput):
    """A stream without a network: pictures come as fast as they are taken in."""

    def __init__(self, *, live: bool, count: int) -> None:
        super().__init__("http://unused")
        self._is_live, self._count = live, count

    def _decode(self) -> None:
        for index in range(self._count):
            self._hand_over((float(index), np.zeros((1, 1, 3), np.uint8)))
        self._hand_over(None)


@pytest.mark.parametrize("live", [True, False])
def test_only_a_live_stream_skips_pictures(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened:
        duration, average_rate, frames = None, 25, 0

    monkeypatch.setattr(inputs, "opened_address", lambda *_, **__: contextlib.nullcontext((Opened(), Opened())))
    stream = Slow(live=live, count=5 * inputs.WAITING_PICTURES)
    frames, moments = stream.frames(), []
    moments.append(next(frames)[0])
    time.sleep(0.2)  # the network is busy
    moments += [moment for moment, _ in frames]
    assert moments == sorted(set(moments)) and (len(moments) < stream._count) == live
    assert bool(stream.warnings) == live


@pytest.mark.long
@needs_program("ffmpeg", install="apt-get install ffmpeg")
def test_a_camera_that_sends_rtmp_is_watched_until_it_ends(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=60, fps=20)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"rtmp://127.0.0.1:{port}/live/door"
    command = [str(shutil.which("ffmpeg")), "-v", "error", "-re", "-i", str(video), "-c", "copy", "-f", "flv"]
    sender = subprocess.Popen([*command, "-listen", "1", address])
    try:
        for _ in range(100):
            try:
                stream = open_input(address)
                break
            except FrameError:  # it does not listen yet
                time.sleep(0.1)
        moments = [moment for moment, _ in stream.frames()]
        assert [text for text in stream.warnings if "the stream has ended" not in text] == []
        # the stream breaks off, so the last pictures are still in the decoder
        assert len(moments) > 55 and moments == pytest.approx(np.arange(len(moments)) / 20, abs=0.01)
    finally:
        sender.kill()
        sender.wait()
    assert not [thread for thread in threading.enumerate() if thread.name == "stream"]


@pytest.mark.whole
def test_a_camera_that_speaks_rtsp_is_watched_until_it_hangs_up(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.ts", frames=60, fps=20, container={})
    asked: list[str] = []
    with camera(video.read_bytes(), seconds=1, asked=asked) as address:
        stream = open_input(address.replace("//", "//admin:secret@"))
        moments = [moment for moment, _ in stream.frames()]
    assert asked[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]  # a single SETUP: no packets of UDP are asked for
    assert stream.name == address and stream.fps == 20
    # it hangs up in the middle of a group, whose pictures are not all decoded
    assert len(moments) > 55 and moments[:55] == pytest.approx(np.arange(55) / 20, abs=0.01)


def test_patterns_and_folders_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/x.mp4", "a/deep/y.mp4", "b/z.mp4", "b/notes.txt", "b/[1].mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert [os.fspath(path) for path in find_inputs("*/*.mp4")] == ["a/x.mp4", "b/[1].mp4", "b/z.mp4"]
    assert find_inputs(str(tmp_path / "**/y.mp4")) == [tmp_path / "a/deep/y.mp4"]
    assert find_inputs("b/[1].mp4") == [Path("b/[1].mp4")]  # a file of that name is that file
    assert name_inputs(["a/*.mp4", "b"]) == {
        Path("a/x.mp4"): Path("x.mp4"),
        Path("b/[1].mp4"): Path("[1].mp4"),
        Path("b/z.mp4"): Path("z.mp4"),
    }
    with pytest.raises(FrameError, match=r"no\*\.mp4: no file matches this pattern"):
        find_inputs("no*.mp4")


@pytest.mark.parametrize(
    ("given", "endless"),
    [("0", True), ("/dev/video1", True), ("rtsp://camera/door", True), ("https://a/b.mp4", True), ("a.mp4", False)],
)
def test_cameras_and_addresses_are_endless(given: str, endless: bool) -> None:
    assert is_endless(given) == endless
