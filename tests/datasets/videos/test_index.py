"""The index of videos: whatever happens, no video is scanned twice, nothing is lost, and nothing wrong is believed."""

from __future__ import annotations

import io
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets.places.files import versioned
from datasets.videos import index as video_index
from datasets.videos.index import facts_of, index_videos
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.scanned import pack, unpack
from tests.helpers.make_video import make_video
from tests.helpers.numbered import KINDS, write_numbered
from tests.helpers.requirements import ROOT
from utils.errors import FrameError

Scans = list[str]


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Scans:
    """The paths that are scanned, in order."""
    scanned: Scans = []
    real = video_index.scan
    monkeypatch.setattr(video_index, "scan", lambda path: scanned.append(path) or real(path))
    return scanned


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Four videos of 2, 3, 4 and 5 frames."""
    return [str(make_video(tmp_path / f"{count}.mp4", frames=count)) for count in (2, 3, 4, 5)]


def same(one: VideoTimes, two: VideoTimes) -> bool:
    rest = [(t.tick, t.seekable, t.begins, t.stream, t.size, t.every_key) for t in (one, two)]
    return np.array_equal(one.stamps, two.stamps) and np.array_equal(one.keys, two.keys) and rest[0] == rest[1]


@pytest.mark.alike
@pytest.mark.parametrize("name", KINDS)
def test_what_is_kept_is_what_was_scanned(name: str, tmp_path: Path) -> None:
    times = scan(write_numbered(tmp_path, name))
    found = unpack(pack(times), len(times))
    assert isinstance(found, VideoTimes) and same(found, times) and found.stamps.dtype == np.int64


@pytest.mark.parametrize("seed", range(20))
def test_any_times_are_kept_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    most = 1 << int(rng.integers(1, 56))
    stamps = np.unique(rng.integers(-most, most, int(rng.integers(1, 400))))
    keys = stamps[np.unique(rng.integers(0, len(stamps), 9))]
    times = VideoTimes(stamps, keys, float(rng.random()), bool(seed % 2), 1 / 3, 60_000, (70_000, 3), bool(seed % 3))
    found = unpack(pack(times), len(times))
    assert isinstance(found, VideoTimes) and same(found, times)


def test_a_constant_rate_takes_few_bytes(tmp_path: Path) -> None:
    keys, stamps = np.arange(0, 300 * 1001, 12 * 1001), np.arange(300) * 1001
    assert len(pack(VideoTimes(stamps, keys, 1 / 30_000, True))) < 60
    milliseconds = np.round(np.arange(300) * 1001 / 30)
    assert len(pack(VideoTimes(milliseconds.astype(np.int64), milliseconds[::12].astype(np.int64), 1e-3, True))) < 100


def test_a_video_is_scanned_once_and_again_when_its_file_changes(tmp_path: Path, scans: Scans) -> None:
    paths = [str(make_video(tmp_path / f"{name}.mp4", frames=count)) for name, count in (("a", 5), ("b", 7))]
    (tmp_path / "no.mp4").write_bytes(b"no video")
    paths += [str(tmp_path / "no.mp4"), str(tmp_path / "none.mp4")]
    first = index_videos(paths, cache=tmp_path / "cache")
    again = index_videos(paths, cache=tmp_path / "cache")
    assert sorted(scans) == sorted(paths[:3])
    for index in (first, again, pickle.loads(pickle.dumps(again))):
        assert index.num_frames().tolist() == [5, 7, 0, 0] and len(index) == 4
        for place, message in ((2, r"no\.mp4: cannot be read as a video"), (3, r"none\.mp4: no such file")):
            with pytest.raises(FrameError, match=message):
                index[place]
    assert len(pickle.dumps(again)) < 1500
    make_video(tmp_path / "a.mp4", frames=9)
    assert index_videos(paths, cache=tmp_path / "cache").num_frames().tolist() == [9, 7, 0, 0]
    os.utime(paths[1], (5, 5))
    scans.clear()
    index_videos(paths, cache=tmp_path / "cache")
    assert scans == [paths[1]]


def test_copies_of_files_have_the_same_sizes_and_what_was_written_again_has_other_times(
    tmp_path: Path, paths: list[str]
) -> None:
    facts = index_videos(paths, cache=tmp_path / "cache").facts
    assert facts == facts_of(paths) and {len(facts[key]) for key in ("sizes", "times")} == {32}
    copies = [shutil.copy2(path, f"{path}.copy") for path in paths]
    assert facts_of(copies) == facts != facts_of(paths[::-1])
    os.utime(paths[1], (5, 5))
    assert {key for key, value in facts_of(paths).items() if value != facts[key]} == {"times"}
    make_video(tmp_path / "2.mp4", frames=9)
    Path(paths[3]).unlink()
    assert {key for key, value in facts_of(paths).items() if value != facts[key]} == {"sizes", "times"}


def test_of_a_video_in_a_tar_its_own_size_counts_and_the_version_of_the_tar(tmp_path: Path) -> None:
    def packed(*contents: bytes) -> dict[str, str]:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for place, content in enumerate(contents):
                member = tarfile.TarInfo(f"{place}.mp4")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return facts_of(versioned([f"{tmp_path}/a.tar/0.mp4", f"{tmp_path}/none.tar/0.mp4"]))

    one, other, longer = packed(b"one", b"two"), packed(b"one"), packed(b"longer", b"two")
    assert one["sizes"] == other["sizes"] != longer["sizes"] and one["times"] != other["times"]
    assert facts_of(versioned([f"{tmp_path}/none.tar/0.mp4"])) == facts_of(versioned([f"{tmp_path}/none.tar/0.mp4"]))


def test_a_video_is_known_in_every_list(tmp_path: Path, paths: list[str], scans: Scans) -> None:
    index_videos(paths[:2], cache=tmp_path / "cache")
    scans.clear()
    index = index_videos([paths[2], paths[1], paths[2], paths[0]], cache=tmp_path / "cache")
    assert scans == [paths[2]] and index.num_frames().tolist() == [4, 3, 4, 2]
    assert [times.size for times in (index[0], index[1])] == [(64, 96)] * 2 and index[1].every_key


def _cut_off(data: bytearray) -> None:
    del data[-30:]


def _change_a_bit(data: bytearray) -> None:
    data[len(data) * 5 // 8] ^= 4


def _lose_all(data: bytearray) -> None:
    data.clear()


@pytest.mark.parametrize("change", [_cut_off, _change_a_bit, _lose_all])
@pytest.mark.parametrize("ending", [".rows", ".found"])
def test_only_what_is_damaged_is_scanned_again(
    tmp_path: Path, paths: list[str], scans: Scans, ending: str, change: Callable[[bytearray], None]
) -> None:
    index_videos(paths, cache=tmp_path / "cache", threads=1)
    scans.clear()
    (file,) = (tmp_path / "cache").glob(f"*{ending}")
    data = bytearray(file.read_bytes())
    change(data)
    file.write_bytes(data)
    for _ in range(2):
        index = index_videos(paths, cache=tmp_path / "cache", threads=1)
        assert index.num_frames().tolist() == [2, 3, 4, 5] and len(index[3]) == 5
        assert len(scans) == (4 if change is _lose_all else 1)


def test_damage_that_comes_while_a_run_reads_is_a_fault_and_no_frame(tmp_path: Path, paths: list[str]) -> None:
    index = index_videos(paths, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.found")
    with file.open("r+b") as found:
        found.write(b"\xff" * 30)
    faults = 0
    for place, frames in enumerate((2, 3, 4, 5)):
        try:
            assert len(index[place]) == frames
        except FrameError as error:
            faults += "the index of videos is damaged: " in str(error)
    assert faults == 1


def test_a_scan_that_is_interrupted_goes_on_where_it_was(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scanned: list[str] = []

    def until_the_third(path: str) -> VideoTimes:
        if len(scanned) == 2:
            raise KeyboardInterrupt
        scanned.append(path)
        return scan(path)

    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(video_index, "scan", until_the_third)
        patch.setattr(video_index, "SECONDS_TO_FIRST_LINE", -1.0)
        with pytest.raises(KeyboardInterrupt):
            index_videos(paths, cache=tmp_path / "cache", threads=1)
    assert "scanning 4 videos, once; 0 are known" in caplog.text
    assert re.search(r"scanned [12] of 4 videos, .* a second, 1 minute left; 0 cannot be read", caplog.text)
    monkeypatch.setattr(video_index, "scan", lambda path: scanned.append(path) or scan(path))
    index = index_videos(paths, cache=tmp_path / "cache", threads=1)
    assert sorted(scanned) == paths and index.num_frames().tolist() == [2, 3, 4, 5]


SCANNER = """
import sys
from datasets.videos import index
real, said = index.scan, []
def twelve(path):
    if len(said) == 12:
        sys.stdin.readline()
    found = real(path)
    said.append(path)
    print(path, flush=True)
    return found
index.scan = twelve
index.index_videos(sys.argv[2:], cache=sys.argv[1], threads=1)
"""


@pytest.mark.whole
def test_a_scan_that_is_killed_loses_at_most_the_video_that_it_was_at(tmp_path: Path, scans: Scans) -> None:
    paths = [str(tmp_path / f"{number}.mp4") for number in range(40)]
    data = make_video(tmp_path / "v.mp4", frames=3).read_bytes()
    for path in paths:
        Path(path).write_bytes(data)
    said: list[str] = []
    command = [sys.executable, "-c", SCANNER, str(tmp_path / "cache"), *paths]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as scanner:
        assert scanner.stdout is not None
        for line in scanner.stdout:
            said.append(line.strip())
            if len(said) == 12:
                scanner.send_signal(signal.SIGKILL)
    assert len(said) == 12
    with (next((tmp_path / "cache").glob("*.rows"))).open("ab") as rows:
        rows.write(b"half a row")  # what a kill in the middle of a write leaves
    assert index_videos(paths, cache=tmp_path / "cache").num_frames().tolist() == [3] * 40
    twice = set(said) & set(scans)
    assert len(twice) <= 3 and set(said) | set(scans) == set(paths), "two may be under way"
    scans.clear()
    index_videos(paths, cache=tmp_path / "cache")
    assert scans == []


@pytest.mark.whole
def test_processes_that_scan_the_same_list_share_the_work(
    tmp_path: Path, paths: list[str], scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process has scanned the last video while this one scans the first."""
    monkeypatch.setattr(video_index, "SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(np.random, "default_rng", lambda: np.random.Generator(np.random.PCG64(1)))
    real = video_index.scan

    def with_another(path: str) -> VideoTimes:
        if len(scans) == 1:
            lines = "import sys\nfrom datasets.videos.index import index_videos\n"
            lines += "index_videos(sys.argv[2:], cache=sys.argv[1])"
            subprocess.run([sys.executable, "-c", lines, str(tmp_path / "cache"), *paths], cwd=ROOT, check=True)
        return real(path)

    monkeypatch.setattr(video_index, "scan", with_another)
    index = index_videos(paths, cache=tmp_path / "cache", threads=1)
    assert len(scans) <= 3, "two are under way at once"
    assert index.num_frames().tolist() == [2, 3, 4, 5]
    assert len(list((tmp_path / "cache").glob("*.rows"))) == 2, "no two processes write to one file"


def test_threads_of_one_process_do_not_write_at_once(tmp_path: Path, paths: list[str], scans: Scans) -> None:
    both = [threading.Thread(target=index_videos, args=(paths,), kwargs={"cache": tmp_path / "c"}) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(scans) == paths


def test_a_list_may_spell_a_path_in_another_way(tmp_path: Path, scans: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.mp4").write_bytes(b"no video")
    for path in ("no.mp4", "./no.mp4", str(tmp_path / "no.mp4")):
        message = index_videos([path], cache=tmp_path / "cache").errors[0]
        assert message.startswith(f"{path}: cannot be read as a video")
    assert scans == ["no.mp4"]


def test_an_index_that_cannot_be_kept_is_made_all_the_same(
    tmp_path: Path, paths: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    index = index_videos(paths, cache=tmp_path / "file/below")
    assert pickle.loads(pickle.dumps(index)).num_frames().tolist() == [2, 3, 4, 5]
    assert "the next run scans them again" in caplog.text


def test_an_index_without_videos_is_empty(tmp_path: Path) -> None:
    index = index_videos([], cache=tmp_path)
    assert len(index) == 0 and index.num_frames().tolist() == []
    assert index_videos([str(tmp_path / "no.mp4")], cache=tmp_path).errors == {
        0: f"{tmp_path / 'no.mp4'}: no such file"
    }


@pytest.mark.whole
def test_every_video_of_a_large_index_is_found(tmp_path: Path, paths: list[str]) -> None:
    writer, times = video_index.Writer(tmp_path / "cache"), VideoTimes(np.arange(9), np.zeros(1, np.int64), 1.0, True)
    digests = np.random.default_rng(0).integers(0, 256, (10_000, 20), np.uint8)
    for digest in digests:
        writer.add(digest.tobytes(), times)
    writer.close()
    index = index_videos(paths, cache=tmp_path / "cache")
    assert index.num_frames().tolist() == [2, 3, 4, 5]
    scanned, faults = video_index.open_all(tmp_path / "cache")
    assert not faults and scanned.find(digests[::-1]).tolist() == [*range(9_999, -1, -1)]
    assert scanned.find(digests ^ np.uint8(1)).tolist() == [-1] * 10_000
