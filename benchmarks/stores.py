"""Measures what the same clips cost as they lie in frames, packs, videos, and videos of `tools.pack_videos`.

`python -m benchmarks.stores --source VIDEO...` cuts videos into pieces and encodes these as they are published, with
key frames far from each other. Each store is made of them by its own command. All readers make the same clips in turn,
in one process with one thread; times are of the processor. A second table says what large data sets cost at these
figures, and a GPU as fast as the one in docs/benchmarks.md. --write puts both there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:  # started as `python benchmarks/stores.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import av
import numpy as np

from benchmarks._page import PAGE, table, write_section
from benchmarks._videos import write_videos
from datasets import DiskStore, PackedStore, TSNDataset, VideoDataset
from datasets.frame_dataset import SampleDataset
from datasets.lists.manifest import dumped_below
from datasets.lists.records import read_list
from datasets.lists.spans import plain
from datasets.lists.tables import read_videos
from datasets.loader import start_worker
from datasets.places.place import place
from datasets.protocol import ClipProtocol
from datasets.videos.clip_times import VideoSampling
from datasets.videos.reader import read_pyav
from datasets.videos.scan import scan
from datasets.videos.video import Video
from tools import dump_frames, pack_frames, pack_videos
from tools.dumping.estimate import in_bytes
from tools.dumping.video import Settings, resized
from utils.cli import run_cli
from utils.clip_spec import ClipSpec
from utils.transforms.augment import Augment
from utils.transforms.image import decode_image
from utils.transforms.presets import PRESETS

PIECE, KEYS = 250, 250  # frames of a video, and from a key frame to the next, as published
SEGMENTS, SIDE, NEAR = 8, 256, 0.5
BATCH = 8
FRAMES, PACK, PUBLISHED = "frames, JPEG", "frames in packs", "videos as published"
PACKED = {  # name: arguments of tools.pack_videos
    "h264, key frame every 12": ("--key-frames", "12"),
    "h264, key frame every 4": ("--key-frames", "4"),
    "h264, key frame every 48": ("--key-frames", "48"),
    "hevc, key frame every 12": ("--codec", "hevc", "--key-frames", "12"),
    "mjpeg": ("--codec", "mjpeg"),
}
SETS = {  # videos, and seconds of one, as published
    "Kinetics-700": (650_317, 10.0),
    "Something-Something V2": (220_847, 4.03),
    "100,000 hours": (36_000_000, 10.0),
}
REQUEST = 8 << 20  # bytes, as datasets/places/blocks.py reads on
_GPU = re.compile(r"^\| TSM R50 8x224 +\| train \| +([0-9.]+) \|", re.MULTILINE)
Fidelity = tuple[float, float]  # mean difference in grey levels, PSNR


@dataclass
class Store:
    """Holds one way in which the videos lie. scan: seconds of the processor to find the frames of a video, once.

    picture: (video, frame) -> pixels. cpu: seconds of each batch.
    """

    folder: Path
    dataset: SampleDataset
    scan: float
    picture: Callable[[int, int], np.ndarray]
    cpu: list[float] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """The files that hold its pictures."""
        return [path for path in self.folder.rglob("*") if path.is_file() and path.suffix in _PICTURES]

    @property
    def bytes(self) -> int:
        """The size of these files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def milliseconds(self) -> float:
        """The time of a clip."""
        return float(np.median(self.cpu)) / BATCH * 1000


_PICTURES = {".jpg", ".bin", ".tar", ".mp4"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0."""
    parser = argparse.ArgumentParser(prog="stores.py", description=__doc__)
    parser.add_argument("--source", type=Path, nargs="+", default=[], help="videos; default: made-up moving pictures")
    parser.add_argument("--videos", type=int, default=8, help="number of pieces, at most (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=24, help="batches that each reader makes (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one kind of packed videos, few rounds, no page")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args(argv)
    start_worker()  # this process does what a worker does
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        seconds = write_published(folder / "videos", options.source, options.videos)
        kinds = dict(itertools.islice(PACKED.items(), 1)) if options.quick else PACKED
        stores = make_stores(folder, kinds)
        race(stores, rounds=2 if options.quick else options.rounds)
        fidelity = {name: compare(store, folder / "videos") for name, store in stores.items()}
        body = report(stores, fidelity, seconds, len(options.source)) + "\n\n" + on_paper(stores, seconds)
    print(body)
    if options.write:
        sources = " --source " + " ".join(path.name for path in options.source) if options.source else ""
        write_section("Where frames lie", f"python -m benchmarks.stores{sources} --write", body)
    return 0


def write_published(folder: Path, sources: Sequence[Path], count: int) -> float:
    """Writes pieces of the sources, by turns, as videos with distant key frames; returns the seconds of all."""
    (folder / "x").mkdir(parents=True)
    made_up = [] if sources else list(write_videos(folder.parent, None, ["h264"], [KEYS]).values())
    pieces = [_pieces(*_opened(path)) for path in sources or made_up]
    seconds, number = 0.0, 0
    for pictures, fps in itertools.islice(_by_turns(pieces), count):
        with av.open(str(folder / f"x/{number:03d}.mp4"), "w") as output:
            options = {"crf": "20", "g": str(KEYS), "preset": "medium"}
            stream = output.add_stream("libx264", rate=round(fps), options=options)
            stream.height, stream.width = (side // 2 * 2 for side in pictures[0].shape[:2])
            stream.pix_fmt = "yuv420p"
            for picture in pictures:
                shown = np.ascontiguousarray(picture[: stream.height, : stream.width])
                output.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
            output.mux(stream.encode(None))
        seconds, number = seconds + len(pictures) / round(fps), number + 1
    return seconds


def _opened(path: Path) -> tuple[Iterator[np.ndarray], float]:
    video = Video(path)
    return (picture for _, picture in video.frames()), video.info.fps


def _pieces(pictures: Iterator[np.ndarray], fps: float) -> Iterator[tuple[list[np.ndarray], float]]:
    while len(piece := list(itertools.islice(pictures, PIECE))) > PIECE // 2:
        yield piece, fps


def _by_turns(pieces: list[Iterator[tuple[list[np.ndarray], float]]]) -> Iterator[tuple[list[np.ndarray], float]]:
    for some in itertools.zip_longest(*pieces):
        yield from (piece for piece in some if piece is not None)


def make_stores(folder: Path, kinds: dict[str, tuple[str, ...]]) -> dict[str, Store]:
    """Makes every store with its own command."""
    videos = folder / "videos"
    _quietly(dump_frames.main, videos, folder / "dump", "--size", SIDE)
    frames = sorted((one.path, one.frames) for one in dumped_below(folder / "dump"))
    source = folder / "dump/train.txt"
    source.write_text("".join(f"{path} {count} 0\n" for path, count in frames))
    _quietly(pack_frames.main, folder / "pack", source, "--root", folder / "dump")
    records = read_list(source, root=folder / "dump")
    disk, pack = DiskStore(folder / "dump"), PackedStore(folder / "dump", folder=folder / "pack")

    def of_frames(store: DiskStore | PackedStore) -> Callable[[int, int], np.ndarray]:
        return lambda video, frame: decode_image(store.get_many(records.path(video), [frame])[0])

    stores = {
        PUBLISHED: _videos(videos, videos, folder),
        FRAMES: Store(folder / "dump/frames", TSNDataset(records, disk, protocol()), 0.0, of_frames(disk)),
        PACK: Store(folder / "pack", TSNDataset(records, pack, protocol()), 0.0, of_frames(pack)),
    }
    for name, arguments in kinds.items():
        out = folder / name.replace(" ", "_")
        _quietly(pack_videos.main, out, videos, "--size", SIDE, *arguments)
        stores[name] = _videos(out / "lists/videos.csv", out, folder)
    if not name.startswith("mjpeg") or len(kinds) == 1:
        return stores
    first = next(iter(kinds))
    near = _videos(
        folder / first.replace(" ", "_") / "lists/videos.csv", folder / first.replace(" ", "_"), folder, NEAR
    )
    return {**stores, f"the first of these, near_key {NEAR:g} s": near}


def _quietly(tool: Callable[[Sequence[str]], int], *arguments: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = tool([str(argument) for argument in arguments])
    if code:
        raise RuntimeError(f"{said.getvalue()} (exit code {code})")


def protocol(near: float | None = None) -> ClipProtocol:
    """Returns how a clip of training is made: one frame of each of eight parts, a multi-scale crop to 224."""
    preset = PRESETS["tsn"]
    given = {"train": True, "video_sampling": VideoSampling(near_key=near)}
    augment = Augment(mean=preset.mean, std=preset.std)
    return ClipProtocol(ClipSpec(SEGMENTS), preset.train(input_size=224), augment, **given)  # type: ignore[arg-type]


def _videos(source: Path, root: Path, folder: Path, near: float | None = None) -> Store:
    records = read_videos(source, root=root)[0]
    began = time.process_time()
    dataset = VideoDataset(records, protocol(near), cache=folder / f"cache_{source.parent.parent.name}_{near}")
    took = (time.process_time() - began) / len(records)

    def picture(video: int, frame: int) -> np.ndarray:
        path = place(records.full_path(video))
        return read_pyav(path, dataset.index.video(video), np.array([frame]))[0]

    return Store(root, dataset, took, picture)


def race(stores: dict[str, Store], *, rounds: int) -> None:
    """Lets all stores make the same batches, each time in another order."""
    order, names = np.random.default_rng(0), list(stores)
    for step in range(-1, rounds):
        for name in [names[at] for at in order.permutation(len(names))]:
            data = stores[name].dataset
            keys = [divmod(at, len(data)) for at in range((step + 1) * BATCH, (step + 2) * BATCH)]
            began = time.process_time()
            batch = data.__getitems__(keys)
            if faults := [fault for fault in batch.faults if fault]:
                raise RuntimeError(faults[0])
            if step >= 0:
                stores[name].cpu.append(time.process_time() - began)


def compare(store: Store, videos: Path) -> Fidelity:
    """Compares frames of each video with those of the published one, resized as a dump resizes them."""
    wrong, squares = [], []
    for video, path in enumerate(sorted(videos.rglob("*.mp4"))):
        times = scan(path)
        frames = np.linspace(0, len(times) - 1, SEGMENTS).astype(int)
        for frame, true in zip(frames.tolist(), read_pyav(path, times, frames), strict=True):
            wanted = resized(true, Settings(size=(0, SIDE)))
            away = resized(store.picture(video, frame), _Same(wanted.shape)).astype(np.float32) - wanted
            wrong.append(float(np.abs(away).mean()))
            squares.append(float((away**2).mean()))
    noise = float(np.mean(squares))
    return float(np.mean(wrong)), 10 * np.log10(255**2 / noise) if noise else np.inf


class _Same:
    """Resizes every picture to the size of another one."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._size = shape[1], shape[0]

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Returns (width, height) of that other picture."""
        return self._size


def report(stores: dict[str, Store], fidelity: dict[str, Fidelity], seconds: float, sources: int) -> str:
    """Returns the table of what was measured."""
    first = stores[PUBLISHED]
    height, width = first.picture(0, 0).shape[:2]
    rows = []
    for name, store in stores.items():
        wrong, noise = fidelity[name]
        speed = 1000 * SEGMENTS / store.milliseconds
        gain = np.median(np.array(first.cpu) / np.array(store.cpu))
        same = ["0", ""] if name == PUBLISHED else [f"{wrong:.2f}", f"{noise:.1f}"]
        cells = [f"{store.bytes / seconds / 1000:.0f}", str(len(store.files)), f"{speed:.0f}", f"{gain:.2f}"]
        rows.append([name, *cells, *same, f"{1000 * store.scan:.1f}" if store.scan else ""])
    head = ["store", "KB a second", "files", "frames/s", "x published", "grey levels off", "PSNR", "ms to scan"]
    what = f"{sources} sources" if sources else "made-up moving pictures"
    count = len(first.dataset)
    about = (
        f"{count} videos of {what}, {seconds / count:.1f} s each, the first one {width}x{height}; short side {SIDE} in "
        f"all other rows. TSN, {SEGMENTS} frames of a video, multi-scale crop to 224; frames/s of one core's time, "
        f"medians of batches of {BATCH}. Pixels are compared with those of the published video, decoded and resized. "
        "ms to scan: of one video, in the first run."
    )
    return f"{about}\n\n{table(head, rows)}"


def on_paper(stores: dict[str, Store], seconds: float) -> str:
    """Returns a table of what data sets cost at the measured figures."""
    found = _GPU.search(PAGE.read_text(encoding="utf-8"))
    speed = float(found[1]) if found else 0.0
    rows = []
    for (what, (videos, length)), (name, store) in itertools.product(SETS.items(), stores.items()):
        if name not in (PUBLISHED, FRAMES, PACK, next(iter(PACKED))):
            continue
        size = store.bytes / seconds * videos * length
        requests = videos * SEGMENTS if name in (FRAMES, PACK) else videos  # a video of some MB takes one
        in_order = f"{size / REQUEST:,.0f}" if store.folder.name.startswith("h264") else ""
        hours = plain(float(f"{store.scan * videos / 3600:.2g}")) if store.scan else ""
        cores = f"{speed * store.milliseconds / 1000:.1f}"
        rows.append([f"{what}, {name}", in_bytes(size), hours, f"{requests:,}", in_order, cores])
    head = ["data set and store", "disk", "core hours to scan", "requests an epoch", "in order", "workers a GPU"]
    about = (
        "The same figures for whole data sets. Requests: to fetch each clip by itself from far away, and with "
        f"`data.shuffle_window`, {REQUEST >> 20} MB at a time. Workers: how many keep a GPU busy that trains TSM-R50 "
        f"with {speed:.0f} clips a second, as the H200 in [Steps](#steps)."
    )
    return f"{about}\n\n{table(head, rows)}"


if __name__ == "__main__":
    run_cli(main)
