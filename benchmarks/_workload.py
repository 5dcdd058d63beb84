"""Makes what the loader's benchmark reads: made-up frames as large as real ones, or a list of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from datasets.lists.records import RecordList, read_list
from datasets.stores.disk import DiskStore
from datasets.stores.frame_names import detect_template
from utils.transforms.image import decode_image

HEIGHT, WIDTH = 256, 340
VIDEOS, FRAMES = 32, 24
BYTES = 17_000  # what a Kinetics frame of that size weighs on average, as TSN's tools dump it


Key = tuple[int, int]  # epoch, index


@dataclass(frozen=True)
class Workload:
    """The work of one benchmark.

    records: the videos.
    store: their frames on disk.
    batches: of (epoch, index), the same for every reader.
    """

    records: RecordList
    store: DiskStore
    segments: int
    input_size: int
    batch_size: int

    def batch(self, step: int) -> list[Key]:
        """Returns the keys of one batch."""
        first = step * self.batch_size
        return [divmod(position, len(self.records)) for position in range(first, first + self.batch_size)]

    @property
    def frames_per_batch(self) -> int:
        """The number of frames that one batch decodes."""
        return self.batch_size * self.segments

    def describe(self) -> str:
        """Returns one line for the report."""
        index = min(1, len(self.records) - 1)
        sample = self.store.get_many(self.records.path(index), range(min(8, int(self.records.num_frames[index]))))
        height, width = decode_image(sample[0]).shape[:2]
        weight = np.mean([len(data) for data in sample]) / 1000
        return (
            f"{len(self.records)} videos, frames {width}x{height} of {weight:.0f} KB, {self.segments} segments, "
            f"multi-scale crop to {self.input_size}, batches of {self.batch_size}, one process, one thread"
        )


def make_frames(root: Path) -> Path:
    """Writes drifting textures as JPEGs of about BYTES each; returns the list file."""
    rng = np.random.default_rng(0)
    lines = []
    for video in range(VIDEOS):
        folder = root / f"v_{video:03d}"
        folder.mkdir(parents=True)
        ground = texture(rng, HEIGHT + FRAMES, WIDTH + FRAMES)
        quality = _quality(ground[:HEIGHT, :WIDTH])
        for frame in range(FRAMES):
            image = ground[frame : frame + HEIGHT, frame // 2 : frame // 2 + WIDTH]
            (folder / f"img_{frame + 1:05d}.jpg").write_bytes(_encode(image, quality))
        lines.append(f"{folder.name} {FRAMES} {video % 4}\n")
    source = root / "train.txt"
    source.write_text("".join(lines))
    return source


def write_config(folder: Path, source: Path, **common: Any) -> Path:
    """Writes the config.yaml of a run that trains on the frames of `make_frames` and draws no pictures."""
    places = {"train_root": str(source.parent), "train_source": str(source)}
    folder.mkdir(parents=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"common": {**common, **places, "watch": {"clips": 0, "confusion": False}}}))
    return path


def open_frames(source: Path, root: Path, *, segments: int, input_size: int, batch_size: int) -> Workload:
    """Opens a workload from a list file and the folder that its paths begin in."""
    records = read_list(source, root=root)
    template, first = detect_template(records)
    store = DiskStore(records.root, template=template, first_frame=first)
    return Workload(records, store, segments, input_size, batch_size)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns noise, uint8 (height, width, 3), with equal energy per octave, as photographs have."""
    image: np.ndarray = np.zeros((height, width, 3), np.float32)
    for octave in range(7):
        cells = 3 * 2**octave
        noise = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        noise = 0.3 * noise + 0.7 * noise[..., :1]  # neighbouring channels go together
        image = image + cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / 1.6**octave
    return np.clip(128 + 40 * image, 0, 255).astype(np.uint8)


def _encode(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _quality(image: np.ndarray) -> int:
    """Returns the JPEG quality at which the image takes about BYTES."""
    return min(range(40, 100, 2), key=lambda quality: abs(len(_encode(image, quality)) - BYTES))
