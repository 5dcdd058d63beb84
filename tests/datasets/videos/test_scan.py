"""Tests what a scan finds out about odd files, and that every reader and tool agrees on it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from datasets.labeled_videos import Kinetics, make_clip_sampler
from datasets.videos.reader import find_reader, read_pyav
from datasets.videos.scan import scan
from datasets.videos.video import Video
from tests.helpers.dumping import images, make_job
from tests.helpers.make_video import make_video
from tests.helpers.numbered import (
    MPEG2,
    RATE,
    X264,
    number_of,
    paint,
    write_late_numbers,
    write_numbered,
    write_numbers,
)
from tools.dumping.video import Job, Settings, dump_video
from tools.inference.inputs import open_input
from utils.errors import FrameError

HALVES = {"count": 20}, {"first": 20, "count": 20}


def joined(path: Path, codec: str, one: dict[str, Any], two: dict[str, Any]) -> Path:
    """Two files of the same kind as one, as `cat` joins them."""
    parts = [write_numbers(path.with_name(f"{n}{path.name}"), codec, **given) for n, given in enumerate((one, two))]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def remuxed(path: Path, target: Path, change: Callable[[int, av.Packet], bool]) -> Path:
    """Copies the packets that `change` returns True for, after it has changed them."""
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for count, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size and change(count, packet):
                packet.stream = stream
                output.mux(packet)
    return target


def read_numbers(path: Path, indices: list[int]) -> list[int]:
    return [number_of(picture) for picture in read_pyav(path, scan(path), np.array(indices))]


def dumped(path: Path, out: Path, start: float | None = None, end: float | None = None, **settings: Any) -> list[int]:
    job = Job(path, f"frames/{path.stem}", "", start, end, Settings(size=(0, 0), **settings), out, keep_partial=False)
    entry = dump_video(job)
    assert entry["status"] == "ok", entry["errors"]
    return [number_of(image) for image in images(job.target)]


@pytest.mark.parametrize("name", ["joined.mpg", "joined.vob"])
def test_stamps_that_start_again_are_counted_and_nothing_gets_lost(name: str, tmp_path: Path) -> None:
    path = joined(tmp_path / name, "mpeg2video", *({**MPEG2, "bf": "2", **half} for half in HALVES))
    video = Video(path)
    times, numbers = zip(*((time, number_of(picture)) for time, picture in video.frames()), strict=True)
    assert numbers == tuple(range(40)) and times == pytest.approx(np.arange(40) / RATE)
    assert video.info.notes == ["the time stamps of its frames do not increase, so they are counted, 25 a second"]
    assert read_numbers(path, [0, 19, 20, 33]) == [0, 19, 20, 33]
    assert dumped(path, tmp_path / "rate", fps=25.0) == [*range(40)]
    assert dumped(path, tmp_path / "cut", 0.72, 1.0) == [*range(18, 25)]
    assert scan(path).frames_between(0.72, 1.0) == (18, 25)


def test_a_transport_stream_with_a_break_is_refused_by_everybody(tmp_path: Path) -> None:
    path = joined(tmp_path / "joined.ts", "mpeg2video", *({**MPEG2, "bf": "2", **half} for half in HALVES))
    said = "the container marks a packet as damaged or cut off, as where files were joined"
    with pytest.raises(FrameError, match=said):
        scan(path)
    assert dump_video(make_job(path, tmp_path / "set"))["errors"] == [said]
    partial = make_job(path, tmp_path / "set", keep_partial=True, fps=25.0, size=(0, 0))
    assert dump_video(partial)["status"] == "partial"
    assert [number_of(image) for image in images(partial.target)] == [*range(40)]


def test_matroska_files_with_the_stamps_of_decoding_are_not_believed(tmp_path: Path) -> None:
    """Some programs write the order of decoding as times, as AVI has it."""
    source = write_numbers(tmp_path / "a.mp4", "libx264", **X264, bf="3")

    def in_order(count: int, packet: av.Packet) -> bool:
        packet.pts = packet.dts = count * int(1 / RATE / packet.time_base)
        return True

    path = remuxed(source, tmp_path / "a.mkv", in_order)
    assert read_numbers(path, [0, 5, 17, 24, 39]) == [0, 5, 17, 24, 39]
    assert [number_of(picture) for _, picture in Video(path).frames()] == [*range(40)]


@pytest.mark.parametrize("target", ["cut.mkv", "cut.ts"])
def test_a_recording_that_begins_in_the_middle_of_a_group_has_the_frames_that_can_be_decoded(
    target: str, tmp_path: Path
) -> None:
    source = write_numbers(tmp_path / "a.ts", "libx264", **X264, bf="2")
    path = remuxed(source, tmp_path / target, lambda count, packet: count > 4)
    shown = [number_of(picture) for _, picture in Video(path).frames()]
    times = scan(path)
    assert shown[-1] == 39 and len(times) == len(shown) > 25
    pictures = read_pyav(path, times, np.arange(len(times)))
    assert [number_of(picture) for picture in pictures] == shown


def test_seconds_count_from_the_start_of_the_file_and_not_of_its_first_picture(tmp_path: Path) -> None:
    path = write_late_numbers(tmp_path / "late.mp4")
    assert scan(path).begins == pytest.approx(1, abs=0.07)  # the first block of AAC is before the start
    assert next(iter(Video(path).frames()))[0] == scan(path).begins
    assert dumped(path, tmp_path / "set", 1.4, 1.6) == pytest.approx([*range(10, 15)], abs=1)
    first, last = scan(path).frames_between(1.4, 1.6)
    assert read_numbers(path, [*range(first, last)]) == dumped(path, tmp_path / "again", 1.4, 1.6)
    assert dumped(path, tmp_path / "rate", fps=25.0) == [*range(40)]


def test_a_picture_is_not_repeated_for_an_hour(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "gap.mkv", "libx264", **X264, times=lambda number: number + 90_000 * (number > 7))
    job = make_job(path, tmp_path / "set", fps=10.0)
    entry = dump_video(job)
    assert entry["status"] == "failed" and not job.target.exists()
    assert entry["errors"] == [
        "nothing new is shown from 0.28 to 3600.32 s, and 10 pictures a second would repeat it; its times may "
        "be wrong: cut the video there, or dump it without --fps"
    ]
    assert dumped(path, tmp_path / "all") == [*range(40)]


def two_sizes(path: Path) -> Path:
    small, large = ({**MPEG2, **half, "size": size} for half, size in zip(HALVES, ((128, 96), (160, 96)), strict=True))
    return joined(path, "mpeg2video", small, large)


def two_sizes_in_one_track(path: Path) -> Path:
    """Motion JPEG, where every frame can be decoded alone, so that nobody looks at all of them beforehand."""
    parts = [
        write_numbers(path.with_name(f"{width}.mkv"), "mjpeg", pix_fmt="yuvj420p", size=(width, 96), count=20)
        for width in (128, 160)
    ]
    with av.open(str(path), "w") as output:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + 800 * number
                        packet.stream = stream
                        output.mux(packet)
    return path


@pytest.mark.parametrize(("make", "name"), [(two_sizes, "a.mpg"), (two_sizes_in_one_track, "a.mkv")])
def test_a_picture_that_changes_its_size_is_a_fault_for_everybody(
    make: Callable[[Path], Path], name: str, tmp_path: Path
) -> None:
    path = make(tmp_path / name)
    said = r"the size of the picture changes within the video: \[\(96, 128\), \(96, 160\)\]"
    for read in (read_pyav, find_reader("auto")):
        with pytest.raises(FrameError, match=said):
            read(path, scan(path), np.array([30]))
    entry = dump_video(make_job(path, tmp_path / "set"))
    assert entry["status"] == "failed" and "the size of the picture changes" in entry["errors"][0]
    source = open_input(path)
    assert sum(1 for _ in source.frames()) >= 39  # FFmpeg's MPEG-2 decoder drops one where the size changes
    assert any("the size of the picture changes" in warning for warning in source.warnings)


def test_sound_with_a_cover_picture_is_no_video_and_a_cover_is_not_the_video(tmp_path: Path) -> None:
    for name, videos in (("sound.mp4", 0), ("both.mp4", 1)):
        with av.open(str(tmp_path / name), "w") as output:
            sound, cover = output.add_stream("aac", rate=16000), output.add_stream("mjpeg", rate=RATE)
            cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            block.sample_rate = 16000
            video = output.add_stream("libx264", rate=RATE) if videos else None
            if video is not None:
                video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            picture.pts = 0
            output.mux([*cover.encode(picture), *cover.encode(None)])
            output.mux([*sound.encode(block), *sound.encode(None)])
            for number in range(9 if video is not None else 0):
                frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
                frame.pts = number
                output.mux(video.encode(frame))  # type: ignore[union-attr]
            if video is not None:
                output.mux(video.encode(None))
    for look in (Video, scan):
        with pytest.raises(FrameError, match=r"sound\.mp4: has no video stream"):
            look(tmp_path / "sound.mp4")
    both = tmp_path / "both.mp4"
    assert [number_of(picture) for _, picture in Video(both).frames()] == [*range(9)]
    assert read_numbers(both, [4]) == [4] == [number_of(find_reader("auto")(both, scan(both), np.array([4]))[0])]


def test_of_several_video_streams_everybody_reads_the_first(tmp_path: Path) -> None:
    """FFmpeg itself would take the larger one."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=RATE, options=dict(X264)) for _ in range(2)]
        for stream, scale in zip(streams, (1, 2), strict=True):
            stream.width, stream.height, stream.pix_fmt = 128 * scale, 96 * scale, "yuv420p"
        for number in range(20):
            for which, stream in enumerate(streams):
                shown = paint(number + 60 * which, width=stream.width, height=stream.height)
                frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
                frame.pts = number
                output.mux(stream.encode(frame))
        output.mux([packet for stream in streams for packet in stream.encode(None)])
    assert [number_of(picture) for _, picture in Video(path).frames()] == [*range(20)] == dumped(path, tmp_path / "set")
    for reader in (read_pyav, find_reader("auto")):
        assert [number_of(picture) for picture in reader(path, scan(path), np.array([13, 2]))] == [13, 2]


def test_a_playlist_with_the_name_of_a_video_opens_no_other_file(tmp_path: Path) -> None:
    video = write_numbered(tmp_path, "b_frames.mp4")
    folder = tmp_path / "classes"
    (folder / "run").mkdir(parents=True)
    playlists = {
        "concat.mp4": f"ffconcat version 1.0\nfile '../../{video.name}'\n",
        "hls.ts": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n../../{video.name}\n#EXT-X-ENDLIST\n",
    }
    for name, content in playlists.items():
        path = folder / "run" / name
        path.write_text(content)
        for look in (Video, scan, open_input):
            with pytest.raises(FrameError, match=f"{name}: cannot be read as a video"):
                look(path)
        entry = dump_video(make_job(path, tmp_path / "set"))
        assert entry["status"] == "failed" and "cannot be read as a video" in entry["errors"][0]
    clips = Kinetics(folder, make_clip_sampler("uniform", 0.2))
    with pytest.raises(FrameError, match="cannot be read as a video"):
        next(iter(clips))


@pytest.mark.whole
def test_what_is_unusual_about_pictures_is_in_the_manifest_and_in_predictions(tmp_path: Path) -> None:
    path = write_numbered(tmp_path, "dv.avi")
    interlaced, pixels = dump_video(make_job(path, tmp_path))["notes"]
    assert interlaced.startswith("it is interlaced, so its pictures hold the lines of two moments")
    assert pixels == "its pixels are 16:15 as wide as high, and are taken as square"
    assert open_input(path).warnings == [interlaced, pixels]
    assert "notes" not in dump_video(make_job(write_numbered(tmp_path, "b_frames.mp4"), tmp_path))


def test_names_as_long_as_a_file_system_takes_are_dumped(tmp_path: Path) -> None:
    path = write_numbered(tmp_path, "b_frames.mp4").rename(tmp_path / f"{'x' * 251}.mp4")
    assert dumped(path, tmp_path / "set") == [*range(40)]
    assert dumped(path, tmp_path / "set") == [*range(40)]  # replaces the first ones


@pytest.mark.whole
def test_scanning_a_long_video_needs_little_memory_for_each_frame(tmp_path: Path) -> None:
    peaks = []
    for frames in (100, 1600):
        video = make_video(tmp_path / f"{frames}.mp4", "mpeg4", frames=frames, size=(32, 32))
        tracemalloc.start()
        assert len(scan(video)) == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1500 < 100  # bytes; a tuple of numbers alone has more
