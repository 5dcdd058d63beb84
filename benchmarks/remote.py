"""Measures what reading from an address costs, compared with the local disk: `python -m benchmarks.remote`.

The same clips come from a disk and from an HTTP server of this machine, in turn, in one process with one thread.
`kept` is after the cache has the blocks. `fetched` is with an empty cache: all files of a batch are fetched at the same
time, while the first ones are decoded. With --write the section of docs/benchmarks.md is renewed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:  # started as `python benchmarks/remote.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import av
import cv2
import numpy as np

from benchmarks import _page
from benchmarks._range_server import serving
from benchmarks._workload import FRAMES, VIDEOS, make_frames
from datasets import VideoDataset
from datasets.lists.records import RecordList, read_list
from datasets.lists.tables import read_videos
from datasets.loader import start_worker
from datasets.protocol import ClipProtocol
from datasets.stores.disk import DiskStore
from datasets.stores.pack_writer import PackedVideo, PackWriter
from datasets.stores.packed import PackedStore
from utils.cli import run_cli
from utils.clip_spec import ClipSpec
from utils.transforms.augment import Augment
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip
from utils.transforms.image import decode_image

BATCH, SEGMENTS, TIMES = 8, 8, 4  # TIMES: how often a video shows its frames, forwards and backwards
Read = Callable[[int], None]  # of one batch


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns 0."""
    parser = argparse.ArgumentParser(prog="remote.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="passes over the videos (default %(default)s)")
    parser.add_argument("--videos", type=int, default=16, help="a multiple of 8, at most 32 (default %(default)s)")
    parser.add_argument("--write", action="store_true", help="renew the section of docs/benchmarks.md")
    options = parser.parse_args(argv)
    start_worker()  # this process does what a worker does
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        os.environ |= {"DATA_CACHE": str(folder / "blocks"), "XDG_CACHE_HOME": str(folder / "cache")}
        source = make_frames(folder / "frames")
        size = _make_videos(folder, options.videos)
        _pack(folder, source)
        with serving(folder) as address:
            videos = _race(_video_readers(folder, address), folder / "blocks", options)
            frames = _race(_frame_readers(folder, source, address), folder / "blocks", options)
    head = ["clips of", "ms per clip", "x the disk"]
    body = "\n".join(
        [
            f"{options.videos} videos of {FRAMES * TIMES} frames, 340x256, H.264, {size:.1f} MB each, {SEGMENTS} "
            f"frames of each, batches of {BATCH}, {options.rounds} passes; medians.",
            "",
            _page.table(head, _rows(videos) + _rows(frames)),
        ]
    )
    print(body)
    if options.write:
        _page.write_section("From further away", "python -m benchmarks.remote --write", body)
    return 0


def _make_videos(folder: Path, count: int) -> float:
    """Encodes the frames to videos and packs these into a tar; returns the MB of a video."""
    rng = np.random.default_rng(0)
    (folder / "videos").mkdir()
    with tarfile.open(folder / "videos.tar", "w") as tar:
        for video in range(count):
            files = sorted((folder / f"frames/v_{video:03d}").glob("*.jpg"))
            pictures = [decode_image(file.read_bytes()) for file in files]
            path = folder / f"videos/{video:03d}.mp4"
            with av.open(str(path), "w") as output:
                stream = output.add_stream("libx264", rate=30, options={"g": "48", "crf": "14", "preset": "ultrafast"})
                stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuv420p"
                for turn in range(TIMES):
                    for picture in pictures[:: 1 - 2 * (turn % 2)]:
                        noisy = cv2.add(picture, rng.integers(0, 12, picture.shape, np.uint8))  # as a camera's
                        output.mux(
                            stream.encode(av.VideoFrame.from_ndarray(np.asarray(noisy, np.uint8), format="rgb24"))
                        )
                output.mux(stream.encode(None))
            tar.add(path, path.name)
    (folder / "videos.txt").write_text("".join(f"{video:03d}.mp4 0\n" for video in range(count)))
    return sum(file.stat().st_size for file in (folder / "videos").iterdir()) / count / 1e6


def _pack(folder: Path, source: Path) -> None:
    records, store = read_list(source, root=source.parent), DiskStore(source.parent)
    writer = PackWriter(folder / "pack")
    paths = [records.path(index) for index in range(len(records))]
    for _ in writer.write(PackedVideo(path, store.get_many(path, range(FRAMES))) for path in paths):
        pass
    writer.merge(paths)


def _video_readers(folder: Path, address: str) -> dict[str, Read]:
    transform = CutClip(TestCrops(None), (224, 224))
    protocol = ClipProtocol(ClipSpec(SEGMENTS, 1, "segments"), transform, Augment(mean=(0.0,) * 3, std=(1.0,) * 3))

    def reader(records: RecordList) -> Read:
        dataset = VideoDataset(records, protocol)

        def read(first: int) -> None:
            if faults := [fault for fault in dataset.__getitems__(range(first, first + BATCH)).faults if fault]:
                raise RuntimeError(faults[0])

        return read

    def listed(root: str | Path) -> RecordList:
        return read_list(folder / "videos.txt", root=root, columns=("label",))

    def packed(source: str | Path) -> RecordList:
        return read_videos(source, num_class=1, unlabelled=True)[0]

    return {
        "videos, files on the disk": reader(listed(folder / "videos")),
        "videos, tar on the disk": reader(packed(folder / "videos.tar")),
        "videos, files, kept": reader(listed(f"{address}/videos")),
        "videos, tar, kept": reader(packed(f"{address}/videos.tar")),
        "videos, files, fetched": reader(listed(f"{address}/videos")),
        "videos, tar, fetched": reader(packed(f"{address}/videos.tar")),
    }


def _frame_readers(folder: Path, source: Path, address: str) -> dict[str, Read]:
    paths = [f"v_{video:03d}" for video in range(VIDEOS)]
    indices = np.linspace(0, FRAMES - 1, SEGMENTS).astype(int)

    def reader(store: PackedStore) -> Read:
        def read(first: int) -> None:
            for path in paths[first : first + BATCH]:
                for data in store.get_many(path, indices):
                    decode_image(data)

        return read

    far = reader(PackedStore("/", folder=f"{address}/pack"))
    return {"frames, pack on the disk": reader(PackedStore("/", folder=folder / "pack")), "frames, pack, kept": far}


def _race(readers: dict[str, Read], blocks: Path, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Returns the seconds of each reader for each batch; all read a batch before the next one begins."""
    for name, read in readers.items():  # not timed: connections, and blocks for those that keep them
        for first in range(0, options.videos, BATCH):
            if "fetched" not in name:
                read(first)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    order = np.random.default_rng(0)
    aside = blocks.with_name("aside")
    for _ in range(options.rounds):
        for first in range(0, options.videos, BATCH):
            for place in order.permutation(len(readers)):
                name, read = list(readers.items())[place]
                if "fetched" in name:
                    blocks.rename(aside)
                began = time.perf_counter()
                read(first)
                seconds[name].append(time.perf_counter() - began)
                if "fetched" in name:
                    shutil.rmtree(blocks)
                    aside.rename(blocks)
    return {name: np.array(found) for name, found in seconds.items()}


def _rows(seconds: dict[str, np.ndarray]) -> list[list[str]]:
    disk = next(iter(seconds.values()))
    return [
        [name, f"{np.median(found) / BATCH * 1000:.1f}", f"{np.median(disk / found):.2f}"]
        for name, found in seconds.items()
    ]


if __name__ == "__main__":
    run_cli(main)
