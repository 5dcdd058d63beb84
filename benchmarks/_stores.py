"""Puts the same frames into every store for one run of a benchmark, and removes them afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._workload import Workload
from datasets.stores.disk import FrameStore
from datasets.stores.memcached import MemcachedStore
from datasets.stores.pack_writer import PackedVideo, PackWriter
from datasets.stores.packed import PackedStore

NO_MEMCACHED = "memcached is not installed (apt-get install memcached): its row is left out"


@contextmanager
def open_stores(workload: Workload, folder: Path) -> Iterator[dict[str, FrameStore]]:
    """Gives filled stores: disk, packed and, where it is installed, memcached on a Unix socket."""
    stores: dict[str, FrameStore] = {"disk": workload.store, "packed": _pack(workload, folder / "pack")}
    if shutil.which("memcached") is None:
        yield stores
        return
    socket = folder / "socket"
    command = ["memcached", "-s", str(socket), "-m", "512", "-t", "1", "-U", "0"]
    if os.geteuid() == 0:
        command += ["-u", "root"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.05)
        disk = workload.store
        cache = MemcachedStore(disk.root, servers=[str(socket)], template=disk.template, first_frame=disk.first_frame)
        for index in range(len(workload.records)):
            cache.fill(workload.records.path(index), range(int(workload.records.num_frames[index])))
        yield {**stores, "memcached": cache}
    finally:
        server.terminate()
        server.wait(timeout=10)


def _pack(workload: Workload, folder: Path) -> PackedStore:
    records = workload.records
    writer = PackWriter(folder)
    paths = [records.path(index) for index in range(len(records))]
    videos = (
        PackedVideo(path, workload.store.get_many(path, range(int(count))))
        for path, count in zip(paths, records.num_frames, strict=True)
    )
    for _ in writer.write(videos):
        pass
    writer.merge(paths)
    return PackedStore(workload.store.root, folder=folder)
