"""Tests packs: they have the bytes of the disk, can be continued, and name what is damaged."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import STORES, DiskStore, PackedStore
from datasets.lists.records import read_list
from datasets.stores import packed as packed_store
from datasets.stores.check import check_on_disk
from datasets.stores.pack_writer import PackedVideo, PackWriter, verify
from datasets.stores.packed import Access
from tests.datasets.conftest import write_video
from tests.helpers.run_tool import run_tool
from tools import pack_frames
from utils.config.build import build
from utils.errors import ConfigError, FrameError, ListError, UserError
from utils.flat_file import open_arrays, save_arrays

Frames = Callable[..., Path]
SMALL = 4000  # bytes of a shard: two or three tiny videos


def videos(root: Path, names: list[str], count: int = 3) -> Iterator[PackedVideo]:
    store = DiskStore(root)
    for name in names:
        yield PackedVideo(name, store.get_many(name, range(count)), 1)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for video in range(7):
        write_video(tmp_path / f"frames/v{video}", video, 3)
    return tmp_path / "frames"


NAMES = [f"v{video}" for video in range(7)]


def pack(frames: Path, out: Path, names: list[str] = NAMES) -> PackedStore:
    writer = PackWriter(out, shard_bytes=SMALL)
    list(writer.write(videos(frames, [name for name in names if not writer.has(name, 3, 1)])))
    assert writer.merge(names) == len(names)
    return PackedStore(out, folder=out)


@pytest.mark.parametrize("access", ["pread", "mmap"])
def test_a_pack_has_the_bytes_of_the_disk(
    frames: Path, tmp_path: Path, access: Access, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packed_store, "_OPEN_SHARDS", 2)
    pack(frames, tmp_path / "pack")
    store, disk = PackedStore("", folder=tmp_path / "pack", access=access), DiskStore(frames)
    assert len(list((tmp_path / "pack").glob("*.bin"))) > 2
    for copy in (store, pickle.loads(pickle.dumps(store))):
        assert copy.access == access
        for name in NAMES:
            assert copy.num_frames(name) == 3
            assert copy.get_many(name, [2, 0, 2]) == disk.get_many(name, [2, 0, 2])
    assert store.num_frames("v9") == -1 and store.stats() == {} and len(store) == 7


def test_the_contents_of_packs_are_those_of_their_frames_however_they_are_packed(frames: Path, tmp_path: Path):
    one, other = pack(frames, tmp_path / "one"), pack(frames, tmp_path / "other", NAMES[2::-1])
    assert one.contents(NAMES[:3]) == other.contents(NAMES[:3]) != one.contents(NAMES[1:4])
    assert one.contents(NAMES[:3]) != one.contents([NAMES[1], NAMES[0], NAMES[2]])
    first, second = (frames / "v1" / f"img_{number:05d}.jpg" for number in (1, 2))
    first.rename(frames / "kept")
    second.rename(first)
    (frames / "kept").rename(second)
    assert pack(frames, tmp_path / "turned").contents(NAMES[:3]) != one.contents(NAMES[:3])
    assert other.contents(["v9"]) != other.contents([])


def test_paths_of_any_kind(tmp_path: Path):
    names = ["a b", "视频/舞", os.fsdecode(b"caf\xe9"), "x" * 200]
    for number, name in enumerate(names):
        write_video(tmp_path / "frames" / name, number, 3)
    store = pack(tmp_path / "frames", tmp_path / "pack", names)
    for name in names:
        assert store.get_many(name, [1]) == DiskStore(tmp_path / "frames").get_many(name, [1])


def test_a_pack_has_its_videos_in_either_form_of_unicode(tmp_path: Path):
    forms = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    for one, other in (forms, forms[::-1]):
        write_video(tmp_path / "frames" / one, 1, 3)
        (tmp_path / "list.txt").write_text(f"{other} 3 0\n")
        out = tmp_path / f"pack of {len(one)}"
        arguments = [str(out), str(tmp_path / "list.txt"), "--root", str(tmp_path / "frames"), "--workers", "1"]
        assert pack_frames.main(arguments) == 0
        store = PackedStore("", folder=out)
        assert store.num_frames(one) == store.num_frames(other) == 3
        shutil.rmtree(tmp_path / "frames" / one)


def test_what_is_not_there_is_named(frames: Path, tmp_path: Path):
    store = pack(frames, tmp_path / "pack")
    with pytest.raises(FrameError, match=r"'v9' is not in this pack; run tools/pack_frames.py"):
        store.get_many("v9", [0])
    with pytest.raises(FrameError, match=r"shard_00000.bin: 'v0', frame index 3: the pack has 3 frames"):
        store.get_many("v0", [3])
    with pytest.raises(FrameError, match="there is no finished pack"):
        PackedStore("", folder=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"common.data.store.access: should be 'pread' or 'mmap', but is 'read'"):
        build(
            STORES, "packed", {"folder": str(tmp_path / "pack"), "access": "read"}, where="common.data.store", root=""
        )
    about, arrays = open_arrays(tmp_path / "pack/index.flat")
    save_arrays(tmp_path / "pack/index.flat", about | {"format": 99}, {k: v.copy() for k, v in arrays.items()})
    with pytest.raises(FrameError, match=r"has format 99, but this version reads format 1; pack again"):
        PackedStore("", folder=tmp_path / "pack")
    (tmp_path / "pack/index.flat").write_bytes(b"rubbish" * 20)
    with pytest.raises(FrameError, match="cannot be read"):
        PackedStore("", folder=tmp_path / "pack")


@pytest.mark.parametrize("access", ["pread", "mmap"])
def test_a_damaged_frame_is_a_fault_and_verify_names_its_video(frames: Path, tmp_path: Path, access: Access):
    pack(frames, tmp_path / "pack")
    store = PackedStore("", folder=tmp_path / "pack", access=access)
    file = tmp_path / "pack/shard_00000.bin"
    data = bytearray(file.read_bytes())
    size = (frames / "v0/img_00001.jpg").stat().st_size
    data[size + 10] ^= 1  # in the second frame of the first video
    file.write_bytes(data)
    assert store.get_many("v0", [0]) and store.get_many("v1", [1])
    with pytest.raises(FrameError, match=r"shard_00000.bin: 'v0', frame index 1: damaged \(wrong checksum\)"):
        store.get_many("v0", [1])
    bad = {name: damaged for name, _, damaged in verify(tmp_path / "pack") if damaged}
    assert bad == {"shard_00000.bin": [("v0", [1])]}


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_shard_that_is_not_whole_names_its_videos_and_is_packed_again(frames: Path, tmp_path: Path, how: str):
    pack(frames, tmp_path / "pack")
    file = tmp_path / "pack/shard_00000.bin"
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    with pytest.raises(
        FrameError, match=r"shard_00000.bin: .*(instead of|is missing).*; it holds \d videos: 'v0', 'v1'"
    ):
        PackedStore("", folder=tmp_path / "pack")
    named = [name for _, _, damaged in verify(tmp_path / "pack") for name, _ in damaged]
    assert "v0" in named if how == "gone" else named
    store = pack(frames, tmp_path / "pack")
    assert store.get_many("v0", [2]) == DiskStore(frames).get_many("v0", [2])


def test_a_stopped_run_goes_on_after_its_whole_shards(frames: Path, tmp_path: Path):
    writer = PackWriter(tmp_path / "pack", shard_bytes=SMALL)

    def stops() -> Iterator[PackedVideo]:
        yield from videos(frames, NAMES[:5])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(writer.write(stops()))
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "pack").glob("*.bin")}
    assert kept and not list((tmp_path / "pack").glob("*.tmp"))
    store = pack(frames, tmp_path / "pack")
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    for name in NAMES:
        assert store.get_many(name, [1]) == DiskStore(frames).get_many(name, [1])


def test_a_torn_shard_of_a_killed_run_is_swept_away(frames: Path, tmp_path: Path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/shard_00000.bin.tmp").write_bytes(b"torn")
    (tmp_path / "pack/shard_00000.bin").write_bytes(b"no idx yet")
    store = pack(frames, tmp_path / "pack")
    assert store.get_many("v0", [1]) == DiskStore(frames).get_many("v0", [1])


def test_a_full_disk_keeps_whole_shards_and_says_so(frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer = PackWriter(tmp_path / "pack", shard_bytes=SMALL)
    real, written = os.fsync, []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"pack: the disk is full after \d complete shards; free some space and run the same"
    ):
        list(writer.write(videos(frames, NAMES)))
    monkeypatch.setattr(os, "fsync", real)
    assert not list((tmp_path / "pack").glob("*.tmp"))
    store = pack(frames, tmp_path / "pack")
    assert store.get_many("v6", [1]) == DiskStore(frames).get_many("v6", [1])


def test_the_disk_check_looks_into_the_pack(frames: Path, tmp_path: Path):
    store = pack(frames, tmp_path / "pack")
    source = tmp_path / "list.txt"
    source.write_text("v0 3 0\nv1 4 0\n")
    with pytest.raises(ListError, match=r"list.txt:2: 'v1' has 3 frames in the pack .*, but 4 in the list"):
        check_on_disk(read_list(source), store)
    source.write_text("v0 3 0\n\nv8 3 0\n")
    with pytest.raises(ListError, match=r"list.txt:3: 'v8' is not in the pack"):
        check_on_disk(read_list(source), store)
    source.write_text("v0 3 0\nv6 2 0\n")
    assert check_on_disk(read_list(source), store) == 2


def test_the_tool_packs_lists_resumes_and_verifies(tiny_frames: Frames, tmp_path: Path, capsys: pytest.CaptureFixture):
    source, root, out = tiny_frames(5, 2, 9), tmp_path / "frames", tmp_path / "pack"
    arguments = [str(out), str(source), "--root", str(root), "--shard-mb", "0.004"]
    assert pack_frames.main(arguments) == 0
    assert "3 videos packed, 3 of them now, 0 failed" in capsys.readouterr().out
    assert pack_frames.main(arguments) == 0
    assert "3 videos packed, 0 of them now" in capsys.readouterr().out
    store = PackedStore(root, folder=out)
    for video, count in enumerate((5, 2, 9)):
        assert store.get_many(f"v{video}", range(count)) == DiskStore(root).get_many(f"v{video}", range(count))
    assert pack_frames.main([str(out), "--verify"]) == 0
    # a video that was dumped again is packed again
    (root / "v1").rename(tmp_path / "old")
    write_video(root / "v1", 6, 2)
    assert pack_frames.main(arguments) == 0
    assert "3 videos packed, 1 of them now" in capsys.readouterr().out
    assert PackedStore(root, folder=out).get_many("v1", [0]) == DiskStore(root).get_many("v1", [0])
    # so is one whose frames were overwritten, which leaves the time of their folder as it is
    before, frames = (root / "v0").stat().st_mtime_ns, sorted((root / "v0").iterdir())
    for frame in frames:
        frame.write_bytes((root / "v1/img_00001.jpg").read_bytes())
    later = (out / "shard_00000.idx").stat().st_mtime_ns + 10**9
    os.utime(frames[0], ns=(later, later))
    assert (root / "v0").stat().st_mtime_ns == before
    assert pack_frames.main(arguments) == 0
    assert "3 videos packed, 1 of them now" in capsys.readouterr().out
    assert PackedStore(root, folder=out).get_many("v0", [4]) == DiskStore(root).get_many("v0", [4])
    # a video with a missing frame fails, and the others are packed
    (root / "v2/img_00009.jpg").unlink()
    os.utime(root / "v2", (1, 1))
    os.utime(frames[0], (1, 1))
    assert pack_frames.main(arguments) == 1
    captured = capsys.readouterr()
    assert "img_00009.jpg: frame not found" in captured.err and "2 videos packed" in captured.out
    (out / "shard_00000.bin").write_bytes(b"x" * (out / "shard_00000.bin").stat().st_size)
    assert pack_frames.main([str(out), "--verify"]) == 1
    assert "v0: 5 frames damaged (indices 0, 1, 2, 3, 4)" in capsys.readouterr().out


def pack_again(arguments: list[str], capsys: pytest.CaptureFixture) -> int:
    """Packs, and returns how many videos were packed."""
    assert pack_frames.main(arguments) == 0
    return int(capsys.readouterr().out.split(" packed, ")[1].split()[0])


def test_any_frame_that_was_replaced_is_packed_again_whatever_its_time_is(
    tiny_frames: Frames, tmp_path: Path, capsys: pytest.CaptureFixture
):
    source, root, out = tiny_frames(5, 2), tmp_path / "frames", tmp_path / "pack"
    arguments = [str(out), str(source), "--root", str(root)]
    assert pack_again(arguments, capsys) == 2
    folder, middle = (root / "v0").stat(), root / "v0/img_00003.jpg"
    for change in (lambda: os.utime(middle, (9, 9)), lambda: shutil.copyfile(root / "v1/img_00001.jpg", middle)):
        change()
        os.utime(middle, (9, 9))  # as of a copy that keeps its time
        assert (root / "v0").stat().st_mtime_ns == folder.st_mtime_ns
        assert pack_again(arguments, capsys) == 1 and pack_again(arguments, capsys) == 0
    assert PackedStore(root, folder=out).get_many("v0", range(5)) == DiskStore(root).get_many("v0", range(5))


def test_what_an_older_version_has_packed_is_packed_again_only_where_a_frame_is_newer(
    tiny_frames: Frames, tmp_path: Path, capsys: pytest.CaptureFixture
):
    source, root, out = tiny_frames(5, 2), tmp_path / "frames", tmp_path / "pack"
    arguments = [str(out), str(source), "--root", str(root)]
    pack_again(arguments, capsys)
    file = out / "shard_00000.idx"
    about, arrays = open_arrays(file)
    folders = np.array([(root / name).stat().st_mtime_ns for name in ("v0", "v1")], np.int64)
    arrays = {name: array.copy() for name, array in arrays.items()} | {"stamps": folders}
    save_arrays(file, {key: about[key] for key in ("format", "bytes")}, arrays)
    assert pack_again(arguments, capsys) == 0
    later = file.stat().st_mtime_ns + 10**9
    os.utime(root / "v0/img_00003.jpg", ns=(later, later))
    assert pack_again(arguments, capsys) == 1 and pack_again(arguments, capsys) == 0


def test_the_tool_refuses_wrong_input_in_one_line(tiny_frames: Frames, tmp_path: Path):
    source = tiny_frames(2)
    assert "--root is missing" in run_tool("pack_frames", tmp_path / "pack", source, code=2).stderr
    done = run_tool("pack_frames", tmp_path / "pack", "--verify", code=2)
    assert done.stderr.count("\n") == 1 and "no such folder" in done.stderr


def _rewritten(pack: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    about, arrays = open_arrays(pack / "index.flat")
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(about, arrays)
    save_arrays(pack / "index.flat", about, arrays)


NONSENSE: dict[str, Callable[[dict[str, Any], dict[str, np.ndarray]], object]] = {
    "another file": lambda about, arrays: about["shards"][0].update(name="../../etc/passwd"),
    "no name": lambda about, arrays: about["shards"][0].pop("name"),
    "no shards": lambda about, arrays: about.pop("shards"),
    "shards of text": lambda about, arrays: about.update(shards="abc"),
    "a shard too many": lambda about, arrays: arrays["video_shard"].fill(9),
    "a video too many": lambda about, arrays: arrays["hash_order"].fill(99),
    "a path outside": lambda about, arrays: arrays["path_offsets"].fill(10**6),
    "frames outside": lambda about, arrays: arrays["video_first"].fill(10**6),
    "before the file": lambda about, arrays: arrays["video_start"].fill(-1),
    **{
        f"without {name}": lambda about, arrays, name=name: arrays.pop(name)
        for name in ("paths", "hash", "hash_order", "video_shard", "video_start", "video_first", "frame_size")
    },
    "fewer sums": lambda about, arrays: arrays.update(frame_sum=arrays["frame_sum"][:-1]),
}


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE)
def test_an_index_that_makes_no_sense_is_an_error_that_says_what_to_do(
    frames: Path, tmp_path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]
) -> None:
    pack(frames, tmp_path / "pack")
    _rewritten(tmp_path / "pack", change)
    with pytest.raises(FrameError, match=r"index.flat: cannot be read .*; run tools/pack_frames.py again"):
        PackedStore(tmp_path, folder=tmp_path / "pack")


def test_a_changed_bit_of_an_index_is_an_error_and_one_of_a_shard_packs_it_again(
    frames: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack(frames, tmp_path / "pack")
    for name in ("index.flat", "shard_00000.idx"):
        file = tmp_path / "pack" / name
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(FrameError, match=r"index.flat: cannot be read .*damaged"):
        PackedStore("", folder=tmp_path / "pack")
    with pytest.raises(UserError, match=r"shard_00000.idx: cannot be read .*damaged"):
        list(verify(tmp_path / "pack"))
    assert pack(frames, tmp_path / "pack").get_many("v0", [1]) == DiskStore(frames).get_many("v0", [1])
    assert "shard_00000.idx: incomplete or damaged; its videos are packed again" in caplog.text
    assert not any(bad for _, _, bad in verify(tmp_path / "pack"))
