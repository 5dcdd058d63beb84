"""Holds the videos of benchmarks/video.py and its readers in this process: each turns frame numbers into pictures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks._workload import HEIGHT, WIDTH, texture
from datasets.sampling.rules import clip_train, segments_train
from datasets.video_dataset import near_keys
from datasets.videos.reader import read_pyav
from datasets.videos.scan import VideoTimes, scan
from datasets.videos.together import TogetherReader
from datasets.videos.video import Video
from utils.system import usual_priority

DISTANCES = (12, 48, 250)  # frames from a key frame to the next
CODECS = {  # name: encoder, container, options
    "h264": ("libx264", "mp4", {"crf": "23", "preset": "medium"}),
    "hevc": ("libx265", "mp4", {"crf": "26", "preset": "fast"}),
    "vp9": ("libvpx-vp9", "webm", {"crf": "33", "b": "0", "deadline": "realtime", "cpu-used": "6"}),
    "av1": ("libsvtav1", "mp4", {"crf": "35", "preset": "10"}),
}
WORKLOADS = ("TSN-8", "32x2", "4 x TSN-8")  # the last one: four samples of a video in one batch
NEAR = 0.5  # seconds
Frames = Callable[[Path, np.ndarray], list[np.ndarray]]
Picture = np.ndarray


def write_videos(folder: Path, source: Path | None, codecs: list[str], distances: list[int]) -> dict[str, Path]:
    """Encodes one video, or made-up moving pictures, in every codec and with every distance; returns files by name."""
    pictures = list(itertools.islice(_pictures(source), 300))
    found = {}
    for codec, distance in itertools.product(codecs, distances):
        encoder, container, options = CODECS[codec]
        path = folder / f"{codec}_{distance}.{container}"
        given = {**options, "g": str(distance)}
        if codec == "hevc":
            given["x265-params"] = f"log-level=none:keyint={distance}"
        with usual_priority(), av.open(str(path), "w") as output:
            stream = output.add_stream(encoder, rate=28, options=given)
            stream.height, stream.width = (side // 2 * 2 for side in pictures[0].shape[:2])
            stream.pix_fmt = "yuv420p"
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture[: stream.height, : stream.width], format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        found[f"{codec} {distance}"] = path
    return found


def _pictures(source: Path | None) -> Iterator[Picture]:
    if source is not None:
        yield from (np.ascontiguousarray(picture) for _, picture in Video(source).frames())
        return
    rng = np.random.default_rng(0)
    ground, above = texture(rng, HEIGHT + 150, WIDTH + 300), texture(rng, HEIGHT + 150, WIDTH + 300)
    for number in range(280):
        picture = ground[number // 2 : number // 2 + HEIGHT, number : number + WIDTH].copy()
        left = (3 * number) % (WIDTH - 120)
        picture[60:180, left : left + 120] = above[60:180, 2 * left % 200 : 2 * left % 200 + 120]
        yield picture


class Videos:
    """Draws which frames of the videos are asked for."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self.times = {path: scan(path) for path in files.values()}

    def draw(self, name: str, workload: str, number: int) -> np.ndarray:
        """Returns the frames of training sample `number`, or of samples, int64 (samples, T)."""
        count, rng = len(self.times[self.files[name]]), np.random.default_rng(number)
        if workload == "32x2":
            return clip_train(count, 32, 2, rng)[None]
        return np.stack([segments_train(count, 8, rng) for _ in range(4 if workload == "4 x TSN-8" else 1)])

    def near(self, path: Path, indices: np.ndarray) -> np.ndarray:
        """Returns the same frames as `near_key` moves them."""
        return near_keys(self.times[path], indices, NEAR)

    def readers(self) -> dict[str, Frames]:
        """Returns the readers of this process, which take samples (n, T): ours, and bare decoders."""
        found: dict[str, Frames] = {
            "ours": self._together,
            "ours, each alone": _each(lambda path, indices: read_pyav(path, self.times[path], indices)),
            "near_key": lambda path, indices: self._together(path, self.near(path, indices)),
            "PyAV": _each(bare_pyav),
            "OpenCV": _each(opencv),
        }
        try:
            import torchcodec.decoders  # noqa: F401
        except (ImportError, RuntimeError, OSError):
            return found
        exact, approximate = _each(_torchcodec("exact")), _each(_torchcodec("approximate"))
        return {**found, "torchcodec exact": exact, "torchcodec approx.": approximate}

    def _together(self, path: Path, indices: np.ndarray) -> list[Picture]:
        times: VideoTimes = self.times[path]
        read = TogetherReader(read_pyav, [(path, times, sample) for sample in indices])
        return [picture for sample in indices for picture in read(path, times, sample)]


def _each(read: Frames) -> Frames:
    """Returns a reader of samples (n, T) that reads one after another."""
    return lambda path, indices: [picture for sample in indices for picture in read(path, sample)]


def bare_pyav(path: Path, indices: np.ndarray) -> list[Picture]:
    """Seeks to each frame by the average rate, and decodes until its time comes, as the examples of PyAV do."""
    found: dict[int, Picture] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        rate, tick = stream.average_rate, stream.time_base
        assert rate is not None and tick is not None
        last = -9
        frames: Iterator[av.VideoFrame] = iter(())
        for index in np.unique(indices).tolist():
            if not 0 <= index - last <= 2:  # of a clip, frames are decoded one after another
                container.seek(int(index / rate / tick), stream=stream)
                frames = container.decode(stream)
            for frame in frames:
                last = round(float((frame.pts or 0) * tick * rate))
                if last >= index:
                    found[index] = frame.to_ndarray(format="rgb24")
                    break
    return [found[index] for index in indices.tolist()]


def opencv(path: Path, indices: np.ndarray) -> list[Picture]:
    """Sets the position of a VideoCapture, and reads."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    found: dict[int, Picture] = {}
    at = 0
    for index in np.unique(indices).tolist():
        if 0 <= index - at <= 2:
            while at < index:
                capture.grab()
                at += 1
        else:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        good, picture = capture.read()
        if not good:
            raise RuntimeError(f"OpenCV reads no frame {index} of {path}")
        found[index], at = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), index + 1
    return [found[index] for index in indices.tolist()]


def _torchcodec(mode: str) -> Frames:
    from torchcodec.decoders import VideoDecoder

    def read(path: Path, indices: np.ndarray) -> list[Picture]:
        decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=mode)  # type: ignore[arg-type]
        return list(decoder.get_frames_at(indices=indices.tolist()).data.numpy())

    return read


class Truth:
    """Finds out which frame of a video each picture is, by what it shows."""

    def __init__(self, path: Path) -> None:
        self._small = np.stack([_small(picture) for _, picture in Video(path).frames()])

    def wrong(self, pictures: list[Picture], indices: np.ndarray) -> int:
        """Returns how many of the pictures are of another frame than the one asked for."""
        away = [abs(self._small - _small(picture)).mean((1, 2, 3)) for picture in pictures]
        # of two frames that look the same, either is right
        return sum(float(one[index]) > one.min() + 0.05 for one, index in zip(away, indices.tolist(), strict=True))


def _small(picture: Picture) -> np.ndarray:
    return cv2.resize(picture, (80, 60), interpolation=cv2.INTER_AREA).astype(np.float32)
