"""Files at addresses and in tars: the bytes that are there, or an error that names the address, in time."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest

from datasets.places import blocks, files, remote
from datasets.places.blocks import BLOCK, shrink
from datasets.places.files import exists, list_names, open_file, read_all, read_bytes
from datasets.places.place import Address, join, place
from tests.helpers.afar import forget
from tests.helpers.file_server import FileServer
from utils.errors import ConfigError, FrameError

pytestmark = pytest.mark.usefixtures("afar")
LONG = np.random.default_rng(0).bytes(12 * BLOCK + 12345)
SHORT = LONG[:70_000]


def pieces(path: str, size: int = 300_000) -> bytes:
    """Reads a file as a decoder does, in order and in pieces."""
    with open_file(path) as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("path", ["/a/b", "a", "C:/a", "C://a", "://a", "a b://c"])
def test_paths_are_no_addresses(path: str) -> None:
    assert isinstance(place(path), Path)


def test_addresses_keep_their_slashes() -> None:
    folder = place("s3://bucket/a")
    assert isinstance(folder, Address)
    assert f"{folder / 'b.mp4'}" == join(folder, "b.mp4") == "s3://bucket/a/b.mp4"
    assert (folder / "b.mp4").name == "b.mp4" and (folder / "b.mp4").parent == folder
    assert join("data", "s3://x/y") == "s3://x/y" and join("data", "a/b") == "data/a/b"


@pytest.mark.parametrize("data", [SHORT, LONG, LONG[:BLOCK], LONG[: BLOCK + 1]], ids=len)
def test_every_way_of_reading_gives_the_same_bytes(server: FileServer, data: bytes) -> None:
    server.files["/a"] = data
    fsspec.filesystem("memory").pipe("/a", data)
    for address in (f"{server.address}/a", "memory://a"):
        assert pieces(address) == data  # fetched
        asked = len(server.asked)
        assert read_bytes(address) == data and pieces(address, 32_768) == data  # kept
        assert len(server.asked) == asked
        with open_file(address) as stream:
            for at in (len(data) - 1, 0, len(data) // 2, len(data)):
                assert stream.seek(at) == at and stream.read(1000) == data[at : at + 1000]
    assert read_all([f"{server.address}/a", "memory://a"]) == [data, data]


def test_reading_on_asks_for_large_parts_before_they_are_needed(server: FileServer) -> None:
    server.files["/a"] = LONG
    assert pieces(f"{server.address}/a") == LONG
    sizes = [int(last) - int(first) + 1 for first, last in (part[6:].split("-") for _, part in server.asked)]
    assert len(sizes) <= 4 and sum(sizes) == len(LONG) + 1  # one more at the end, where a longer file would show


def test_a_read_somewhere_in_a_long_file_fetches_one_block(server: FileServer) -> None:
    server.files["/a"] = LONG
    with open_file(f"{server.address}/a") as stream:
        stream.seek(5 * BLOCK + 10)
        assert stream.read(100) == LONG[5 * BLOCK + 10 :][:100]
    assert server.asked == [("/a", f"bytes={5 * BLOCK}-{6 * BLOCK - 1}")]


@pytest.mark.parametrize("fault", ["stall", "truncate", "die", "silent", "another part", 429, 500, 503])
@pytest.mark.parametrize("data", [SHORT, LONG], ids=["short", "long"])
def test_what_passes_is_tried_again_and_said(
    server: FileServer, caplog: pytest.LogCaptureFixture, fault: Any, data: bytes
) -> None:
    server.files["/a"] = data
    server.faults["/a"] = [fault]
    with caplog.at_level(logging.WARNING):
        assert pieces(f"{server.address}/a") == data
    assert [record.message.endswith("; trying again") for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, "access is denied"),
        (404, "no such file"),
        (410, "the server answers 410"),
        (429, "no answer of use within 60 s .the server answers 429"),
        (500, "no answer of use within 60 s .the server answers 500"),
        ("silent", "no answer of use within 0.5 s .the server is silent"),
        ("stall", "no answer of use within 0.5 s .the server is silent"),
        ("truncate", "no answer of use within 60 s"),
        ("die", "no answer of use within 60 s"),
        ("another part", "no answer of use within 60 s .it sends bytes 7-69999 instead of 0-70000"),
    ],
)
@pytest.mark.timeout(60)  # a hang would be endless
def test_what_does_not_pass_is_an_error_with_the_address(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, fault: Any, message: str
) -> None:
    if fault in ("silent", "stall"):
        monkeypatch.setenv("DATA_TIMEOUT", "0.5")
    else:  # the first answer is waited for as long as a busy machine takes, and no other fits in
        monkeypatch.setenv("DATA_TIMEOUT", "60")
        monkeypatch.setattr(remote, "_FIRST_PAUSE", 100.0)
    server.files["/a"] = SHORT
    server.always["/a"] = fault
    with pytest.raises(FrameError, match=rf"^{server.address}/a: {message}"):
        read_bytes(f"{server.address}/a")


def test_a_server_that_is_gone_is_an_error_in_time(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/a"] = LONG
    stream = open_file(f"{server.address}/a")
    assert stream.read(10) == LONG[:10]
    monkeypatch.setenv("DATA_TIMEOUT", "0.3")
    server.stop()
    server.always["/a"] = "die"  # connections that are open
    with pytest.raises(FrameError, match=r"no answer of use within"):
        stream.seek(3 * BLOCK)
        stream.read(1)
    stream.seek(0)
    assert stream.read(10) == LONG[:10]  # what is kept is still there
    with pytest.raises(FrameError, match=r"Cannot connect to host"):
        open_file("http://127.0.0.1:9/a")


@pytest.mark.parametrize(("more", "message"), [(1000, "70000 bytes long and not 71000"), (-1000, "and not 69000")])
def test_a_wrong_length_is_an_error(server: FileServer, more: int, message: str) -> None:
    server.files["/a"], server.lengths["/a"] = SHORT, len(SHORT) + more
    with pytest.raises(FrameError, match=message):
        read_bytes(f"{server.address}/a")


def test_a_server_without_ranges_gives_short_files_whole(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/a"], server.always["/a"] = SHORT, "no ranges"
    assert read_bytes(f"{server.address}/a") == SHORT
    server.files["/b"], server.always["/b"] = LONG, "no ranges"
    assert pieces(f"{server.address}/b") == LONG
    monkeypatch.setattr(remote, "WHOLE", 2 * BLOCK)
    server.files["/c"], server.always["/c"] = LONG, "no ranges"
    with pytest.raises(FrameError, match=r"/c: its server gives no parts of files, and its 12 MB are too many"):
        pieces(f"{server.address}/c")


def test_a_file_that_changes_while_it_is_read_is_an_error(server: FileServer) -> None:
    server.files["/a"], server.etags["/a"] = LONG, '"first"'
    with open_file(f"{server.address}/a") as stream:
        assert stream.read(10) == LONG[:10]
        server.files["/a"], server.etags["/a"] = LONG[::-1], '"second"'
        stream.seek(9 * BLOCK)
        with pytest.raises(FrameError, match=r"/a: has changed while it was read; start the run again"):
            stream.read(10)
        assert stream.error is not None
    forget()
    assert pieces(f"{server.address}/a") == LONG[::-1]


def test_a_file_that_was_swapped_since_the_last_run_is_fetched_anew(server: FileServer) -> None:
    server.files["/a"] = SHORT
    assert read_bytes(f"{server.address}/a") == SHORT
    server.files["/a"], server.etags["/a"] = SHORT[::-1], '"other"'
    forget()
    assert read_bytes(f"{server.address}/a") == SHORT[::-1]


def test_damaged_blocks_of_another_length_are_fetched_again(server: FileServer, tmp_path: Path) -> None:
    server.files["/a"] = SHORT
    read_bytes(f"{server.address}/a")
    (block,) = (tmp_path / "blocks").glob("*/0")
    block.write_bytes(SHORT[:-1])
    assert read_bytes(f"{server.address}/a") == SHORT and block.stat().st_size == len(SHORT)


def test_the_cache_stays_below_its_limit_and_keeps_what_was_used_last(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_CACHE_GB", str(6 * BLOCK / 1e9))
    for number in range(10):
        server.files[f"/{number}"] = LONG[number : number + BLOCK]
        assert read_bytes(f"{server.address}/{number}") == LONG[number : number + BLOCK]
        there = list((tmp_path / "blocks").glob("*/*"))
        os.utime(max(there, key=lambda file: file.stat().st_mtime_ns), (number, number))
        assert len(there) <= 7
    asked = len(server.asked)
    assert read_bytes(f"{server.address}/9") == LONG[9 : 9 + BLOCK] and len(server.asked) == asked
    assert read_bytes(f"{server.address}/0") == LONG[:BLOCK] and len(server.asked) == asked + 1
    assert not (tmp_path / "blocks" / "lock").stat().st_size


@pytest.mark.whole
def test_threads_that_read_while_others_remove_get_their_bytes(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a"] = LONG
    wrong: list[BaseException | int] = []
    done = threading.Event()

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            with open_file(f"{server.address}/a") as stream:
                for at in rng.integers(0, len(LONG), 40).tolist():
                    stream.seek(at)
                    if stream.read(50_000) != LONG[at : at + 50_000]:
                        wrong.append(at)
        except BaseException as error:
            wrong.append(error)

    def remove() -> None:
        while not done.wait(0.01):
            if (tmp_path / "blocks").is_dir():
                shrink(tmp_path / "blocks", BLOCK)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    remover = threading.Thread(target=remove)
    for thread in (remover, *readers):
        thread.start()
    for thread in readers:
        thread.join()
    done.set()
    remover.join()
    assert not wrong


def test_a_disk_that_takes_no_blocks_is_said_once_and_reading_goes_on(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(blocks, "_complained", False)
    server.files["/a"] = LONG
    with caplog.at_level(logging.WARNING):
        assert pieces(f"{server.address}/a") == LONG
    assert [record.message for record in caplog.records if "cannot keep what was fetched" in record.message] != []
    assert len(caplog.records) == 1


def test_what_is_there_and_what_is_not(server: FileServer) -> None:
    server.files["/a"] = SHORT
    assert exists(f"{server.address}/a") and not exists(f"{server.address}/b")
    server.always["/c"] = 403
    with pytest.raises(FrameError, match=r"/c: access is denied"):
        exists(f"{server.address}/c")
    system = fsspec.filesystem("memory")
    system.pipe("/folder/x.jpg", b"1")
    assert list_names(place("memory://folder")) == ["x.jpg"]


def test_versions_of_a_folder_cost_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    paths = [f"memory://many/{number}.mp4" for number in range(20)]
    for path in paths:
        system.pipe(path, path.encode())
    asked: list[str] = []
    monkeypatch.setattr(type(system), "info", lambda self, path, **_: asked.append(path))
    first = files.versioned([*paths, "/plain.mp4"])
    assert not asked and first[-1] == "/plain.mp4" and len(set(first)) == 21
    assert [str(files.without_version(path)) for path in first] == [*paths, "/plain.mp4"]
    assert files.versioned(paths) == first[:-1]
    system.pipe(paths[3], b"other")
    forget()
    again = files.versioned(paths)
    assert [number for number in range(20) if again[number] != first[number]] == [3]


def test_an_unknown_version_is_never_the_same_twice() -> None:
    assert files.versioned(["memory://none.mp4"]) != files.versioned(["memory://none.mp4"])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense://a/b", "nonsense://a/b: Protocol not known: nonsense"),
        ("gs://a/b", "gs://a/b: reading it needs gcsfs: pip install gcsfs"),
    ],
)
def test_a_package_that_is_missing_is_named(address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=message):
        read_bytes(address)


def test_settings_that_are_no_numbers_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match=r"DATA_TIMEOUT=soon: give a number above 0"):
        read_bytes("memory://a")


def test_waiting_for_a_block_and_asking_for_it_have_one_deadline(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a"] = SHORT
    source, clock, left = blocks.RemoteFile(f"{server.address}/a"), [100.0], []

    class NeverSet(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            clock[0] += timeout or 0.0
            return False

    def fetch(name: str, known: Any, start: int, stop: int, deadline: float) -> bytes:
        left.append(deadline - clock[0])
        return SHORT[start:stop]

    monkeypatch.setattr(blocks, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    monkeypatch.setattr(blocks, "fetch", fetch)
    monkeypatch.setitem(blocks._coming, (str(source._folder), 0), NeverSet())
    assert source.read_at(0, 10) == SHORT[:10]
    assert clock[0] + left[0] == 102.0 and left[0] == 1.0, "DATA_TIMEOUT is 2"
