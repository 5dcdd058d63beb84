"""Files of published weights: the nearest copy is taken, one process fetches, and whoever cannot says what to do."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from networks.checkpoints.file import load_checkpoint_file
from tests.helpers.file_server import FileServer, serving
from tests.helpers.publish import ABOUT, use_cache, use_registry
from tests.helpers.requirements import needs_package
from utils.errors import CheckpointError
from utils.published import files
from utils.published.files import check_fetchable, checkpoint_file, fetch, local_file, meant_names
from utils.published.registry import Published

CONTENT = bytes(range(256)) * 300
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of /net-HASH.pth and /net.pth, and a cache below tmp_path."""
    use_cache(tmp_path, monkeypatch)
    monkeypatch.setenv("WEIGHTS_TIMEOUT", "5")
    with serving(**{f"net-{DIGITS}.pth": CONTENT, "net.pth": CONTENT}) as server:
        yield server


@pytest.fixture
def entries(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Published]:
    """The whole registry: one entry with a hash in its name, two whose files have the same name, one by hand."""
    found = [
        Published("set/hashed", **ABOUT, url=f"{server.address}/net-{DIGITS}.pth", sha256=DIGITS),
        Published("set/shared", **ABOUT, url=f"{server.address}/net.pth"),
        Published("other/shared", **ABOUT, url=f"{server.address}/net.pth"),
        Published("set/by_hand", **ABOUT, page="https://page.example/form", file="hand.pth"),
        Published("set/nameless", **ABOUT, page="https://page.example/form"),
    ]
    return use_registry(found, monkeypatch)


def test_a_name_is_fetched_once_to_where_torch_hub_looks(
    entries: dict[str, Published], server: FileServer, tmp_path: Path
) -> None:
    for _ in range(2):
        assert checkpoint_file("set/hashed") == tmp_path / "torch/hub/checkpoints" / f"net-{DIGITS}.pth"
    assert checkpoint_file("set/hashed").read_bytes() == CONTENT and len(server.asked) == 1


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", "HOME"])
def test_that_is_known_without_loading_torch(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    asked = files._torch_hub()
    monkeypatch.delitem(sys.modules, "torch")
    assert files._torch_hub() == asked and asked.is_relative_to(tmp_path)


def test_files_of_the_same_name_do_not_meet(entries: dict[str, Published], tmp_path: Path) -> None:
    places = [checkpoint_file(name) for name in ("set/shared", "other/shared")]
    assert places == [tmp_path / "torch/hub/checkpoints" / name / "net.pth" for name in ("set/shared", "other/shared")]


def test_a_file_in_pretrained_goes_before_every_other(entries: dict[str, Published], tmp_path: Path) -> None:
    fetched = fetch(entries["set/shared"], folder=tmp_path)
    (tmp_path / "net.pth").touch()  # not the only file of this name
    assert fetch(entries["set/shared"], folder=tmp_path) == fetched
    mine = tmp_path / "set" / "shared" / "net.pth"
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert fetch(entries["set/shared"], folder=tmp_path) == mine
    (tmp_path / f"net-{DIGITS}.pth").touch()
    assert local_file(entries["set/hashed"], tmp_path) == tmp_path / f"net-{DIGITS}.pth"
    assert local_file(entries["other/shared"], tmp_path) is None


def test_a_path_goes_before_a_name_and_this_is_said(
    entries: dict[str, Published],
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/hashed").touch()
    assert checkpoint_file("set/hashed") == Path("set/hashed")
    said = "set/hashed: is a path here; the published weights of the same name are not meant\n"
    assert capsys.readouterr().err == said
    for absent in ("ckpt.pth.tar", "set/ckpt_best.pth.tar", "exps/mine", "/nowhere/set/hashed", "scores.npz"):
        assert checkpoint_file(absent) == Path(absent)
    assert server.asked == []


def test_a_wrong_name_of_a_known_data_set_names_the_nearest(entries: dict[str, Published]) -> None:
    with pytest.raises(CheckpointError, match=r"set/hashd: no published weights have this name.*set/hashed"):
        checkpoint_file("set/hashd")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sett/hashed", "set/hashed"),
        ("hashed", "set/hashed"),
        ("k400/shared", "set/shared, other/shared"),
        ("exps/mine", ""),
        ("runs/set/hashed", ""),
        ("sett/hashed.pth", ""),
        ("/sett/hashed", ""),
    ],
)
def test_a_path_that_is_not_there_may_be_a_name_of_another_data_set(
    entries: dict[str, Published], given: str, meant: str
) -> None:
    said = meant_names(given)
    assert said == (f"; did you mean the published weights {meant}?" if meant else "")
    with pytest.raises(CheckpointError, match=re.escape(f"{given}: no such checkpoint{said}") + "$"):
        load_checkpoint_file(given)


def test_a_failure_says_where_the_file_can_be_put(
    entries: dict[str, Published], server: FileServer, tmp_path: Path
) -> None:
    server.faults["/net.pth"] = [404, 404]
    with pytest.raises(CheckpointError, match=rf"answers 404 Not Found; or put .* as {tmp_path}/set/shared/net\.pth$"):
        fetch(entries["set/shared"], folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"; or put the file here as pretrained/set/shared/net\.pth$"):
        fetch(entries["set/shared"])
    with pytest.raises(CheckpointError, match=rf"open https://page.example/form, and put .* as {tmp_path}/hand\.pth$"):
        fetch(entries["set/by_hand"], folder=tmp_path)
    with pytest.raises(CheckpointError, match="use the path of the file instead of the name"):
        fetch(entries["set/nameless"])


def test_that_a_file_can_be_fetched_is_asked_without_fetching_it(
    entries: dict[str, Published], server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_fetchable(entries["set/hashed"])
    assert server.asked == [] and local_file(entries["set/hashed"]) is None, "a HEAD brings no byte of it"
    with pytest.raises(CheckpointError, match="set/by_hand: comes by hand only"):
        check_fetchable(entries["set/by_hand"])
    fetch(entries["set/hashed"])
    server.stop()
    check_fetchable(entries["set/hashed"])  # it is here
    with pytest.raises(
        CheckpointError, match=r"/net\.pth: cannot be reached \(.+\); or put the file here as .*net\.pth"
    ):
        check_fetchable(entries["set/shared"])
    monkeypatch.setenv("WEIGHTS_MIRROR", "http://127.0.0.1:9/copies")
    with pytest.raises(CheckpointError, match=r"^http://127\.0\.0\.1:9/copies/127\.0\.0\.1:\d+/net\.pth: cannot be"):
        check_fetchable(entries["set/shared"])


def test_a_licence_is_said_before_the_first_byte_comes(
    entries: dict[str, Published], server: FileServer, tmp_path: Path
) -> None:
    bound = dataclasses.replace(entries["set/shared"], licence="CC-BY-NC-4.0", commercial="no", mb=97.8)
    said: list[str] = []

    def tell(text: str) -> None:
        assert server.asked == []
        said.append(text)

    fetch(bound, folder=tmp_path, tell=tell)
    assert said == [
        "set/shared: its licence, CC-BY-NC-4.0, forbids commercial use",
        f"set/shared: downloading {server.address}/net.pth, about 97.8 MB",
    ]


def test_processes_that_ask_at_once_fetch_once(entries: dict[str, Published], server: FileServer) -> None:
    server.faults[f"/net-{DIGITS}.pth"] = ["stall"]
    processes = [multiprocessing.get_context("fork").Process(target=_fetch, args=(entries,)) for _ in range(4)]
    for process in processes:
        process.start()
    while not server.asked:
        time.sleep(0.01)  # the server answers from a thread of this process
    server.go_on.set()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert [wanted for _, wanted in server.asked][1:] == [f"bytes={len(CONTENT) // 2}-"]


def _fetch(entries: dict[str, Published]) -> None:
    assert fetch(entries["set/hashed"]).read_bytes() == CONTENT


HUB = "a/b", "model.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: FileServer) -> Published:
    """An entry of the Hub, and huggingface_hub with an empty cache and our server for its own."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", server.address)  # both are read from HF_ENDPOINT once
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return Published("timm/net", **ABOUT, hub=HUB[0], file=HUB[1])


@needs_package("huggingface_hub")
def test_a_hub_that_cannot_be_reached_is_one_line(hub: Published, tmp_path: Path, server: FileServer) -> None:
    server.stop()
    with pytest.raises(CheckpointError) as refused:
        fetch(hub, folder=tmp_path)
    text = str(refused.value)
    assert text.startswith(f"{server.address}: cannot be reached (Connection refused)") and "\n" not in text
    assert text.endswith(f"; or put the file here as {tmp_path}/timm/net/model.safetensors")


@needs_package("huggingface_hub")
@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (
            {"X-Error-Code": "GatedRepo"},
            "its authors ask for consent: open .*/a/b, agree, and set HF_TOKEN",
        ),
        ({"X-Error-Code": "RepoNotFound"}, "/a/b: "),
    ],
)
def test_a_refusal_of_the_hub_says_what_to_do(
    hub: Published, tmp_path: Path, server: FileServer, headers: dict[str, str], words: str
) -> None:
    server.refusal = headers
    with pytest.raises(CheckpointError, match=rf"^timm/net: .*{words}") as refused:
        fetch(hub, folder=tmp_path)
    assert "\n" not in str(refused.value) and not [*tmp_path.rglob("model.safetensors")]


@needs_package("huggingface_hub")
def test_a_file_of_the_hub_comes_with_the_token(
    hub: Published, tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.files["/a/b/resolve/main/model.safetensors"] = CONTENT
    assert fetch(hub, folder=tmp_path).read_bytes() == CONTENT
    assert server.tokens == {"Bearer hf_secret"}


@needs_package("huggingface_hub")
def test_a_file_in_the_cache_of_the_hub_is_taken_without_asking(
    hub: Published, tmp_path: Path, server: FileServer
) -> None:
    repo = tmp_path / "hub" / "models--a--b"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    there = repo / "snapshots" / ("0" * 40) / "model.safetensors"
    there.parent.mkdir(parents=True)
    there.write_bytes(CONTENT)
    assert fetch(hub, folder=tmp_path / "none") == there and server.asked == []


def test_without_the_package_of_the_hub_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install huggingface_hub fetches it by itself; or put"):
        fetch(Published("timm/net", **ABOUT, hub=HUB[0], file=HUB[1]), folder=tmp_path)
