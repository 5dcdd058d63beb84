"""Tests that a frame whose bytes changed after its checksum was recorded is an error in each store that reads files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import DiskStore, MemcachedStore
from datasets.stores.disk import sums_name
from tests.datasets.conftest import Memcached, write_video
from tests.helpers.dumping import make_job
from tests.helpers.make_video import make_video
from tests.helpers.requirements import needs_program
from tools import check_data
from tools.dumping.flow import FlowJob, FlowSettings, X, dump_flow
from tools.dumping.video import TEMPLATE, dump_video
from utils.errors import FrameError, UserError

FRAMES = 4


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Dumps a video of 4 frames."""
    job = make_job(make_video(tmp_path / "v.mp4", frames=FRAMES), tmp_path / "set")
    assert dump_video(job)["status"] == "ok"
    return job.target


def flip_a_bit(file: Path, place: int, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(bytes(data))


def read(folder: Path, template: str = TEMPLATE) -> list[bytes]:
    return DiskStore(folder.parent, template=template).get_many(folder.name, range(FRAMES - 1))


def test_every_flipped_bit_of_a_dumped_frame_is_an_error(frames: Path) -> None:
    whole, file = read(frames), frames / "img_00002.jpg"
    rng = np.random.default_rng(0)
    for place, bit in zip(rng.integers(0, len(whole[1]), 200), rng.integers(0, 8, 200), strict=True):
        flip_a_bit(file, place, bit)
        with pytest.raises(FrameError, match=r"img_00002\.jpg: damaged or changed \(wrong checksum\)"):
            read(frames)
        assert DiskStore(frames.parent).get_many(frames.name, [0, 2]) == [whole[0], whole[2]]
        flip_a_bit(file, place, bit)
    assert read(frames) == whole


def test_frames_in_each_others_files_are_an_error(frames: Path) -> None:
    first, second = frames / "img_00001.jpg", frames / "img_00002.jpg"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two), second.write_bytes(one)
    with pytest.raises(FrameError, match="img_00001"):
        read(frames)


def test_dumped_flow_has_checksums(frames: Path) -> None:
    job = FlowJob(
        frames, frames.name, "", None, None, FlowSettings(), frames.parent, keep_partial=False,
        template=TEMPLATE, first=1, last=FRAMES, count=FRAMES,
    )  # fmt: skip
    assert dump_flow(job)["status"] == "ok"
    read(frames, X)
    flip_a_bit(frames / "flow_x_00003.jpg", 200, 0)
    with pytest.raises(FrameError, match="flow_x_00003"):
        read(frames, X)
    assert dump_flow(job)["status"] == "ok"
    read(frames, X)


@pytest.mark.memcached
@needs_program("memcached", install="apt-get install memcached")
def test_memcached_is_not_filled_with_a_changed_frame(frames: Path, memcached: Callable[..., Memcached]) -> None:
    store = MemcachedStore(frames.parent, servers=[memcached().address])
    flip_a_bit(frames / "img_00001.jpg", 200, 0)
    for ask in (store.get_many, store.fill):
        with pytest.raises(FrameError, match="wrong checksum"):
            ask(frames.name, [0, 1])
    store.get_many(frames.name, [1])


def test_frames_from_elsewhere_are_read_as_they_are_until_their_checksums_are_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "frames/run/v"
    write_video(video, 0, FRAMES)
    (tmp_path / "train.txt").write_text(f"frames/run/v {FRAMES} 0\n")
    check = [str(tmp_path / "train.txt"), "--root", str(tmp_path), "--workers", "1"]
    flip_a_bit(video / "img_00001.jpg", -3, 0)
    read(video)
    assert check_data.main([*check, "--record-checksums"]) == 0 == check_data.main(check)
    assert (video / sums_name(TEMPLATE)).read_text().count("\n") == 1 + FRAMES
    flip_a_bit(video / "img_00001.jpg", -3, 0)
    with pytest.raises(FrameError, match="--record-checksums"):
        read(video)
    capsys.readouterr()
    assert check_data.main(check) == 2 and "wrong checksum" in capsys.readouterr().out
    assert check_data.main([*check, "--record-checksums"]) == 0 == check_data.main(check)


def test_a_damaged_picture_gets_no_checksum(tmp_path: Path) -> None:
    video = tmp_path / "frames/run/v"
    write_video(video, 0, FRAMES)
    (video / "img_00002.jpg").write_bytes(b"no picture")
    (tmp_path / "train.txt").write_text(f"frames/run/v {FRAMES} 0\n")
    check = [str(tmp_path / "train.txt"), "--root", str(tmp_path), "--workers", "1", "--record-checksums"]
    assert check_data.main(check) == 2
    assert not (video / sums_name(TEMPLATE)).exists()
    with pytest.raises(UserError, match="--quick reads none"):
        check_data.main([*check, "--quick"])


def test_the_file_of_checksums_is_named_after_its_series() -> None:
    names = {template: sums_name(template) for template in (TEMPLATE, X, "{:06d}.png", "rgb/{:d}.jpg")}
    assert list(names.values()) == [".img_.sfv", ".flow_x_.sfv", "..sfv", "rgb/..sfv"]
