"""Files in a bucket of S3, on a server of this machine: the bytes that are there, or an error with the address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.lists.tables import read_videos
from datasets.places import files
from datasets.places.blocks import BLOCK
from datasets.places.files import exists, list_names, open_file, read_bytes
from datasets.places.place import place
from tests.helpers.afar import forget
from tests.helpers.file_server import FileServer
from tests.helpers.requirements import needs_package
from tests.helpers.tars import write_tar
from utils.errors import FrameError

pytestmark = [
    pytest.mark.whole,
    pytest.mark.usefixtures("afar"),
    needs_package("moto", "pip install -r requirements-dev.txt"),
    needs_package("s3fs", "pip install s3fs"),
    # botocore and moto use what later versions of Python will not have
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
LONG = np.random.default_rng(1).bytes(10 * BLOCK + 777)
KEYS = {"key": "someone", "secret": "something"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yields fsspec's file system of a bucket `videos`, whose place and credentials are in fsspec's own config."""
    import fsspec
    import s3fs

    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": endpoint, **KEYS})
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    system.mkdir("videos")
    yield system
    system.rm("videos", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_every_way_of_reading_gives_the_same_bytes(bucket: Any) -> None:
    bucket.pipe("videos/v/long.mp4", LONG)
    bucket.pipe("videos/v/short.mp4", LONG[:5000])
    assert read_bytes("s3://videos/v/long.mp4") == LONG and read_bytes("s3://videos/v/short.mp4") == LONG[:5000]
    with open_file("s3://videos/v/long.mp4") as stream:
        stream.seek(7 * BLOCK - 5)
        assert stream.read(20) == LONG[7 * BLOCK - 5 :][:20]
    assert sorted(list_names(place("s3://videos/v"))) == ["long.mp4", "short.mp4"]
    assert exists("s3://videos/v/long.mp4") and not exists("s3://videos/v/none.mp4")


def test_a_listing_says_the_same_versions_as_questions_about_single_files(bucket: Any) -> None:
    paths = [f"s3://videos/m/{number}.mp4" for number in range(10)]
    for path in paths:
        bucket.pipe(path, path.encode() * 99)
    listed = files.versioned(paths)  # by a listing
    forget()
    assert [files.versioned([path])[0] for path in paths] == listed
    bucket.pipe("s3://videos/long.mp4", LONG)
    files.versioned([*(f"s3://videos/{number}" for number in range(8)), "s3://videos/long.mp4"])
    assert read_bytes("s3://videos/long.mp4") == LONG  # whose version is compared after each part


def test_what_is_missing_denied_or_changed_is_an_error(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FrameError, match=r"^s3://videos/none.mp4: no such file$"):
        read_bytes("s3://videos/none.mp4")
    bucket.pipe("videos/a.mp4", LONG)
    with open_file("s3://videos/a.mp4") as stream:
        assert stream.read(9) == LONG[:9]
        bucket.pipe("videos/a.mp4", LONG[::-1])
        stream.seek(5 * BLOCK)
        with pytest.raises(FrameError, match=r"^s3://videos/a.mp4: has changed while it was read"):
            stream.read(9)
    real = type(bucket)._cat_file

    async def denied(*_: Any, **__: Any) -> bytes:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(bucket), "_cat_file", denied)
    forget()
    with pytest.raises(
        FrameError, match=r"^s3://videos/a.mp4: access is denied .Access Denied.; give credentials as fsspec"
    ):
        read_bytes("s3://videos/a.mp4")
    tries: list[int] = []

    async def once(self: Any, *args: Any, **given: Any) -> bytes:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("Please reduce your request rate.")
        return await real(self, *args, **given)

    monkeypatch.setattr(type(bucket), "_cat_file", once)
    assert read_bytes("s3://videos/a.mp4") == LONG[::-1] and len(tries) > 1


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> FileServer:
    """A store that speaks as much of S3 as reading needs, and goes wrong as it is told."""
    import fsspec
    import s3fs

    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.address, **KEYS})
    s3fs.S3FileSystem.clear_instance_cache()
    server.files["/videos/a.mp4"] = LONG
    return server


@pytest.mark.parametrize("fault", ["stall", "truncate", "die", 503])
def test_what_passes_is_tried_again(bad: FileServer, fault: Any) -> None:
    bad.faults["/videos/a.mp4"] = [fault]
    assert read_bytes("s3://videos/a.mp4") == LONG


@pytest.mark.timeout(60)  # a hang would be endless
@pytest.mark.parametrize("fault", [403, 404, 503, "silent", "truncate", "die"])
def test_what_does_not_pass_is_an_error_in_time(bad: FileServer, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    stream = open_file("s3://videos/a.mp4")
    monkeypatch.setenv("DATA_TIMEOUT", "0.5")
    bad.always["/videos/a.mp4"] = fault
    with pytest.raises(FrameError, match=r"^s3://videos/a.mp4: "):
        stream.read()


@pytest.mark.parametrize("more", [1000, -1000])
def test_a_wrong_length_is_an_error(bad: FileServer, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    monkeypatch.setenv("DATA_TIMEOUT", "0.5")
    bad.lengths["/videos/a.mp4"] = len(LONG) + more
    with pytest.raises(FrameError, match=r"^s3://videos/a.mp4: "):
        read_bytes("s3://videos/a.mp4")


def test_shards_in_a_bucket_are_read_as_those_on_a_disk(bucket: Any, tmp_path: Path) -> None:
    for shard in range(2):
        samples = {f"{n}": {"mp4": LONG[n : n + 300_000], "cls": b"%d" % n} for n in range(4)}
        bucket.put_file(str(write_tar(tmp_path / f"t-{shard}.tar", samples)), f"videos/shards/t-{shard}.tar")
    here, _ = read_videos(tmp_path / "t-{0..1}.tar", num_class=4)
    there, _ = read_videos("s3://videos/shards/t-*.tar", num_class=4)
    assert len(there) == 8 and there.labels.tolist() == here.labels.tolist()
    wrong: list[int] = []

    def compare(number: int) -> None:
        if read_bytes(there.full_path(number)) != read_bytes(here.full_path(number)):
            wrong.append(number)

    threads = [threading.Thread(target=compare, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
