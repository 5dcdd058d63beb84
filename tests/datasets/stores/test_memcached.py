"""Tests the memcached store with real servers: its bytes are those of the file, whatever the servers do."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets import DiskStore, MemcachedStore, TSNDataset
from datasets.lists.records import read_list
from datasets.loader import TrainStream, make_loader
from datasets.stores.memcached_server import choose
from tests.datasets.conftest import Memcached, blob_frame, encode, write_video
from tests.datasets.test_datasets import CLIPS
from tests.helpers.protocol import for_training
from tests.helpers.requirements import needs_program
from utils.errors import FrameError
from utils.transforms.crops import MultiScale
from utils.transforms.cut_clip import CutClip

pytestmark = [pytest.mark.memcached, needs_program("memcached", install="apt-get install memcached")]
Start = Callable[..., Memcached]
FRAMES = 12
QUICK = {"timeout": 0.2, "longest_pause": 1.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for video in range(6):
        write_video(tmp_path / f"frames/v{video}", video, FRAMES)
    return tmp_path / "frames"


def check(store: MemcachedStore, root: Path, video: int = 0) -> dict[str, int]:
    """Reads a video, compares it with the disk, and returns the increase of the counts."""
    before, indices = store.stats(), np.array([3, 0, 3, 7])
    assert store.get_many(f"v{video}", indices) == DiskStore(root).get_many(f"v{video}", indices)
    return {name: number - before[name] for name, number in store.stats().items() if number != before[name]}


@pytest.mark.parametrize("port", [False, True])
def test_a_miss_reads_the_disk_and_fills(memcached: Start, root: Path, port: bool):
    store = MemcachedStore(root, servers=[memcached(port=port).address])
    assert check(store, root) == {"misses": 3}
    assert check(store, root) == {"hits": 3}
    assert check(MemcachedStore(root, servers=store.servers[0].address), root) == {"hits": 3}


def test_one_round_trip_per_server_and_clip(memcached: Start, root: Path):
    server = memcached()
    store = MemcachedStore(root, servers=[server.address])
    store.get_many("v0", range(8))
    asked: list[bytes] = []
    client = store.servers[0]._client
    assert client is not None
    real = client.sock
    assert real is not None

    class Spy:
        def sendall(self, data: bytes) -> None:
            asked.append(data)
            real.sendall(data)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    client.sock = Spy()  # type: ignore[assignment]
    store.get_many("v0", range(8))
    store.get_many("v0", range(8, 12))
    assert [data.split(b" ", 1)[0] for data in asked] == [b"get", b"get", b"set"]
    assert asked[-1].count(b"set ") == 4


def test_videos_are_spread_and_stay_when_a_server_joins(memcached: Start, root: Path):
    servers = [memcached() for _ in range(3)]
    store = MemcachedStore(root, servers=[server.address for server in servers])
    for video in range(6):
        assert check(store, root, video) == {"misses": 3}
        assert check(store, root, video) == {"hits": 3}
    assert sum(server.count("curr_items") for server in servers) == 18


@pytest.mark.parametrize("path", ["a b", "x" * 200 + "/" + "y" * 200, "视频 舞", "tab\there", os.fsdecode(b"caf\xe9")])
def test_any_path_is_a_safe_key(memcached: Start, tmp_path: Path, path: str):
    write_video(tmp_path / path, 0, 3)
    store = MemcachedStore(tmp_path, servers=[memcached().address])
    assert store.get_many(path, [1]) == store.get_many(path, [1]) == DiskStore(tmp_path).get_many(path, [1])
    assert store.stats()["hits"] == 1


def test_new_frames_are_never_mixed_with_old_ones(memcached: Start, root: Path):
    server = memcached()
    for version in ("frame", "folder"):
        store = MemcachedStore(root, servers=[server.address], version=version)
        check(store, root)
        assert check(store, root) == {"hits": 3}
        folder = root / "v0"
        folder.rename(root / f"old {version}")
        write_video(folder, 5, FRAMES)
        assert check(store, root) == {"misses": 3}
    # overwriting in place changes no folder, but the default version notices
    store = MemcachedStore(root, servers=[server.address])
    check(store, root)
    (root / "v0/img_00004.jpg").write_bytes(encode(blob_frame(3, 9)))
    assert check(store, root) == {"hits": 2, "misses": 1}
    (root / "v0/img_00004.jpg").unlink()
    with pytest.raises(FrameError, match=r"img_00004.jpg: frame not found"):
        store.get_many("v0", [3])


def test_a_version_of_your_own_costs_no_look_at_the_disk(memcached: Start, root: Path):
    server = memcached().address
    store = MemcachedStore(root, servers=[server], version="2026-01")
    before = store.get_many("v0", [3])
    (root / "v0/img_00004.jpg").unlink()
    assert store.get_many("v0", [3]) == before
    with pytest.raises(FrameError):
        MemcachedStore(root, servers=[server], version="2026-02").get_many("v0", [3])


def test_two_data_sets_on_one_server_do_not_meet(memcached: Start, tmp_path: Path):
    server = memcached().address
    for name, video in (("one", 0), ("two", 3)):
        write_video(tmp_path / name / "v0", video, 4)
        for file in (tmp_path / name / "v0").iterdir():
            os.utime(file, (1, 1))
    for name in ("one", "two"):
        store = MemcachedStore(tmp_path / name, servers=[server])
        assert store.get_many("v0", [0, 3]) == DiskStore(tmp_path / name).get_many("v0", [0, 3])


def test_frames_over_the_item_limit_are_counted_and_bypassed(memcached: Start, root: Path, rng: np.random.Generator):
    noise = rng.integers(0, 256, (900, 900, 3), dtype=np.uint8)
    (root / "v0/img_00004.jpg").write_bytes(encode(noise, ".png"))
    assert (root / "v0/img_00004.jpg").stat().st_size > 1 << 20
    for version in ("frame", "mine"):
        store = MemcachedStore(root, servers=[memcached().address], version=version)
        assert check(store, root) == {"misses": 2, "bypassed": 1}
        assert check(store, root) == {"hits": 2, "bypassed": 1}
    roomy = MemcachedStore(root, servers=[memcached("-I", "8m").address])
    check(roomy, root)
    assert check(roomy, root) == {"hits": 3}


@pytest.mark.parametrize("poison", ["other frame", "bit", "short", "empty", "garbage"])
def test_damaged_bytes_are_seen_read_from_disk_and_replaced(memcached: Start, root: Path, poison: str):
    server = memcached()
    store = MemcachedStore(root, servers=[server.address])
    check(store, root)
    keys = [one.key for one in store._wanted("v0", [3, 0]).values()]
    with closing(server.client()) as client:
        value = client.get(keys[0])
        bad = {
            "other frame": client.get(keys[1]),
            "bit": value[:100] + bytes([value[100] ^ 1]) + value[101:],
            "short": value[:-1],
            "empty": b"",
            "garbage": b"\r\nEND\r\nVALUE x 0 5\r\n",
        }[poison]
        client.set(keys[0], bad, noreply=False)
    assert check(store, root) == {"hits": 2, "damaged": 1}
    assert check(store, root) == {"hits": 3}


def test_a_server_that_evicts_is_a_miss(memcached: Start, root: Path):
    server = memcached()
    store = MemcachedStore(root, servers=[server.address])
    check(store, root)
    with closing(server.client()) as client:
        client.flush_all(noreply=False)
    assert check(store, root) == {"misses": 3}
    assert check(store, root) == {"hits": 3}


def test_a_dead_server_costs_a_read_and_is_taken_back(memcached: Start, root: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    server = memcached()
    store = MemcachedStore(root, servers=[server.address], **QUICK)
    check(store, root)
    server.kill()
    for _ in range(3):
        assert check(store, root) == {"fallbacks": 3}
    server.start()
    deadline = time.monotonic() + 10
    while "fallbacks" in check(store, root) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert check(store, root) == {"hits": 3}
    assert [record.getMessage().split(": ")[-1] for record in caplog.records][-1] == "is back"
    assert len(caplog.records) == 2, "one line when it goes, one when it returns"


def test_a_stalled_server_does_not_hang(memcached: Start, root: Path):
    server = memcached(port=True)
    store = MemcachedStore(root, servers=[server.address], **QUICK)
    check(store, root)
    server.signal(signal.SIGSTOP)
    start = time.monotonic()
    for _ in range(50):
        assert check(store, root) == {"fallbacks": 3}
    assert time.monotonic() - start < 1.5
    server.signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while "fallbacks" in check(store, root) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert check(store, root) == {"hits": 3}


def test_one_of_three_servers_dies_and_the_others_still_serve(memcached: Start, root: Path):
    servers = [memcached() for _ in range(3)]
    store = MemcachedStore(root, servers=[server.address for server in servers], **QUICK)
    for video in range(6):
        check(store, root, video)
    servers[1].kill()
    lost = {f"v{video}" for video in range(6) if choose(store.servers, b"v%d" % video) is store.servers[1]}
    for video in range(6):
        expected = "fallbacks" if f"v{video}" in lost else "hits"
        assert check(store, root, video) == {expected: 3}


def test_no_server_at_all_is_the_disk(root: Path, tmp_path: Path):
    store = MemcachedStore(root, servers=[str(tmp_path / "nobody")], **QUICK)
    assert check(store, root) == {"fallbacks": 3}


class Nonsense(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(1 << 16):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


class Drops(socketserver.BaseRequestHandler):  # sends an endless answer without long pauses
    def handle(self) -> None:
        self.request.recv(1 << 16)
        with contextlib.suppress(OSError):
            while True:
                self.request.sendall(b"S")
                time.sleep(0.02)


@pytest.mark.parametrize("answers", [Nonsense, Drops])
def test_a_server_that_is_no_memcached_is_left_alone(root: Path, answers: type[socketserver.BaseRequestHandler]):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = MemcachedStore(root, servers=[f"127.0.0.1:{server.server_address[1]}"], **QUICK)
        assert check(store, root) == {"fallbacks": 3}
        server.shutdown()


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_workers_open_their_own_connections_and_count_together(
    memcached: Start, root: Path, tmp_path: Path, start_method: str
):
    source = tmp_path / "list.txt"
    source.write_text("".join(f"v{video} {FRAMES} 0\n" for video in range(6)))
    records = read_list(source, root=root)
    server = memcached()
    store = MemcachedStore(root, servers=[server.address])
    check(store, root)  # connected before the fork

    def batches(frames: DiskStore, workers: int) -> list[torch.Tensor]:
        dataset = TSNDataset(records, frames, for_training(CLIPS["tsn"], CutClip(MultiScale(), 32)), seed=1)
        stream = TrainStream(6, 4, stop_step=6)
        loader = make_loader(dataset, stream, workers=workers, start_method=start_method)
        return [batch.clips for batch in loader]

    expected = batches(DiskStore(root), 0)
    before = store.stats()
    for one, two in zip(batches(store, 2), expected, strict=True):
        assert torch.equal(one, two)
    grown = {name: number - before[name] for name, number in store.stats().items()}
    assert sum(grown.values()) == grown["hits"] + grown["misses"] == 6 * 4 * 3
    assert check(store, root) == {"hits": 3}


def test_a_server_killed_in_the_middle_of_an_epoch(memcached: Start, root: Path, tmp_path: Path):
    source = tmp_path / "list.txt"
    source.write_text("".join(f"v{video} {FRAMES} 0\n" for video in range(6)))
    server = memcached()
    records = read_list(source, root=root)
    protocol = for_training(CLIPS["tsn"], CutClip(MultiScale(), 32))
    plain = TSNDataset(records, DiskStore(root), protocol, seed=1)
    store = MemcachedStore(root, servers=[server.address], **QUICK)
    cached = TSNDataset(records, store, protocol, seed=1)
    expected = [batch.clips for batch in make_loader(plain, TrainStream(6, 4, stop_step=12))]
    for step, batch in enumerate(make_loader(cached, TrainStream(6, 4, stop_step=12), workers=1)):
        if step == 3:
            server.kill()
        assert torch.equal(batch.clips, expected[step]) and batch.faults == [""] * 4
    assert store.stats()["fallbacks"] > 0


def test_filling_counts_what_was_stored(memcached: Start, root: Path, rng: np.random.Generator):
    noise = rng.integers(0, 256, (900, 900, 3), dtype=np.uint8)
    (root / "v0/img_00004.jpg").write_bytes(encode(noise, ".png"))
    server = memcached()
    store = MemcachedStore(root, servers=[server.address], **QUICK)
    assert store.fill("v0", range(FRAMES)) == {"stored": FRAMES - 1, "oversized": 1, "refused": 0}
    assert check(store, root) == {"hits": 2, "bypassed": 1}
    server.kill()
    assert store.fill("v1", range(FRAMES)) == {"stored": 0, "oversized": 0, "refused": FRAMES}


def test_a_store_is_pickled_without_its_connections(memcached: Start, root: Path):
    store = MemcachedStore(root, servers=[memcached().address])
    check(store, root)
    copy = pickle.loads(pickle.dumps(store))
    assert copy.servers[0]._client is None and check(copy, root) == {"hits": 3}
