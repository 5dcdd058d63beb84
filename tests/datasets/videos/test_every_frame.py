"""Every frame is the frame: videos whose frames show their number, in all containers and codecs, through every reader.

What is asked for comes, or an error. A frame of another moment fails these tests, whatever its time stamp says.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from datasets import VideoDataset
from datasets.labeled_videos import LabeledVideoDataset, make_clip_sampler
from datasets.lists.records import RecordList, read_list
from datasets.videos import reader as video_reader
from datasets.videos.container import opened
from datasets.videos.reader import READERS, find_reader, read_any, read_pyav, read_torchcodec
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.video import Video
from datasets.windows import cut_video
from tests.helpers.dumping import images, make_job
from tests.helpers.make_video import make_video
from tests.helpers.numbered import COUNT, KINDS, RATE, number_of, write_numbered, write_numbers
from tests.helpers.protocol import for_testing
from tests.helpers.requirements import needs_torchcodec
from tools.dumping.video import dump_video
from tools.inference.inputs import open_input
from utils.clip_spec import ClipSpec
from utils.errors import FrameError
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip

HAS_TORCHCODEC = importlib.util.find_spec("torchcodec") is not None and find_reader("auto") is read_any
# what torchcodec has to be able to read: common files, so that "or an error" is no way out
COMMON = (
    "b_frames.mp4",
    "no_b_frames.mp4",
    "hevc.mp4",
    "b_frames.mkv",
    "vp8.webm",
    "vp9.webm",
    "b_frames.mov",
    "vfr.mp4",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numbered")


def first_number(name: str) -> int:
    """The edit list of one file leaves its first seven frames out."""
    return 7 if name == "edit_list.mp4" else 0


def records_of(path: Path, tmp_path: Path) -> RecordList:
    (tmp_path / "list.txt").write_text(f"{path.name} 0\n")
    return read_list(tmp_path / "list.txt", root=path.parent, columns=("label",))


@pytest.mark.alike
@pytest.mark.parametrize("name", KINDS)
def test_the_frame_that_is_asked_for_comes(name: str, folder: Path) -> None:
    path, first = write_numbered(folder, name), first_number(name)
    video = Video(path)
    assert [number_of(picture) for _, picture in video.frames()] == [*range(first, first + COUNT)]
    assert video.errors == []
    times = scan(path)
    assert len(times) == COUNT and (times.stamps == video.info.times.stamps).all()
    refused = 0
    singles = [[index] for index in (*range(0, COUNT, 4), COUNT - 1)]
    for reader in READERS if HAS_TORCHCODEC else ("pyav",):
        for indices in (*singles, [33, 2, 2], [11, 12, 13], [*range(COUNT)]):
            try:
                pictures = READERS[reader](path, times, np.array(indices))
            except FrameError:
                assert reader == "torchcodec" and name not in COMMON, "PyAV reads all of them"
                refused += 1
                continue
            assert [number_of(picture) for picture in pictures] == [first + index for index in indices], reader
    assert refused <= len(singles) + 3


@pytest.mark.alike
@pytest.mark.parametrize("name", KINDS)
def test_every_user_of_videos_sees_the_same_frames(name: str, folder: Path, tmp_path: Path) -> None:
    path, first = write_numbered(folder, name), first_number(name)
    whole, (height, width) = range(first, first + COUNT), next(iter(Video(path).frames()))[1].shape[:2]

    entry = dump_video(make_job(path, tmp_path, size=(0, 0)))
    assert (entry["status"], entry["frames"], entry["decoder"]) == ("ok", COUNT, "pyav")
    assert [number_of(image) for image in images(tmp_path / "frames" / path.stem)] == [*whole]

    records = records_of(path, tmp_path)
    protocol = for_testing(ClipSpec(5, 1, "segments"), CutClip(TestCrops(None), (height, width)))
    middles = [first + 8 * segment + 4 for segment in range(5)]
    for decoder in ("pyav", "auto"):
        dataset = VideoDataset(records, protocol, decoder=decoder, cache=tmp_path)  # type: ignore[arg-type]
        sample = dataset[0]
        assert sample["fault"] == "" and [number_of(picture) for picture in sample["clips"][0]] == middles

    source = open_input(path)
    (window,) = cut_video(protocol, source.frames(), num_frames=source.num_frames, fps=source.fps, slide=False)
    assert [number_of(picture) for picture in window.views[0]] == middles

    clips = LabeledVideoDataset([(str(path), {})], make_clip_sampler("uniform", 8 / RATE), cache=tmp_path)
    if "vfr" not in name:
        shown = torch.cat([clip["video"] for clip in clips], dim=1).permute(1, 2, 3, 0).numpy()
        assert [number_of(picture) for picture in shown] == [*whole]


@pytest.mark.alike
@pytest.mark.parametrize("name", KINDS)
def test_what_is_skipped_changes_no_bit_of_what_is_read(name: str, folder: Path) -> None:
    path = write_numbered(folder, name)
    times, every = scan(path), [picture for _, picture in Video(path).frames()]
    rng = np.random.default_rng(len(name))
    for count in (1, 2, 3, 5, 8, 13, 21):
        indices = rng.integers(0, COUNT, count)
        for index, picture in zip(indices, read_pyav(path, times, indices), strict=True):
            assert (picture == every[index]).all(), indices


@pytest.mark.alike
@pytest.mark.parametrize("name", ["av1_pyramid.mp4", *(n for n in KINDS if n.endswith(("mp4", "mkv", "webm", "mov")))])
def test_decoding_begins_once_for_each_group(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going back to earlier key frames would give the right frame, too, but takes far longer."""
    monkeypatch.setitem(KINDS, "av1_pyramid.mp4", ("libsvtav1", {"g": "32", "crf": "8", "preset": "8"}))
    times = scan(write_numbered(folder, name))
    asked: list[list[int]] = []
    real = video_reader._from_key

    def counted(*given: Any) -> video_reader.Found:
        asked.append(given[3])
        return real(*given)

    monkeypatch.setattr(video_reader, "_from_key", counted)
    rng = np.random.default_rng(1)
    for count in (1, 3, 3, 8) if times.seekable else ():
        indices = np.unique(rng.integers(0, COUNT, count))
        groups = np.unique(np.searchsorted(times.keys, times.stamps[indices], side="right")) - 1
        asked.clear()
        read_pyav(folder / name, times, indices)
        assert asked == groups.tolist()


def test_frames_that_no_other_is_made_from_are_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = VideoTimes.position_of
    monkeypatch.setattr(VideoTimes, "position_of", lambda self, stamp: decoded.append(stamp) or real(self, stamp))
    for name in ("b_frames.mp4", "hevc.mp4", "mpeg4.mp4", "b_frames.mkv", "mpeg2.mkv"):
        path = write_numbered(folder, name)
        times = scan(path)
        key = int(np.searchsorted(times.stamps, times.keys[1]))
        for wanted, most in ((key, 1), (key + 9, 9)):
            decoded.clear()
            assert number_of(read_pyav(path, times, np.array([wanted]))[0]) == wanted
            assert len(decoded) <= most, name


def test_a_key_frame_that_does_not_give_its_picture_alone_is_no_place_to_begin(folder: Path) -> None:
    times = scan(write_numbered(folder, "intra_refresh.mp4"))
    assert times.seekable and len(times.keys) == 1 and not times.every_key
    assert len(scan(write_numbered(folder, "b_frames.mp4")).keys) > 3


@needs_torchcodec
def test_a_decoder_that_gives_another_frame_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchcodec.decoders import VideoDecoder

    path = write_numbered(folder, "b_frames.mp4")
    times, asked = scan(path), VideoDecoder.get_frames_at
    monkeypatch.setattr(VideoDecoder, "get_frames_at", lambda self, indices: asked(self, [n + 1 for n in indices]))
    with pytest.raises(FrameError, match="torchcodec gives another frame than number 3; use decoder: auto or pyav"):
        read_torchcodec(path, times, np.array([3]))
    assert number_of(read_any(path, times, np.array([3]))[0]) == 3


def test_stamps_that_are_not_those_of_the_frames_are_an_error_and_not_another_frame(folder: Path) -> None:
    path = write_numbered(folder, "b_frames.mkv")
    times = scan(path)
    wrong = replace(times, stamps=times.stamps + 1)
    with pytest.raises(FrameError, match="its frames come at other times than its packets say"):
        read_pyav(path, wrong, np.array([5]))


def test_a_picture_that_the_decoder_has_painted_over_is_an_error(folder: Path, tmp_path: Path) -> None:
    sound = write_numbered(folder, "b_frames.mp4")
    times, indices, data = scan(sound), np.arange(3, COUNT, 5), sound.read_bytes()
    expected = np.stack(read_pyav(sound, times, indices)).astype(int)
    begin, end = data.index(b"mdat") + 4, data.rindex(b"moov") - 4
    silent, refused = [], 0
    for seed in range(20):
        rng, damaged = np.random.default_rng(seed), bytearray(data)
        for place in rng.integers(begin, end, 4):
            damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "v.mp4").write_bytes(damaged)
        try:
            found = np.stack(read_pyav(tmp_path / "v.mp4", times, indices)).astype(int)
        except FrameError as error:
            refused += str(error).startswith(str(tmp_path / "v.mp4"))
            continue
        silent += [seed] if np.abs(found - expected).max() > 20 else []
    assert len(silent) <= 1 and refused > 10  # a changed bit can make another video that is as valid


def test_the_damaged_frame_is_named_and_not_a_sound_one_of_the_same_key_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", "libx264", frames=40, g="40", bf="0")
    with av.open(str(path)) as container:
        middle = [packet for packet in container.demux(video=0) if packet.pos][20]
        place = middle.pos + middle.size // 2  # type: ignore[operator]
    data = bytearray(path.read_bytes())
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    times = scan(path)
    assert len(read_pyav(path, times, np.array([5]))) == 1
    for wanted in ([35], [5, 35]):
        with pytest.raises(FrameError, match="frame index 35 of 40 is damaged"):
            read_pyav(path, times, np.array(wanted))


def test_a_file_stays_open_for_the_next_sample_and_another_one_in_its_place_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "v.mp4", []
    real = video_reader.opened
    monkeypatch.setattr(video_reader, "opened", lambda path, **how: opened.append(path) or real(path, **how))
    for first in (0, 50):
        write_numbers(tmp_path / "new.mp4", "libx264", g="12", first=first)
        (tmp_path / "new.mp4").replace(path)
        times = scan(path)
        for index in (30, 3, 39, 12):
            assert number_of(read_pyav(path, times, np.array([index]))[0]) == first + index
        if hasattr(os, "fork"):
            with multiprocessing.get_context("fork").Pool(1) as pool:
                assert number_of(pool.apply(read_pyav, (path, times, np.array([7])))[0]) == first + 7
            assert number_of(read_pyav(path, times, np.array([20]))[0]) == first + 20
    assert opened == [path] * 2
    path.unlink()
    with pytest.raises(FrameError, match="no such file"):
        read_pyav(path, times, np.array([3]))


def test_no_picture_is_decoded_to_open_a_file_that_was_scanned(folder: Path) -> None:
    path = write_numbered(folder, "b_frames.mp4")
    for known in (False, True):
        with opened(path, known=known) as (_, stream):
            assert (stream.codec_context.format is None) == known


def test_a_scanned_file_that_does_not_say_how_frames_are_reordered_gives_them_in_order(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "v.mp4", "libx264", g="12", b="400k", bf="3")
    data = bytearray(path.read_bytes())
    begin = data.index(b"avcC") + 12
    parameters = data[begin : begin + int.from_bytes(data[begin - 2 : begin], "big")]
    # bitstream_restriction: present, over borders, 0, 0, 9, 9, then how many frames are reordered
    place = "".join(f"{byte:08b}" for byte in parameters).rindex("1111" + "0001010" * 2)
    data[begin + place // 8] ^= 0x80 >> place % 8
    path.write_bytes(data)
    times = scan(path)
    for wanted in ([5, 7, 30], [*range(COUNT)]):
        assert [number_of(picture) for picture in read_pyav(path, times, np.array(wanted))] == wanted


@pytest.mark.parametrize("name", ["open_gop.mp4", "hevc_open_gop.mkv", "interlaced.mp4", "intra_refresh.mp4"])
def test_a_whole_video_is_read_from_its_key_frames_on(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(folder, name)
    monkeypatch.setattr("datasets.videos.reader._from_start", lambda *_: pytest.fail("it was read from its start"))
    for index in range(1, COUNT, 3):
        assert number_of(read_pyav(path, scan(path), np.array([index]))[0]) == index
