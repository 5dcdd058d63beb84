"""The server behind the page, met by requests that no browser would send."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.make_video import make_audio, make_video
from tests.helpers.run_tool import fork_tool, run_tool
from tests.helpers.trained import CLASSES, write_checkpoint
from tools import predict
from tools.inference import Recognizer, load
from tools.serving.answers import check_upload
from tools.serving.server import Handler, PageServer, Queue
from utils.errors import UserError

LIMIT = 1 << 20
VIDEO = {"Content-Type": "video/mp4"}


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return load(write_checkpoint(tmp_path_factory.mktemp("tsn"), class_names=CLASSES), device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "v.mp4", frames=40, fps=10)


@pytest.fixture
def server(recognizer: Recognizer, tmp_path: Path) -> Iterator[PageServer]:
    folder = tmp_path / "uploads"
    folder.mkdir()
    with PageServer("127.0.0.1", 0, recognizer, limit=LIMIT, folder=folder) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: PageServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    own = {
        "Host": f"127.0.0.1:{server.server_port}"
    }  # else http.client takes it from a path that looks like an address
    connection.request(method, path, body, own | (headers or {}))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


def refused(server: PageServer, body: bytes | None, headers: dict[str, str], path: str = "/predict") -> tuple[int, str]:
    status, _, content = ask(server, "POST", path, body, headers)
    return status, json.loads(content)["error"]


def events(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def raw(server: PageServer, text: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=30)
    connection.sendall(text)
    return connection


def head_of(server: PageServer, length: object) -> bytes:
    """The head of a POST as a browser would send it."""
    host = f"127.0.0.1:{server.server_port}"
    lines = ("POST /predict HTTP/1.1", f"Host: {host}", "Content-Type: video/mp4", f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode()


def until(true: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    assert true()


@pytest.mark.whole
def test_an_uploaded_video_gets_the_scores_that_predict_gives_it(
    server: PageServer, recognizer: Recognizer, video: Path
) -> None:
    status, _, content = ask(server, "POST", "/predict", video.read_bytes(), VIDEO)
    *progress, answer = events(content)
    assert status == 200 and {event["event"] for event in progress} == {"progress"}
    expected = recognizer.predict(video)
    assert [(row["class"], row["score"]) for row in answer["top"]] == [
        (found.label, pytest.approx(found.score, abs=1e-5)) for found in expected.top
    ]
    assert [row["name"] for row in answer["top"]] == [found.name for found in expected.top]
    assert answer["seconds"] == pytest.approx(4.0)
    assert len(answer["windows"]["start"]) == len(progress) > 3  # short as it is, its scores have a course
    assert sum(line["scores"][0] for line in answer["lines"]) == pytest.approx(1, abs=0.01)
    assert list(server.folder.iterdir()) == []


def test_windows_are_those_asked_for(server: PageServer, video: Path) -> None:
    _, _, content = ask(server, "POST", "/predict?window=2&step=1", video.read_bytes(), VIDEO)
    answer = events(content)[-1]
    assert answer["windows"]["start"] == [0, 1, 2] and answer["basis"] == "mean over 3 windows"
    for query in ("window=-1", "window=nan", "step=x", "window=1e999", "&&"):
        assert refused(server, b"x", VIDEO, f"/predict?{query}")[0] == 400


def test_only_the_page_and_its_parts_can_be_fetched(server: PageServer) -> None:
    for path in ("/", "/style.css", "/page.js", "/plotly.js"):
        status, headers, content = ask(server, "GET", path)
        assert status == 200 and content
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and "Server" in headers and not headers["Server"].strip()
    for path in (
        *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page.js/..", "/../tools/predict.py"),
        *("/serve_page/page.html", "/style.css%00", "/?x", "\\..\\x", "http://evil.example/"),
    ):
        assert ask(server, "GET", path)[0] == 404
    assert ask(server, "POST", "/../predict", b"x", VIDEO)[0] == 404
    assert ask(server, "PUT", "/predict", b"x", VIDEO)[0] == 501


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_host_name_gets_nothing(server: PageServer, method: str) -> None:
    path = "/" if method == "GET" else "/predict"
    port = server.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", ""):
        assert ask(server, method, path, b"x", {**VIDEO, "Host": host})[0] == 403
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}"):
        assert ask(server, method, path, b"x", {**VIDEO, "Host": host})[0] != 403


def test_a_page_of_another_site_cannot_post(server: PageServer, video: Path) -> None:
    port = server.server_port
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{port}"},  # itself, but under a name that the request does not have
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert refused(server, video.read_bytes(), VIDEO | headers)[0] == 403
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    assert ask(server, "POST", "/predict", video.read_bytes(), VIDEO | own)[0] == 200


def test_what_a_form_can_send_is_refused_whatever_its_file_is_called(
    server: PageServer, video: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../planted.mp4"\r\n'
        b"Content-Type: video/mp4\r\n\r\n" + video.read_bytes() + b"\r\n--x--\r\n"
    )
    for kind in ("multipart/form-data; boundary=x", "text/plain", "application/x-www-form-urlencoded", "text/html", ""):
        assert refused(server, form, {"Content-Type": kind, "X-File-Name": "../../planted"})[0] == 415
    assert sorted(tmp_path.rglob("*")) == before


def test_a_body_without_a_sensible_length_is_refused_unread(server: PageServer) -> None:
    status, message = refused(server, None, VIDEO | {"Content-Length": str(LIMIT + 1)})
    assert status == 413 and "larger than 1 MB" in message
    for digits in (18, 19, 30, 5000):
        assert refused(server, None, VIDEO | {"Content-Length": "9" * digits})[0] == 413
    assert refused(server, None, VIDEO | {"Content-Length": "0"})[0] == 400
    for length in ("-1", "abc", "1.5", "٣"):
        with raw(server, head_of(server, length)) as connection:
            assert b" 411 " in connection.recv(1000).split(b"\r\n")[0]
    chunked = VIDEO | {"Transfer-Encoding": "chunked"}
    assert refused(server, b"5\r\nhello\r\n0\r\n\r\n", chunked)[0] == 411
    # more than announced is never read
    assert ask(server, "POST", "/predict", b"x" * 3 * LIMIT, VIDEO | {"Content-Length": "3"})[0] == 422


def test_what_is_no_video_is_told_by_its_content(server: PageServer, video: Path, tmp_path: Path) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{video}\n#EXT-X-ENDLIST\n"
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    for content in (
        b"MZ not a video",
        b"\0" * 5000,
        playlist.encode(),
        f"ffconcat version 1.0\nfile {video}\n".encode(),
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        (tmp_path / "a.png").read_bytes(),
        video.read_bytes()[:200],
    ):
        status, said = refused(server, content, VIDEO)
        assert status == 422 and said.startswith("cannot be read as a video (")
    sound = make_audio(tmp_path / "sound.mp4").read_bytes()
    assert refused(server, sound, VIDEO) == (422, "has no video stream")


def test_a_playlist_never_opens_another_file(video: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "a.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{video}\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match="cannot be read as a video"):
        check_upload(playlist)


def test_frames_too_large_for_any_memory_are_refused(tmp_path: Path) -> None:
    header = b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420jpeg\nFRAME\n"
    (tmp_path / "bomb").write_bytes(header + b"\0" * 1000)
    with pytest.raises(UserError, match=r"60000 x 60000 pixels are too large|cannot be read as a video"):
        check_upload(tmp_path / "bomb")


def test_an_upload_that_breaks_off_leaves_nothing(server: PageServer, video: Path) -> None:
    content = video.read_bytes()
    head = head_of(server, len(content))
    connection = raw(server, head + content[:500])
    until(lambda: any(server.folder.iterdir()))
    connection.close()
    until(lambda: not any(server.folder.iterdir()))
    assert ask(server, "GET", "/")[0] == 200


@pytest.mark.whole
def test_an_upload_that_stands_still_is_given_up(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.3)
    with raw(server, head_of(server, 1000) + b"abc") as connection:
        assert b" 408 " in connection.recv(1000).split(b"\r\n")[0]
    with raw(server, b"GET / HT") as connection:
        assert connection.recv(1000) == b""
    assert list(server.folder.iterdir()) == []


@pytest.mark.whole
def test_videos_wait_for_their_turn_and_leave_when_their_page_does(server: PageServer, video: Path) -> None:
    content = video.read_bytes()
    head = head_of(server, len(content))
    with server.queue.ticket():
        gone, patient = (raw(server, head + content) for _ in range(2))
        until(lambda: len(list(server.folder.iterdir())) == 2)
        gone.close()
        until(lambda: len(list(server.folder.iterdir())) == 1)
        answer = patient.makefile("rb")
        begun = b""
        while b"waiting" not in begun and (line := answer.readline()):  # its file is there before it has its place
            begun += line
    with answer:
        told = events((begun + answer.read()).split(b"\r\n\r\n", 1)[1])
    patient.close()
    assert told[0]["event"] == "waiting" and told[0]["ahead"] >= 1 and told[-1]["event"] == "answer"
    until(lambda: not any(server.folder.iterdir()))


def test_a_place_in_the_queue_is_kept() -> None:
    queue = Queue()
    with queue.ticket() as first:
        with queue.ticket() as second, queue.ticket() as third:
            assert [first(0), second(0), third(0)] == [0, 1, 2]
        with queue.ticket() as late:
            assert late(0) == 1
    with queue.ticket() as alone:
        assert alone(0) == 0


def test_scores_that_are_no_numbers_are_one_line(
    recognizer: Recognizer, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = recognizer.method.head.weight
    monkeypatch.setattr(weight, "data", weight.data * np.nan)
    with pytest.raises(UserError, match="scores are not numbers"):
        recognizer.predict(video)


@pytest.mark.whole
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_command_serves_until_it_is_ended_and_removes_its_folder(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    printed = tmp_path / "printed.txt"
    process = fork_tool("predict", recognizer.path, "--serve", "--port", 0, output=printed)
    try:
        while not (printed.exists() and "\n" in printed.read_text()):
            assert process.is_alive()
            time.sleep(0.01)
        line = printed.read_text()
        assert line.startswith("http://127.0.0.1:")
        (folder,) = tmp_path.glob("predict-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        port = line.split(":")[2].split("/")[0]
        taken = run_tool("predict", recognizer.path, "--serve", "--port", port, code=2)
        assert taken.stderr == (
            f"error: cannot listen on 127.0.0.1, port {port}: Address already in use; take another --port or --host\n"
        )
        os.kill(process.pid or 0, number)
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
    assert list(tmp_path.glob("predict-*")) == []


@pytest.mark.whole
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_end_in_the_middle_of_videos_leaves_no_files(
    number: signal.Signals, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    printed, long = tmp_path / "printed.txt", make_video(tmp_path / "long.mp4", frames=400, fps=10).read_bytes()
    process = fork_tool("predict", recognizer.path, "--serve", "--port", 0, output=printed)
    try:
        until(lambda: printed.exists() and "\n" in printed.read_text())
        port = int(printed.read_text().split(":")[2].split("/")[0])
        connections = []
        for sent in (len(long), 500):  # one that is looked at, one that is still coming
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: video/mp4\r\n"
            connection.sendall(f"{head}Content-Length: {len(long)}\r\n\r\n".encode() + long[:sent])
            connections.append(connection)
        until(lambda: list(tmp_path.glob("predict-*/*")))  # of the second one: the first may be done already
        assert process.pid
        os.kill(process.pid, number)
        process.join(60)
        assert process.exitcode == 0 and "Traceback" not in printed.read_text()
        for connection in connections:
            connection.close()
    finally:
        process.kill()
    assert list(tmp_path.glob("predict-*")) == []


def test_a_closed_server_has_no_thread_left(recognizer: Recognizer, video: Path, tmp_path: Path) -> None:
    def answering() -> list[str]:  # without threads of other tests' libraries
        return [thread.name for thread in threading.enumerate() if "process_request" in thread.name]

    before = len(answering())
    server = PageServer("127.0.0.1", 0, recognizer, limit=LIMIT, folder=tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    content = video.read_bytes()
    with server.queue.ticket():  # so that the video is not looked at yet
        waiting = raw(server, b"GET / HT"), raw(server, head_of(server, len(content)) + content)
        until(lambda: len(answering()) == before + 2)
        server.shutdown()
        server.server_close()
    thread.join()
    assert len(answering()) == before and list(tmp_path.iterdir()) == []
    for connection in waiting:
        connection.close()


def test_a_page_has_no_input_and_writes_no_files(recognizer: Recognizer, video: Path) -> None:
    for arguments in ((video,), ("--json", "-")):
        with pytest.raises(UserError, match="--serve gets its videos from the page"):
            predict.main([*map(str, (recognizer.path, *arguments)), "--serve"])
    with pytest.raises(UserError, match="name a video, a folder, a camera or an address, or "):
        predict.main([str(recognizer.path)])
