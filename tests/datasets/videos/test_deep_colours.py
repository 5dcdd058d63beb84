"""Tests videos of more than 8 bits: as FFmpeg's own program shows them, or refused where that would be wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from unittest import mock

import av
import av.filter
import numpy as np
import pytest

from datasets.videos import container
from datasets.videos.reader import read_any, read_pyav, read_torchcodec
from datasets.videos.scan import scan
from datasets.videos.video import Video
from tests.helpers.dumping import make_job
from tests.helpers.requirements import needs_program, needs_torchcodec
from tools.dumping.video import dump_video
from tools.inference.inputs import open_input
from utils.errors import FrameError

pytestmark = needs_program("ffmpeg", install="apt-get install ffmpeg")
SOURCE = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=0.3,boxblur=6")
TASKS = Path("/proc/self/task")  # the threads of this process
CURVES = ("smpte2084", "arib-std-b67")
# pixel format, codec and ending, matrix
SDR = {
    "yuv420p10": ("yuv420p10le", "ffv1", "mkv", "bt709"),
    "h264": ("yuv420p10le", "libx264", "mp4", "bt709"),
    "hevc": ("yuv420p10le", "libx265", "mkv", "bt709"),
    "yuv420p12": ("yuv420p12le", "ffv1", "mkv", "bt709"),
    "bt2020": ("yuv420p10le", "ffv1", "mkv", "bt2020nc"),
    "yuv422p10": ("yuv422p10le", "prores_ks", "mov", "bt709"),
    "16 bits": ("gbrp16le", "ffv1", "mkv", ""),
    "rgb48": ("rgb48le", "rawvideo", "nut", ""),
}


def ffmpeg(*arguments: str | Path) -> bytes:
    return subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True, capture_output=True).stdout


def make_hdr(path: Path, curve: str) -> Path:
    """Writes HDR video; in Matroska only its pictures say that it is HDR."""
    path.parent.mkdir(exist_ok=True)
    look = ("-color_primaries", "bt2020", "-color_trc", curve, "-colorspace", "bt2020nc")
    if path.suffix == ".mkv":
        look = ("-x264-params", f"colorprim=bt2020:transfer={curve}:colormatrix=bt2020nc")
    ffmpeg(*SOURCE, "-vf", "format=yuv420p10le", "-c:v", "libx264", *look, path)
    return path


@pytest.mark.parametrize("kind", SDR)
def test_deep_colours_are_those_of_ffmpeg_with_the_matrix_of_the_file(kind: str, tmp_path: Path) -> None:
    pixels, codec, ending, matrix = SDR[kind]
    path = tmp_path / f"v.{ending}"
    look = ("-vf", f"scale=out_color_matrix={matrix},format={pixels}", "-colorspace", matrix) if matrix else ()
    ffmpeg(*SOURCE, *look, "-pix_fmt", pixels, "-c:v", codec, path)
    raw = ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    expected = np.frombuffer(raw, np.uint8).reshape(-1, 64, 96, 3).astype(int)
    pictures = np.stack([picture for _, picture in Video(path).frames()])
    assert len(pictures) == 3 and expected.std() > 30
    assert (pictures == expected).all()
    clip = np.stack(read_pyav(path, scan(path), np.array([2, 0])))
    assert (clip == pictures[[2, 0]]).all()


@pytest.mark.skipif(not TASKS.is_dir(), reason="only Linux lists the threads of a process")
@pytest.mark.skipif(not hasattr(av.filter.Graph, "threads"), reason="this PyAV cannot say how many threads a graph has")
def test_converting_deep_colours_starts_no_threads() -> None:
    converter, frame = container.Converter(), av.VideoFrame(96, 64, "gbrp10le")
    before = {*TASKS.iterdir()}
    converter.upright(frame)
    assert not {*TASKS.iterdir()} - before


@pytest.mark.parametrize("curve", CURVES)
def test_every_reader_refuses_hdr_by_name(curve: str, tmp_path: Path) -> None:
    path = make_hdr(tmp_path / "v.mp4", curve)
    why = rf"v\.mp4: is HDR video \({curve}\), .* convert it"
    for read in (scan, Video, open_input):
        with pytest.raises(FrameError, match=why):
            read(path)
    answer = dump_video(make_job(path, tmp_path / "set"))
    assert answer["status"] == "failed" and f"is HDR video ({curve})" in answer["errors"][0]


@needs_torchcodec
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("curve", CURVES)
def test_hdr_that_an_older_index_knows_is_refused_when_a_clip_is_read(curve: str, ending: str, tmp_path: Path) -> None:
    path = make_hdr(tmp_path / f"v.{ending}", curve)
    with mock.patch.object(container, "HDR", {}):
        times = scan(path)
    assert len(times) == 3
    for read in (read_pyav, read_torchcodec, read_any):
        with pytest.raises(FrameError, match=rf"is HDR video \({curve}\)"):
            read(path, times, np.array([0]))
