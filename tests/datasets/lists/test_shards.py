"""Tars of samples as lists: every sample once, with its label, or an error that names the tar."""

from __future__ import annotations

import io
import logging
import tarfile
from pathlib import Path

import fsspec
import pytest

from datasets.lists.shards import find_shards, is_shards, shard_starts
from datasets.lists.tables import read_videos
from datasets.places import tars
from datasets.places.files import exists, open_file, read_bytes
from tests.helpers.tars import write_tar
from utils.errors import FrameError, ListError
from utils.scoring.label_sets import LabelSets


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def video(name: str) -> bytes:
    return name.encode() * 300


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{000..002}.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-{9..11}.tar", ["a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{x,y}-{0..1}.tar", ["x-0.tar", "x-1.tar", "y-0.tar", "y-1.tar"]),
        ("a.tar", ["a.tar"]),
    ],
)
def test_patterns_name_shards_in_order(pattern: str, names: list[str]) -> None:
    assert find_shards(f"s3://bucket/{pattern}") == ("s3://bucket", names)
    assert is_shards(pattern) and find_shards(pattern) == (Path(), names)


def test_a_star_asks_the_folder(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.txt"):
        write_tar(tmp_path / name, {})
    assert find_shards(tmp_path / "*.tar") == (tmp_path, ["a.tar", "b.tar"])
    with pytest.raises(ListError, match=r"there is no such tar"):
        find_shards(tmp_path / "x*.tar")
    with pytest.raises(ListError, match=r"only the names of the tars"):
        find_shards("s3://b/{a,b}/x.tar")


def test_a_shard_that_is_named_twice_is_an_error() -> None:
    with pytest.raises(ListError, match=r"names a-1.tar twice, so its samples would count twice"):
        find_shards("/x/a-{1,2,1}.tar")


def test_every_sample_is_a_record_with_its_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tar(
        tmp_path / "t-0.tar",
        {
            "k/000": {"mp4": video("000"), "cls": b"1", "json": b'{"label": 0}'},
            "k/001": {"json": b'{"key": "001", "label": 2}', "mp4": video("001"), "txt": b"0"},
            "k/002": {"txt": b"0\n", "jpg": b"thumbnail", "MP4": video("002")},
        },
    )
    write_tar(tmp_path / "t-1.tar", {"000": {"cls": b"2"}, "003": {"webm": video("003"), "cls": b"2"}})
    with caplog.at_level(logging.WARNING):
        records, names = read_videos(tmp_path / "t-{0..1}.tar", num_class=3)
    assert "1 samples have no video or picture and are left out" in caplog.text
    paths = [records.path(index) for index in range(len(records))]
    assert paths == ["t-0.tar/k/000.mp4", "t-0.tar/k/001.mp4", "t-0.tar/k/002.MP4", "t-1.tar/003.webm"]
    assert records.labels.tolist() == [1, 2, 0, 2] and names is None
    assert [read_bytes(records.full_path(index)) for index in range(4)] == [video(f"00{index}") for index in range(4)]
    assert records.where(3) == f"{tmp_path}/t-{{0..1}}.tar:4"
    assert shard_starts(paths).tolist() == [0, 3]
    pictures, _ = read_videos(tmp_path / "t-0.tar", encoded=False)
    assert [pictures.path(index) for index in range(len(pictures))] == ["t-0.tar/k/002.jpg"]


def test_names_are_numbered_as_those_of_folders(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", {"0": {"mp4": b"x", "txt": b"run"}, "1": {"mp4": b"x", "json": b'{"label": "jump"}'}})
    records, names = read_videos(tmp_path / "t.tar")
    assert names == ["jump", "run"] and records.labels.tolist() == [1, 0]


def test_a_list_in_json_is_a_set_of_classes(tmp_path: Path) -> None:
    samples = {"0": {"mp4": b"x", "json": b'{"labels": [0, 2]}'}, "1": {"mp4": b"x", "cls": b"1"}}
    write_tar(tmp_path / "t.tar", samples)
    records, _ = read_videos(tmp_path / "t.tar", num_class=3, multi_label=True)
    assert isinstance(records.labels, LabelSets)
    assert [records.labels[index].tolist() for index in range(2)] == [[1, 0, 1], [0, 1, 0]]


def test_captions_are_no_labels(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", {"0": {"mp4": b"x", "txt": b"A man walks.\nThen he runs."}})
    with pytest.raises(ListError, match=r"t.tar/0.mp4: has no label, neither a .cls nor"):
        read_videos(tmp_path / "t.tar", num_class=3)
    records, _ = read_videos(tmp_path / "t.tar", num_class=3, unlabelled=True)
    assert records.labels.tolist() == [-1]


def test_two_videos_of_one_sample_are_an_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", {"0": {"left.mp4": b"x", "right.mp4": b"x", "cls": b"1"}})
    with pytest.raises(ListError, match=r"sample '0' has both 0.left.mp4 and 0.right.mp4; keep one"):
        read_videos(tmp_path / "t.tar")


def test_long_names_and_large_tars_of_other_formats_are_read(tmp_path: Path) -> None:
    name = "folder/" + "n" * 150 + "é"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as tar:
            info = tarfile.TarInfo(f"{name}.mp4")
            info.size = 5
            tar.addfile(info, io.BytesIO(b"12345"))
        assert read_bytes(f"{path}/{name}.mp4") == b"12345"


def test_the_index_is_made_once_and_again_when_the_tar_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[str] = []
    real = tars._scan
    monkeypatch.setattr(tars, "_scan", lambda name, *rest: scanned.append(name) or real(name, *rest))
    path = write_tar(tmp_path / "t.tar", {"0": {"mp4": b"first"}})
    assert read_bytes(f"{path}/0.mp4") == b"first"
    tars._open.cache_clear()
    assert read_bytes(f"{path}/0.mp4") == b"first" and len(scanned) == 1
    write_tar(path, {"1": {"mp4": b"one"}, "0": {"mp4": b"second"}})
    assert read_bytes(f"{path}/0.mp4") == b"second" and len(scanned) == 2
    assert not exists(f"{path}/2.mp4")
    with pytest.raises(FrameError, match=r"t.tar/2.mp4: is not in the tar"):
        open_file(f"{path}/2.mp4")
    for index in (tmp_path / "cache").rglob("*.tar-index"):
        index.write_bytes(index.read_bytes()[:-9])
    tars._open.cache_clear()
    assert read_bytes(f"{path}/0.mp4") == b"second"


def test_an_unpacked_tar_may_keep_its_name(tmp_path: Path) -> None:
    (tmp_path / "t.tar").mkdir()
    assert not exists(tmp_path / "t.tar/0.mp4")


@pytest.mark.parametrize("cut", [100, 512, 700, 1024 + 300, 1536, 2048, 2560])
def test_a_tar_that_is_cut_off_is_an_error(tmp_path: Path, cut: int) -> None:
    path = write_tar(tmp_path / "t.tar", {"0": {"mp4": b"x" * 600}, "1": {"mp4": b"y" * 400}})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ListError, match=r"t.tar.*(cut off|damaged)") as caught:
        read_videos(path, unlabelled=True)
    assert str(caught.value).count("t.tar") == 1


@pytest.mark.parametrize("at", [0, 150, 1536, 1536 + 150])
def test_a_damaged_header_is_an_error_and_never_the_end(tmp_path: Path, at: int) -> None:
    path = write_tar(tmp_path / "t.tar", {"0": {"mp4": b"x" * 600}, "1": {"mp4": b"y" * 400}})
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(ListError, match=r"t.tar"):
        read_videos(path, unlabelled=True)


def test_what_is_no_tar_of_plain_files_is_an_error(tmp_path: Path) -> None:
    joined = write_tar(tmp_path / "joined.tar", {"0": {"mp4": b"x"}})
    joined.write_bytes(joined.read_bytes() * 2)
    with pytest.raises(ListError, match=r"joined.tar: goes on behind its end mark"):
        read_videos(joined, unlabelled=True)
    with pytest.raises(ListError, match=r"twice.tar/a.mp4: is twice in the tar"):
        read_videos(write_tar(tmp_path / "twice.tar", [("a.mp4", b"1"), ("a.mp4", b"2")]), unlabelled=True)
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.mp4"))
    with pytest.raises(ListError, match=r"packed.tar: is no tar, or damaged .*unpack it first"):
        read_videos(tmp_path / "packed.tar", unlabelled=True)
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        info = tarfile.TarInfo("a.mp4")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ListError, match=r"link.tar/a.mp4: is no plain file"):
        read_videos(tmp_path / "link.tar", unlabelled=True)
    with pytest.raises(ListError, match=r"none.tar: no such file"):
        read_videos(tmp_path / "none.tar", unlabelled=True)
    write_tar(tmp_path / "texts.tar", {"0": {"txt": b"x"}})
    with pytest.raises(ListError, match=r"no sample has a file with one of the suffixes"):
        read_videos(tmp_path / "texts.tar", unlabelled=True)
    write_tar(tmp_path / "json.tar", {"0": {"mp4": b"x", "json": b"{"}})
    with pytest.raises(ListError, match=r"json.tar/0.json: is no JSON"):
        read_videos(tmp_path / "json.tar", unlabelled=True)


def test_tars_at_addresses_are_read_as_those_on_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "blocks"))
    path = write_tar(
        tmp_path / "t-0.tar", {f"{n}": {"mp4": video(f"{n}") * 50, "cls": b"%d" % (n % 3)} for n in range(9)}
    )
    fsspec.filesystem("memory").pipe("/shards/t-0.tar", path.read_bytes())
    here, _ = read_videos(path, num_class=3)
    there, _ = read_videos("memory://shards/t-*.tar", num_class=3)
    assert [there.path(n) for n in range(9)] == [here.path(n) for n in range(9)]
    assert there.labels.tolist() == here.labels.tolist()
    for number in range(9):
        assert read_bytes(there.full_path(number)) == read_bytes(here.full_path(number))


def test_whole_floats_and_suffixes_in_capitals_are_labels_as_in_a_csv(tmp_path: Path) -> None:
    samples = {
        "0": {"mp4": b"x", "json": b'{"label": 3.0}'},
        "1": {"MP4": b"x", "CLS": b"3.0"},
        "2": {"mp4": b"x", "JSON": b'{"label": 2}', "cls": b"1"},
    }
    records, _ = read_videos(write_tar(tmp_path / "t.tar", samples), num_class=4)
    assert records.labels.tolist() == [3, 3, 1]


@pytest.mark.parametrize("label", ["3.5", "true", "{}", "[[1]]", '["a;b"]', '["a", ""]', "[1, null]", "NaN"])
def test_what_is_in_json_and_is_no_label_is_an_error(tmp_path: Path, label: str) -> None:
    sample = {"mp4": b"x", "json": f'{{"label": {label}}}'.encode()}
    with pytest.raises(ListError, match=r"t.tar/0.json: its label .* is not one; it must be a name, a whole number"):
        read_videos(write_tar(tmp_path / "t.tar", {"0": sample}), multi_label=True, unlabelled=True)
    records, _ = read_videos(write_tar(tmp_path / "u.tar", {"0": {**sample, "cls": b"1"}}), num_class=2)
    assert records.labels.tolist() == [1], "what .cls says comes first"


def test_two_labels_of_one_kind_are_an_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", {"0": {"mp4": b"x", "cls": b"1", "CLS": b"2"}})
    with pytest.raises(ListError, match=r"t.tar: sample '0' has two labels in files .cls; keep one"):
        read_videos(tmp_path / "t.tar")


def test_a_missing_tar_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(ListError) as caught:
        read_videos(tmp_path / "gone-0.tar")
    assert str(caught.value) == f"{tmp_path}/gone-0.tar: no such file"


def test_tars_may_lie_in_a_folder_that_is_called_like_a_tar(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "un.tar/in.tar", {"0": {"mp4": b"film", "cls": b"0"}})
    records, _ = read_videos(path)
    assert exists(records.full_path(0)) and read_bytes(records.full_path(0)) == b"film"
    with pytest.raises(ListError, match=r"may not lie in a folder that is called like a tar"):
        find_shards("s3://b/un.tar/in.tar")
