"""Clips from addresses and tars are those of the same files on a disk, to the bit; what fails is a counted fault."""

from __future__ import annotations

import contextlib
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main
from datasets import DiskStore, PackedStore, TSNDataset, VideoDataset
from datasets.lists.records import RecordList, read_list
from datasets.lists.tables import read_videos
from datasets.loader import TrainStream, Window, epoch_order, make_loader
from datasets.places import files
from datasets.places.place import Address
from datasets.stores.check import check_on_disk
from datasets.stores.frame_names import detect_template
from datasets.stores.pack_writer import PackedVideo, PackWriter
from datasets.videos.container import opened
from tests.helpers.afar import forget
from tests.helpers.file_server import FileServer
from tests.helpers.make_video import make_video, truncate
from tests.helpers.protocol import for_testing, for_training
from tests.helpers.requirements import needs_torchcodec
from tests.helpers.tars import write_tar
from utils.clip_spec import ClipSpec
from utils.errors import FrameError, ListError
from utils.transforms.crops import TestCrops
from utils.transforms.cut_clip import CutClip

KINDS = {"a.mp4": "libx264", "b.mkv": "libx264", "c.avi": "mpeg4", "d.webm": "libvpx-vp9"}
CUT = CutClip(TestCrops(None), (64, 96))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name, codec in KINDS.items():
        make_video(folder / name, codec, frames=30, g="8", b="1000k")
    return folder


@pytest.fixture
def videos(tmp_path: Path, made: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "videos"))


def dataset(records: RecordList, *, train: bool = False, **given: Any) -> VideoDataset:
    protocol = (for_training if train else for_testing)(ClipSpec(8, 1, "segments"), CUT)
    return VideoDataset(records, protocol, **given)


def listed(folder: Path, root: str | Path, names: Any = KINDS) -> RecordList:
    source = folder / "list.txt"
    source.write_text("".join(f"{name} {label}\n" for label, name in enumerate(names)))
    return read_list(source, root=root, columns=("label",))


def tar_of(videos: Path, path: Path) -> Path:
    names = sorted(videos.iterdir())
    return write_tar(
        path, {f.stem: {f.suffix[1:]: f.read_bytes(), "cls": b"%d" % label} for label, f in enumerate(names)}
    )


@pytest.mark.whole
def test_clips_of_videos_are_the_same_from_everywhere(tmp_path: Path, videos: Path, server: FileServer) -> None:
    compare_clips(tmp_path, videos, server, "pyav")


@needs_torchcodec
@pytest.mark.whole
def test_torchcodec_reads_the_same_clips_from_everywhere(tmp_path: Path, videos: Path, server: FileServer) -> None:
    (videos / "c.avi").unlink()
    compare_clips(tmp_path, videos, server, "torchcodec")


def compare_clips(tmp_path: Path, videos: Path, server: FileServer, decoder: Any) -> None:
    names = sorted(file.name for file in videos.iterdir())
    here = dataset(listed(tmp_path, videos, names), decoder=decoder)
    for name in names:
        server.files[f"/v/{name}"] = (videos / name).read_bytes()
    path = tar_of(videos, tmp_path / "s-0.tar")
    server.files["/s/s-0.tar"] = path.read_bytes()
    wanted = [here[index]["clips"] for index in range(len(names))]
    assert all(clip.any() for clip in wanted)
    tars = (path, f"{server.address}/s/s-{{0..0}}.tar")
    for records in (
        listed(tmp_path, f"{server.address}/v", names),
        *(read_videos(tar, num_class=4)[0] for tar in tars),
    ):
        there = dataset(records, decoder=decoder)
        assert there.description == here.description
        for index, clip in enumerate(wanted):
            sample = there[index]
            assert sample["fault"] == "" and sample["label"] == index
            assert (sample["clips"] == clip).all()
        assert there.fingerprints(0) == there.fingerprints(0) != here.fingerprints(0)


def test_frames_and_packs_are_the_same_from_everywhere(
    tiny_frames: Callable[..., Path],
    server: FileServer,
    tmp_path: Path,
) -> None:
    here = read_list(tiny_frames(6, 9, 4), root=tmp_path / "frames")
    disk = DiskStore(here.root)
    pack = PackWriter(tmp_path / "pack", shard_bytes=6000)
    paths = [here.path(index) for index in range(3)]
    videos = (PackedVideo(path, disk.get_many(path, range(int(here.num_frames[n])))) for n, path in enumerate(paths))
    assert len(list(pack.write(videos))) == pack.merge(paths) == 3
    for file in sorted(tmp_path.rglob("*")):
        if file.is_file():
            server.files[f"/{file.relative_to(tmp_path)}"] = file.read_bytes()
    there = read_list(here.source, root=f"{server.address}/frames")
    far = DiskStore(there.root)
    assert check_on_disk(there, far) == 3
    packed = PackedStore("/", folder=f"{server.address}/pack")
    for n, path in enumerate(paths):
        wanted = list(range(int(here.num_frames[n])))[::-1]
        assert far.get_many(path, wanted) == packed.get_many(path, wanted) == disk.get_many(path, wanted)
    protocol = for_training(ClipSpec(3, 1, "segments"), CutClip(TestCrops(None), (32, 32)))
    one, other = TSNDataset(here, disk, protocol), TSNDataset(there, far, protocol)
    assert all((one[1, index]["clips"] == other[1, index]["clips"]).all() for index in range(3))
    with pytest.raises(FrameError, match=rf"^{server.address}/frames/v0/img_00099.jpg: no such file"):
        far.get_many("v0", [98])
    server.always["/frames/v0/img_00001.jpg"] = 403
    forget()
    with pytest.raises(ListError, match=rf"train.txt:1: {server.address}/frames/v0/img_00001.jpg: access is denied"):
        check_on_disk(there, far)
    assert check_on_disk(there, far, allowed=1) == 3
    del server.files["/pack/shard_00000.bin"]
    forget()
    with pytest.raises(FrameError, match=rf"{server.address}/pack/shard_00000.bin: is missing"):
        PackedStore("/", folder=f"{server.address}/pack")
    with pytest.raises(FrameError, match=rf"{server.address}/nothing/index.flat: there is no finished pack"):
        PackedStore("/", folder=f"{server.address}/nothing")


def test_checksums_of_a_dump_are_compared_from_afar_too(server: FileServer) -> None:
    server.files["/v/img_00001.jpg"] = b"not what it was"
    server.files["/v/.img_.sfv"] = b"; CRC-32\nimg_00001.jpg 00000000\n"
    with pytest.raises(FrameError, match=r"/v/img_00001.jpg: damaged or changed .wrong checksum."):
        DiskStore(server.address).get_many("v", [0])


def test_names_of_frames_are_found_where_a_folder_can_be_listed(tmp_path: Path) -> None:
    import fsspec

    for number in (1, 2, 3):
        fsspec.filesystem("memory").pipe(f"/frames/v/img_{number:05d}.jpg", b"1")
    (tmp_path / "list.txt").write_text("v 3 0\n")
    records = read_list(tmp_path / "list.txt", root="memory://frames")
    assert detect_template(records) == ("img_{:05d}.jpg", 1)
    assert DiskStore(records.root).num_frames("v") == 3
    (tmp_path / "list.txt").write_text("none 3 0\n")
    with pytest.raises(ListError, match=r"folder not found: memory://frames/none"):
        detect_template(read_list(tmp_path / "list.txt", root="memory://frames"))


PATIENT = "60"  # seconds, on a machine of which many want a part
FAULTS: dict[str, Callable[[FileServer, Path], None]] = {
    "missing": lambda server, _: server.files.pop("/v/a.mp4"),
    "denied": lambda server, _: server.always.update({"/v/a.mp4": 403}),
    "failing": lambda server, _: server.always.update({"/v/a.mp4": 500}),
    "silent": lambda server, _: server.always.update({"/v/a.mp4": "silent"}),
    "stalling": lambda server, _: server.always.update({"/v/a.mp4": "stall"}),
    "dying": lambda server, _: server.always.update({"/v/a.mp4": "die"}),
    "longer than it is": lambda server, _: server.lengths.update({"/v/a.mp4": 10}),
    "shorter than it is": lambda server, _: server.lengths.update({"/v/a.mp4": 10**6}),
    "truncated": lambda server, videos: server.files.update({"/v/a.mp4": truncate(videos / "a.mp4").read_bytes()}),
    "empty": lambda server, _: server.files.update({"/v/a.mp4": b""}),
    "a page": lambda server, _: server.files.update({"/v/a.mp4": b"<html>Sorry</html>"}),
}


@pytest.mark.alike
@pytest.mark.parametrize("when", ["before the scan", "after it"])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_of_its_video_with_its_address(
    tmp_path: Path,
    videos: Path,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    when: str,
) -> None:
    monkeypatch.setenv("DATA_TIMEOUT", PATIENT)
    for name in ("a.mp4", "b.mkv"):
        server.files[f"/v/{name}"] = (videos / name).read_bytes()
    records = listed(tmp_path, f"{server.address}/v", ("a.mp4", "b.mkv"))
    if when == "before the scan":
        (tmp_path / "good").mkdir()
        dataset(listed(tmp_path / "good", f"{server.address}/v", ("b.mkv",)))  # so it is scanned without a hurry
        monkeypatch.setenv("DATA_TIMEOUT", "0.3")
        FAULTS[fault](server, videos)
        clips = dataset(records)
    else:
        clips = dataset(records)
        clips[0]
        FAULTS[fault](server, videos)
        server.etags["/v/a.mp4"] = '"other"'
        forget()
        monkeypatch.setenv("DATA_CACHE", str(tmp_path / "empty"))
        monkeypatch.setenv("DATA_TIMEOUT", "0.3")
    bad = clips[0]
    monkeypatch.setenv("DATA_TIMEOUT", PATIENT)
    good = clips[1]
    assert good["fault"] == "" and good["clips"].any()
    assert not bad["clips"].any() and bad["fault"].startswith(f"{records.source}:1: {server.address}/v/a.mp4: ")


def test_a_read_that_fails_is_an_error_even_if_ffmpeg_takes_it_for_the_end(
    videos: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.files["/v/a.mp4"] = (videos / "a.mp4").read_bytes()
    with (
        pytest.raises(FrameError, match=r"/v/a.mp4: no answer of use within 0.3 s"),
        opened(Address(f"{server.address}/v/a.mp4")) as (container, stream),
    ):
        shutil.rmtree(tmp_path / "blocks")
        monkeypatch.setenv("DATA_TIMEOUT", "0.3")
        server.always["/v/a.mp4"] = 503
        with contextlib.suppress(FrameError):
            for packet in container.demux(stream):
                packet.decode()


def test_a_video_that_failed_is_scanned_again_by_the_next_run(
    tmp_path: Path,
    videos: Path,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA_TIMEOUT", "0.3")
    records = listed(tmp_path, f"{server.address}/v", ("a.mp4",))
    server.files["/v/a.mp4"], server.always["/v/a.mp4"] = (videos / "a.mp4").read_bytes(), 503
    assert "answers 503" in dataset(records)[0]["fault"]
    server.always.clear()
    monkeypatch.setenv("DATA_TIMEOUT", PATIENT)
    assert dataset(records)[0]["fault"] == ""


def test_a_video_that_was_swapped_is_scanned_anew(tmp_path: Path, videos: Path, server: FileServer) -> None:
    records = listed(tmp_path, f"{server.address}/v", ("a.mp4",))
    server.files["/v/a.mp4"] = (videos / "a.mp4").read_bytes()
    assert len(dataset(records).index[0]) == 30
    server.files["/v/a.mp4"], server.etags["/v/a.mp4"] = make_video(tmp_path / "x.mp4", frames=7).read_bytes(), '"2"'
    forget()
    clips = dataset(records)
    assert len(clips.index[0]) == 7 and clips[0]["fault"] == ""


@pytest.mark.whole
def test_workers_read_the_same_clips(tmp_path: Path, videos: Path, server: FileServer) -> None:
    server.files["/s/s-0.tar"] = tar_of(videos, tmp_path / "s-0.tar").read_bytes()
    here = dataset(read_videos(tmp_path / "s-0.tar", num_class=4)[0], train=True)
    there = dataset(read_videos(f"{server.address}/s/s-0.tar", num_class=4)[0], train=True)
    there[0]  # the process that forks has used the network
    stream = TrainStream(4, 2, seed=1, start_step=3, stop_step=9)
    expected = [here.__getitems__(keys) for keys in stream]
    got = list(make_loader(there, stream, workers=2))
    assert len(got) == 6
    for one, other in zip(expected, got, strict=True):
        assert not any(other.faults) and torch.equal(one.clips, other.clips) and torch.equal(one.labels, other.labels)
    forget()
    sent = pickle.loads(pickle.dumps(there))  # to a worker that is not forked
    assert torch.equal(sent.__getitems__(stream.step(3)).clips, expected[0].clips)


def shards(*sizes: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)[:-1]])


def test_a_window_is_a_permutation_that_reads_shards_in_turn() -> None:
    starts, sizes = shards(30, 10, 50, 25), [30, 10, 50, 25]
    owner = np.repeat(np.arange(4), sizes)
    orders = [epoch_order(115, 3, epoch, window=Window(starts, 8)) for epoch in range(20)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(115))
        changes = [one for one, other in zip(owner[order], owner[order][1:], strict=False) if one != other]
        assert len(changes) <= 3 * 8  # shards mix only within the windows at their borders
        assert (np.abs(np.diff(np.sort(order[:8]))) >= 1).all() and np.ptp(order[16:20]) < 115
    assert len({tuple(order) for order in orders}) == 20
    assert len({owner[order[0]] for order in orders}) == 4
    assert any((np.sort(order[:8]) != order[:8]).any() for order in orders)
    assert (orders[5] == epoch_order(115, 3, 5, window=Window(starts, 8))).all()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_window_keeps_the_promises_of_the_stream(world: int) -> None:
    window = Window(shards(7, 11, 5), 4)
    streams = [TrainStream(23, 3, seed=2, rank=rank, world=world, window=window) for rank in range(world)]
    seen = [key for step in range(23) for stream in streams for key in stream.step(step)]
    for epoch in range(3 * world):
        assert sorted(index for at, index in seen if at == epoch) == list(range(23))
    late = TrainStream(23, 3, seed=2, world=world, start_step=9, stop_step=23, window=window)
    assert list(late) == [streams[0].step(step) for step in range(9, 23)]


CONFIG = """
common:
    model: {{type: tsn, backbone: mobilenetv2, kwargs: {{scale: 0.25}}, num_segments: 2, num_class: 4}}
    watch: {{clips: 0, confusion: False}}
    augmentation: {{input_size: 32, test_resize: 36}}
    batch_size: 2
    workers: {workers}
    lr_scheduler: {{type: COSINE, base_lr: 0.01, max_iter: {steps}}}
    val_freq: 3
    device: cpu
    train_source: {source}
    val_source: {source}
    data: {{shuffle_window: 2, store: {{type: video}}}}
"""


@pytest.fixture
def run(tmp_path: Path, videos: Path, server: FileServer) -> Iterator[Callable[..., str]]:
    tar = tar_of(videos, tmp_path / "s-0.tar")
    server.files |= {"/s/s-0.tar": tar.read_bytes(), "/s/s-1.tar": tar.read_bytes()}

    def start(name: str, *, source: str, steps: int = 6, workers: int = 0) -> str:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(CONFIG.format(source=source, steps=steps, workers=workers))
        assert main.main(["--config", str(folder / "config.yaml")]) == 0
        return (folder / "log.txt").read_text()

    yield start


@pytest.mark.whole
def test_a_run_from_tars_far_away_is_the_run_from_those_here(
    run: Callable[..., str],
    tmp_path: Path,
    server: FileServer,
) -> None:
    (tmp_path / "s-1.tar").write_bytes((tmp_path / "s-0.tar").read_bytes())
    here = run("here", source=str(tmp_path / "s-{0..1}.tar"))
    there = run("there", source=f"{server.address}/s/s-{{0..1}}.tar")
    assert "2 tars shuffled, and their videos in windows of 2" in here
    weights = [torch.load(tmp_path / name / "ckpt.pth.tar", weights_only=False) for name in ("here", "there")]
    for name, value in weights[0]["state_dict"].items():
        assert torch.equal(value, weights[1]["state_dict"][name]), name
    assert any((tmp_path / "blocks").iterdir()) and files.exists(f"{server.address}/s/s-0.tar")
    assert there.count("shuffled") == here.count("shuffled") == 1
