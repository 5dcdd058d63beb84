"""Tiny frames: a bright blob that moves along a known path, so a test can tell which frame it was given."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket as socketlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pymemcache.client.base import Client

from datasets.stores.memcached_server import parse_address
from tests.helpers.afar import forget
from tests.helpers.file_server import FileServer

SIZE = (48, 64)  # height, width


def blob_frame(video: int, frame: int) -> np.ndarray:
    """uint8 (48, 64, 3) RGB: `video` sets the grey level, `frame` moves a red blob along a line."""
    image = np.full((*SIZE, 3), 40 + 20 * video, np.uint8)
    cv2.circle(image, (8 + 4 * (frame % 12), 8 + 2 * (frame % 16)), 4, (255, 0, 0), -1)
    return image


def encode(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_video(folder: Path, video: int, count: int, template: str = "img_{:05d}.jpg", first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(count):
        name = template.format(first + frame)
        (folder / name).write_bytes(encode(blob_frame(video, frame), Path(name).suffix))


def write_dump(root: Path, names: str, frames: int, fps: int, lists: Mapping[str, str]) -> Path:
    """Writes videos of one letter each as frames, a manifest that knows their rate, and lists; returns `root`."""
    for number, name in enumerate(names):
        write_video(root / "frames" / name, number, frames)
    lines: list[dict[str, Any]] = [{"kind": "header", "format": 1}]
    lines += [{"kind": "video", "video": f"frames/{name}", "frames": frames, "source_fps": fps} for name in names]
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, text in lists.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def tiny_frames(tmp_path: Path) -> Callable[..., Path]:
    """Makes frames of videos v0, v1, ... and their list; returns the list file. Labels are video % 2."""

    def make(*counts: int, template: str = "img_{:05d}.jpg", first: int = 1) -> Path:
        lines = []
        for video, count in enumerate(counts):
            write_video(tmp_path / "frames" / f"v{video}", video, count, template, first)
            lines.append(f"v{video} {count} {video % 2}\n")
        (tmp_path / "lists").mkdir(exist_ok=True)
        source = tmp_path / "lists" / "train.txt"
        source.write_text("".join(lines))
        return source

    return make


class Memcached:
    """A real memcached on a Unix socket or a free loopback port; `address` is what a config says."""

    def __init__(self, folder: Path, *options: str, port: bool = False):
        self.folder, self.options = folder, options
        if port:
            with closing(socketlib.socket()) as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.address, self.where = f"127.0.0.1:{self.port}", ["-l", "127.0.0.1", "-p", str(self.port)]
        else:
            # a short path: Unix sockets take about 100 characters
            self.socket = Path(tempfile.mkdtemp(prefix="mc")) / "s"
            self.address, self.where = str(self.socket), ["-s", str(self.socket)]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = ["memcached", "-U", "0", "-m", "64", "-t", "1", *self.where, *self.options]
        if os.geteuid() == 0:
            command += ["-u", "root"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                with closing(self.client()) as client:
                    client.version()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("memcached does not answer")

    def client(self) -> Client:
        return Client(parse_address(self.address), connect_timeout=1, timeout=1, no_delay=True)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.process.pid, os.WUNTRACED)  # until it really stands still

    def count(self, name: str) -> int:
        with closing(self.client()) as client:
            return int(client.stats()[name.encode()])


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Callable[..., Memcached]]:
    """Starts real servers; all are gone at the end."""
    servers: list[Memcached] = []

    def start(*options: str, port: bool = False) -> Memcached:
        servers.append(Memcached(tmp_path, *options, port=port))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        if not hasattr(server, "port"):
            shutil.rmtree(server.socket.parent)


@pytest.fixture
def afar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reading from far away gets a cache of its own and little patience."""
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "blocks"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DATA_TIMEOUT", "2")
    forget()
    yield
    forget()


@pytest.fixture
def server(afar: None) -> Iterator[FileServer]:
    one = FileServer()
    one.start()
    yield one
    one.stop()
