"""Downloads from a real server that does everything wrong: the right file or none, one line, and no hang."""

from __future__ import annotations

import hashlib
import multiprocessing
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.file_server import FileServer, serving
from utils.errors import CheckpointError
from utils.published import download as module
from utils.published.download import download
from utils.published.sums import known_sum

CONTENT = bytes(range(256)) * 3000  # no zip, no page
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of /file. It is waited for as long as a busy machine takes; tests of silence set less."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setenv("WEIGHTS_TIMEOUT", "60")
    with serving(file=CONTENT) as server:
        yield server


def _get(server: FileServer, folder: Path, sha256: str = DIGITS) -> Path:
    download(f"{server.address}/file", folder / "net.pth", sha256=sha256)
    return folder / "net.pth"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_comes_whole_and_alone_and_its_progress_is_reported(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(
        f"{server.address}/file",
        tmp_path / "net.pth",
        sha256=DIGITS,
        report=lambda done, total: seen.append((done, total)),
    )
    assert (tmp_path / "net.pth").read_bytes() == CONTENT and _names(tmp_path) == {"net.pth"}
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and server.asked == [("/file", "")]


def test_the_sum_of_what_came_is_noted_where_its_publisher_states_none(server: FileServer, tmp_path: Path) -> None:
    path = _get(server, tmp_path, sha256="")
    assert _names(tmp_path) == {"net.pth", "net.pth.sha256"}
    noted = (tmp_path / "net.pth.sha256").read_text()
    assert noted == f"{hashlib.sha256(CONTENT).hexdigest()}  net.pth\n"
    assert known_sum(path) == (noted[:64], "net.pth.sha256")


@pytest.mark.parametrize("fault", ["stall", "truncate", "die"])
@pytest.mark.parametrize("sha256", [DIGITS, ""], ids=["with hash", "without"])
def test_a_transfer_that_ends_in_the_middle_goes_on_from_there(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, sha256: str
) -> None:
    server.faults["/file"] = [fault]
    if fault == "stall":
        monkeypatch.setenv("WEIGHTS_TIMEOUT", "1")
    assert _get(server, tmp_path, sha256).read_bytes() == CONTENT
    assert _names(tmp_path) == {"net.pth"} | (set() if sha256 else {"net.pth.sha256"})
    assert server.asked[0][1] == "" and len(server.asked) == 2
    if fault != "die":  # a reset may throw away what has come
        assert server.asked[1][1] == f"bytes={len(CONTENT) // 2}-"


def test_a_server_without_ranges_sends_the_whole_file_again(server: FileServer, tmp_path: Path) -> None:
    server.faults["/file"] = ["truncate", "no ranges"]
    assert _get(server, tmp_path).read_bytes() == CONTENT


def test_a_file_that_has_changed_since_is_not_put_together_with_the_old_half(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults["/file"] = ["truncate"] * module.TRIES * 9
    with pytest.raises(CheckpointError, match="the server ended after"):
        _get(server, tmp_path, "")
    server.faults["/file"] = []
    server.files["/file"], server.etag = CONTENT[::-1], '"2"'
    assert _get(server, tmp_path, "").read_bytes() == CONTENT[::-1]


@pytest.mark.whole
def test_what_has_come_waits_for_the_next_command(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults["/file"] = ["truncate", "silent"]
    monkeypatch.setattr(module, "TRIES", 1)
    monkeypatch.setenv("WEIGHTS_TIMEOUT", "1")
    with pytest.raises(
        CheckpointError, match=r"cannot be reached any more .*; the same command goes on after the 0\.4 MB"
    ):
        _get(server, tmp_path, "")
    monkeypatch.setenv("WEIGHTS_TIMEOUT", "60")
    assert _names(tmp_path) == {"net.pth.part", "net.pth.part.json"}
    assert _get(server, tmp_path, "").read_bytes() == CONTENT
    assert server.asked[-1] == ("/file", f"bytes={len(CONTENT) // 2}-")


def test_a_server_that_promises_more_than_it_has_ends_in_one_line(server: FileServer, tmp_path: Path) -> None:
    server.faults["/file"] = ["too long"] * 99
    with pytest.raises(CheckpointError, match=r"/file: .*; the same command goes on"):
        _get(server, tmp_path, "")
    assert not (tmp_path / "net.pth").exists()
    assert len(server.asked) < 9
    assert _get(server, tmp_path, DIGITS).read_bytes() == CONTENT  # the hash shows that all has come


@pytest.mark.parametrize(
    ("fault", "words"),
    [(404, "answers 404 Not Found"), (403, "answers 403 Forbidden"), (503, "answers 503"),
     ("page", "answers with a page"),
     ("silent", r"cannot be reached \(no answer within 0\.3 s\)")],
)  # fmt: skip
def test_no_file_is_one_line_and_leaves_nothing(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str | int, words: str
) -> None:
    server.faults["/file"] = [fault]
    if fault == "silent":
        monkeypatch.setenv("WEIGHTS_TIMEOUT", "0.3")
    with pytest.raises(CheckpointError, match=rf"/file: (the server )?{words}"):
        _get(server, tmp_path)
    assert _names(tmp_path) == set() and len(server.asked) == 1


def test_redirects_are_followed_and_circles_end(server: FileServer, tmp_path: Path) -> None:
    server.files["/old"] = b""
    server.faults["/old"] = [f"to {server.address}/file"]
    download(f"{server.address}/old", tmp_path / "net.pth", sha256=DIGITS)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    server.faults["/old"] = [f"to {server.address}/old"] * 20
    with pytest.raises(CheckpointError, match="infinite loop"):
        download(f"{server.address}/old", tmp_path / "other.pth", sha256=DIGITS)


def test_a_redirect_to_an_unprotected_address_is_refused() -> None:
    request = module.urllib.request.Request("https://example.org/net.pth")
    handler = module._SafeRedirects()
    with pytest.raises(CheckpointError, match=r"sends to http://example\.org/x, which is not protected"):
        handler.redirect_request(request, None, 302, "", module.HTTPMessage(), "http://example.org/x")  # type: ignore[arg-type]
    followed = handler.redirect_request(request, None, 302, "", module.HTTPMessage(), "https://example.org/x")  # type: ignore[arg-type]
    assert followed is not None and followed.full_url == "https://example.org/x"


def test_another_file_is_kept_aside_and_named(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"begins with {DIGITS}, not 01234567; what came is kept as .*{DIGITS}"):
        _get(server, tmp_path, "01234567")
    assert _names(tmp_path) == {f"net.pth.wrong-{DIGITS}"}


@pytest.mark.parametrize(
    ("content", "words"), [(b"PK\x03\x04 half an archive", "cut off"), (b"<?xml ?>", "no file of")]
)
def test_without_a_hash_what_cannot_be_weights_is_kept_aside(
    server: FileServer, tmp_path: Path, content: bytes, words: str
) -> None:
    server.files["/file"] = content
    with pytest.raises(CheckpointError, match=f"is not the published file: it is {words}"):
        _get(server, tmp_path, "")
    assert not (tmp_path / "net.pth").exists()


def test_a_length_that_nobody_states_needs_a_hash(server: FileServer, tmp_path: Path) -> None:
    server.faults["/file"] = ["no length"]
    assert _get(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / "net.pth").unlink()
    server.faults["/file"] = ["no length"]
    with pytest.raises(CheckpointError, match="does not say how long the file is, and no hash is known"):
        _get(server, tmp_path, "")
    assert _names(tmp_path) == set()


def test_a_full_disk_is_seen_before_anything_is_fetched(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: full)
    with pytest.raises(CheckpointError, match=r"has no room for the 0\.8 MB of"):
        _get(server, tmp_path)
    assert _names(tmp_path) == set()


def test_without_a_network_there_is_one_line_in_less_than_the_time_limit(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(CheckpointError, match=r"^https://weights\.example/net\.pth: cannot be reached \(.+\)$"):
        download("https://weights.example/net.pth", tmp_path / "net.pth")
    assert time.monotonic() - begun < module.TIMEOUT and _names(tmp_path) == set()


def test_a_search_for_the_server_that_never_ends_is_given_up(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS_TIMEOUT", "0.3")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: server.go_on.wait(30))
    with pytest.raises(CheckpointError, match=r"cannot be reached \(no answer within 0\.3 s\)"):
        _get(server, tmp_path)


def test_a_mirror_is_asked_instead_of_the_host(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/copies/weights.example/a/net.pth"] = CONTENT
    monkeypatch.setenv("WEIGHTS_MIRROR", f"{server.address}/copies/")
    download("https://weights.example/a/net.pth", tmp_path / "net.pth", sha256=DIGITS)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    with pytest.raises(CheckpointError, match=rf"^{server.address}/copies/weights.example/b: the server answers 404"):
        download("https://weights.example/b", tmp_path / "b.pth")  # the address that failed, and not the publisher's
    monkeypatch.setenv("WEIGHTS_MIRROR", "weights.lab")
    with pytest.raises(CheckpointError, match=r"WEIGHTS_MIRROR=weights\.lab: give an address that begins with http"):
        download("https://weights.example/a/net.pth", tmp_path / "net.pth")


def test_a_proxy_is_asked_instead_of_the_host(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["http://weights.example/net.pth"] = CONTENT
    monkeypatch.setenv("http_proxy", server.address)
    download("http://weights.example/net.pth", tmp_path / "net.pth", sha256=DIGITS)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("text", ["soon", "0", "nan"])
def test_a_time_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("WEIGHTS_TIMEOUT", text)
    with pytest.raises(CheckpointError, match=f"WEIGHTS_TIMEOUT={text}: give a number of seconds above 0"):
        download("http://127.0.0.1:9/net.pth", tmp_path / "net.pth")


def test_a_process_that_is_killed_leaves_what_has_come_and_no_file(server: FileServer, tmp_path: Path) -> None:
    server.faults["/file"] = ["stall"]
    process = multiprocessing.get_context("fork").Process(target=_patient, args=(server.address, tmp_path))
    process.start()
    part = tmp_path / "net.pth.part"
    while not part.exists() or part.stat().st_size < len(CONTENT) // 2:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (tmp_path / "net.pth").exists()
    assert _get(server, tmp_path, "").read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={len(CONTENT) // 2}-"


def _patient(address: str, folder: Path) -> None:
    module.os.environ["WEIGHTS_TIMEOUT"] = "30"
    download(f"{address}/file", folder / "net.pth")
