"""Tests the times of videos that lie beside their tar: nothing is scanned, and what does not fit is not believed."""

from __future__ import annotations

import logging
import tracemalloc
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from datasets.places.files import open_tar, versioned
from datasets.videos import index, tar_times
from datasets.videos.index import index_videos
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.scanned import _HEAD, pack
from datasets.videos.tar_times import Member, read_times, write_times
from tests.helpers.file_server import FileServer
from tests.helpers.make_video import make_video
from tests.helpers.tars import write_tar
from utils.files import sha256
from utils.flat_file import open_arrays, save_arrays

NAMES = ("a.mp4", "b.mp4")


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    """A tar of two videos with their times beside it."""
    files = [make_video(tmp_path / name, frames=20 + number) for number, name in enumerate(NAMES)]
    path = write_tar(tmp_path / "tars/v-0.tar", [(file.name, file.read_bytes()) for file in files])
    members = []
    for file in files:
        found = open_tar(path).find(file.name)
        assert found is not None
        members.append(Member(found[0], found[1] - found[0], scan(file)))
    write_times(path, sha256(path), members)
    return path


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The videos that are scanned, in order."""
    found: list[str] = []

    def noted(path: str) -> VideoTimes:
        found.append(Path(index.without_version(path)).name)
        return scan(path)

    monkeypatch.setattr(index, "scan", noted)
    return found


def times(tar: Path | str, cache: Path) -> list[VideoTimes]:
    found = index_videos(versioned([f"{tar}/{name}" for name in NAMES]), cache=cache, threads=1)
    return [found[place] for place in range(len(NAMES))]


def test_videos_in_a_tar_are_not_scanned_if_their_times_lie_beside_it(
    tar: Path, tmp_path: Path, scanned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="datasets.videos")
    found = times(tar, tmp_path / "cache")
    assert scanned == [] and "scanning" not in caplog.text
    for one, name in zip(found, NAMES, strict=True):
        true = scan(tmp_path / name)
        assert np.array_equal(one.stamps, true.stamps) and np.array_equal(one.keys, true.keys)
        assert (one.tick, one.size, one.begins) == (true.tick, true.size, true.begins)
    tar.with_suffix(".times").unlink()
    times(tar, tmp_path / "cache")
    assert scanned == [], "what was beside it is kept, as what is scanned"


def test_times_of_another_tar_and_damaged_ones_are_ignored_with_a_warning(
    tar: Path, tmp_path: Path, scanned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with tar.open("ab") as file:
        file.write(bytes(10240))  # what a longer tar ends with
    times(tar, tmp_path / "one")
    assert sorted(scanned) == list(NAMES) and "ignoring the times beside" in caplog.text
    data = bytearray(tar.with_suffix(".times").read_bytes())
    data[-70] ^= 1
    tar.with_suffix(".times").write_bytes(data)
    assert read_times(tar) is None and "its videos are scanned" in caplog.text


def test_a_video_that_lies_elsewhere_in_the_tar_is_scanned(tar: Path, tmp_path: Path, scanned: list[str]) -> None:
    found = open_tar(tar).find("b.mp4")
    assert found is not None
    write_times(tar, sha256(tar), [Member(found[0], found[1] - found[0] + 1, scan(tmp_path / "b.mp4"))])
    times(tar, tmp_path / "cache")
    assert sorted(scanned) == list(NAMES)


@pytest.mark.whole
def test_times_lie_beside_a_tar_at_an_address_too(
    tar: Path, tmp_path: Path, scanned: list[str], server: FileServer
) -> None:
    server.files |= {f"/{file.name}": file.read_bytes() for file in tar.parent.iterdir()}
    assert [len(one) for one in times(f"{server.address}/v-0.tar", tmp_path / "cache")] == [20, 21]
    assert scanned == []
    server.files.pop("/v-0.times")


@pytest.mark.parametrize("fault", ["stamps", "keys", "head", "kind", "tick", "begins", "size", "more", "cut off"])
def test_times_that_nobody_can_unpack_are_ignored_with_a_warning(
    fault: str, tar: Path, tmp_path: Path, scanned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    about, arrays = open_arrays(tar.with_suffix(".times"))
    found = pack(scan(tmp_path / "a.mp4"))
    head, numbers = bytearray(found[: _HEAD.size]), zlib.decompress(found[_HEAD.size :])
    values = list(_HEAD.unpack(head))
    wrong = {"tick": (0, np.nan), "begins": (1, np.inf), "size": (2, 0), "kind": (6, 9)}
    if fault in wrong:
        values[wrong[fault][0]] = wrong[fault][1]
        head = bytearray(_HEAD.pack(*values))
    data = {
        "stamps": found[: _HEAD.size + 4],
        "keys": bytes(head) + zlib.compress(numbers[:20] + b"\x7f" * (len(numbers) - 20)),
        "head": found[:8],
        "more": found[: _HEAD.size] + zlib.compress(numbers + bytes(100)),
        "cut off": found[:-1],
    }.get(fault, bytes(head) + zlib.compress(numbers))
    changed = dict(arrays) | {
        "found": np.frombuffer(2 * data, np.uint8),
        "offsets": np.array([0, len(data), 2 * len(data)]),
    }
    save_arrays(tar.with_suffix(".times"), about, changed)
    times(tar, tmp_path / "cache")
    assert "a.mp4" in scanned and f"ignoring the times beside {tar}/a.mp4: " in caplog.text


def test_times_take_no_more_memory_than_the_frames_that_a_video_of_that_size_can_have(
    tar: Path, tmp_path: Path, scanned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    about, arrays = open_arrays(tar.with_suffix(".times"))
    bomb = pack(scan(tmp_path / "a.mp4"))[: _HEAD.size] + zlib.compress(bytes(100_000_000))
    changed = {"found": np.frombuffer(2 * bomb, np.uint8), "offsets": np.array([0, len(bomb), 2 * len(bomb)])}
    for frames in (arrays["frames"], np.array([50_000_000] * 2)):
        save_arrays(tar.with_suffix(".times"), about, dict(arrays) | changed | {"frames": frames})
        tar_times._open.cache_clear()
        tracemalloc.start()
        times(tar, tmp_path / f"cache{frames[0]}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000 and sorted(scanned) == list(NAMES)
        scanned.clear()
    assert "50000000 frames cannot be in" in caplog.text


def test_a_shuffled_list_opens_the_times_of_each_tar_once(
    tar: Path, tmp_path: Path, scanned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tar.with_name("v-1.tar")
    for suffix in (".tar", ".times"):
        other.with_suffix(suffix).write_bytes(tar.with_suffix(suffix).read_bytes())
    opened: list[Path] = []
    monkeypatch.setattr(tar_times, "_open", lru_cache(1)(tar_times._open.__wrapped__))  # as of more tars than it keeps
    monkeypatch.setattr(tar_times, "read_times", lambda path: (opened.append(path), read_times(path))[1])
    index_videos(versioned([f"{where}/{name}" for name in NAMES for where in (tar, other)]), cache=tmp_path, threads=1)
    assert scanned == [] and opened == [tar, other]
