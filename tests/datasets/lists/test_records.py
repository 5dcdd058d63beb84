"""Tests that lists in every dialect are read and that every mistake gives one clear error."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datasets.lists import checks
from datasets.lists import parser as list_parser
from datasets.lists.records import RecordList, read_list
from utils.errors import ListError
from utils.flat_file import open_arrays, save_arrays


def records_of(tmp_path: Path, text: str | bytes, **kwargs: object) -> RecordList:
    source = tmp_path / "train.txt"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_list(source, **kwargs)  # type: ignore[arg-type]


def rows(records: RecordList) -> list[tuple[str, int, int]]:
    return [(records.path(i), int(records.num_frames[i]), int(records.labels[i])) for i in range(len(records))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b 10 3\n", ("a/b", 10, 3)),
        ("a/b 10 3", ("a/b", 10, 3)),
        ("a/b\t10\t3\r\n", ("a/b", 10, 3)),
        ("a/b,10,3\n", ("a/b", 10, 3)),
        ("a/b, 10, 3 \n", ("a/b", 10, 3)),
        ("\ufeffa/b 10 3\n", ("a/b", 10, 3)),
        ("v playing guitar 10 3\n", ("v playing guitar", 10, 3)),
        ("v playing  guitar,loud 10 3\n", ("v playing  guitar,loud", 10, 3)),
        ("tab\there 10 3\n", ("tab\there", 10, 3)),
        ('"a, b",10,3\n', ("a, b", 10, 3)),
        ('"a, b","10","3"\n', ("a, b", 10, 3)),
        ('"say ""hi"" now",10,3\n', ('say "hi" now', 10, 3)),
        ('"say" more 10 3\n', ('"say" more', 10, 3)),
        ("2 10 3\n", ("2", 10, 3)),
        ("v 7 10 3\n", ("v 7", 10, 3)),
        ("视频/跳舞 10 3\n", ("视频/跳舞", 10, 3)),
        ("#1 dance 010 03\n", ("#1 dance", 10, 3)),
    ],
)
def test_every_dialect_gives_the_same_record(tmp_path: Path, text: str, expected: tuple[str, int, int]):
    assert rows(records_of(tmp_path, text)) == [expected]


def test_blank_lines_are_skipped_and_line_numbers_kept(tmp_path: Path):
    records = records_of(tmp_path, "\n\r\na 1 0\n\n  \nb 2 1\n\n")
    assert rows(records) == [("a", 1, 0), ("b", 2, 1)]
    assert [records.where(i).rsplit(":", 1)[1] for i in (0, 1)] == ["3", "6"]


def test_paths_that_are_not_utf8_survive(tmp_path: Path):
    assert records_of(tmp_path, b"caf\xe9 3 0\n").path(0).encode("utf-8", "surrogateescape") == b"caf\xe9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train.txt: the list is empty"),
        ("\n \r\n", r"train.txt: the list is empty"),
        ("a 1 0\nb 0 1\n", r"train.txt:2: 'b' has 0 frames"),
        ("a 1 0\n\nb -3 1\n", r"train.txt:3: 'b' has -3 frames"),
        ("a 1 0\nb 5 -1\n", r"train.txt:2: label -1 is negative"),
        ("a 1 0\nb 5 5\n", r"train.txt:2: label 5 is outside num_class 5: labels must be 0..4; raise"),
        ("a 1 1\nb 5 5\n", r"train.txt:2: label 5 is outside num_class 5: .* seems to count from 1"),
        ("a 1 0\nb 5\n", r"train.txt:2: expected `path num_frames label`, found 2 columns in 'b 5'; .*make_lists"),
        ("a 1 0\nb\n", r"train.txt:2: expected `path num_frames label`, found only 1 column in 'b'"),
        ("a 1 0\nb five 1\n", r"train.txt:2: num_frames 'five' is not a whole number"),
        ("a 1 0\nb 5 1.0\n", r"train.txt:2: label '1.0' is not a whole number"),
        ("a 1 0\nb 5 12345678901\n", r"train.txt:2: label '12345678901' is not a whole number"),
        ("a 1 0\nb 5 1x\n", r"train.txt:2: label '1x'"),
        ("a 1 0\nb 5 -\n", r"train.txt:2: label '-'"),
        ('a 1 0\n"b",5,""\n', r"train.txt:2: label '' is not"),
        ("path num_frames label\na 1 0\n", r"train.txt:1: looks like a header"),
        ("a 1 0\n".encode("utf-16"), r"train.txt: is UTF-16 text"),
        (b"\x89PNG\0\0\0", r"train.txt: is not a text file"),
        ("a 1 0\rb 1 0\r", r"train.txt: its lines end in CR alone"),
        ("a 1 0\n" * 2000 + "b\0c 5 1\nd 1 0\n", r"train.txt:2001: the path 'b\\x00c' contains the character NUL"),
    ],
)
def test_anything_wrong_is_one_line_with_file_and_line(tmp_path: Path, text: str | bytes, message: str):
    with pytest.raises(ListError, match=message) as error:
        records_of(tmp_path, text, num_class=5)
    assert "\n" not in str(error.value)


def test_a_list_that_is_not_there(tmp_path: Path):
    with pytest.raises(ListError, match=r"none.txt: no such list file"):
        read_list(tmp_path / "none.txt")
    with pytest.raises(ListError, match="is a folder"):
        read_list(tmp_path)


def test_json_in_place_of_a_list_is_told_what_makes_lists_of_it(tmp_path: Path):
    (tmp_path / "train.json").write_text('[{"vid_name": "a", "label": 0}]')
    with pytest.raises(ListError, match=r"train\.json: is JSON, not a list; tools/make_lists\.py --csv .*train\.json "):
        read_list(tmp_path / "train.json")


def test_other_columns(tmp_path: Path):
    videos = records_of(tmp_path, "a b.mp4 3\n", columns=("label",))
    assert rows(videos) == [("a b.mp4", 0, 3)]
    assert rows(records_of(tmp_path, "a 3 -1\nb 3 0\n", unlabelled=True)) == [("a", 3, -1), ("b", 3, 0)]
    with pytest.raises(ListError, match="label -2 is negative"):
        records_of(tmp_path, "a 3 -2\n", unlabelled=True)
    assert rows(records_of(tmp_path, "a b 3\n", columns=("num_frames",))) == [("a b", 3, -1)]


def test_root_is_put_before_paths(tmp_path: Path):
    assert records_of(tmp_path, "a/b 1 0\n", root="/data").full_path(0) == "/data/a/b"
    assert records_of(tmp_path, "/x/b 1 0\n", root="/").full_path(0) == "/x/b"


PATHS = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12).filter(
    lambda path: path == path.strip(" ,") and '"' not in path
)


@pytest.mark.whole
@example(videos=[("a longer path", 10000, 100)], separator=" ", newline="\r\n", block=24)  # it ends between CR and LF
@given(
    st.lists(st.tuples(PATHS, st.integers(1, 10**6), st.integers(0, 999)), min_size=1, max_size=30),
    st.sampled_from([" ", "\t", ",", ", ", "  "]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(8, 64),
)
def test_what_is_written_is_read_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory,
    videos: list[tuple[str, int, int]],
    separator: str,
    newline: str,
    block: int,
):
    source = tmp_path_factory.mktemp("list") / "list.txt"
    text = "".join(f"{path}{separator}{count}{separator}{label}{newline}" for path, count, label in videos)
    source.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_parser, "_BLOCK", block)
        assert rows(read_list(source)) == videos


def test_a_cached_list_is_mapped_and_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    text = "".join(f"video {i} {i % 9 + 1} {i % 5}\n" for i in range(1000))
    cache = tmp_path / "cache"
    plain = records_of(tmp_path, text)
    first = records_of(tmp_path, text, cache_folder=cache)
    (file,) = cache.iterdir()
    written = file.stat().st_mtime_ns
    second = records_of(tmp_path, text, cache_folder=cache)
    assert file.stat().st_mtime_ns == written
    assert rows(plain) == rows(first) == rows(second)
    with pytest.raises(ListError, match=r"train.txt:5: label 4 is outside num_class 4"):
        records_of(tmp_path, text, cache_folder=cache, num_class=4)
    assert rows(records_of(tmp_path, text + "new 1 0\n", cache_folder=cache))[-1] == ("new", 1, 0)
    file.write_bytes(file.read_bytes()[:-64])
    assert rows(records_of(tmp_path, text, cache_folder=cache)) == rows(plain)
    assert "damaged cache" in caplog.text


def test_a_cached_list_of_spans_with_another_root_is_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_BLOCK", 3)
    given = {"columns": ("offset", "num_frames", "label"), "cache_folder": tmp_path / "cache"}
    text = "/data/v 5 5 0\nv 20 9 1\n"
    assert len(records_of(tmp_path, text, root="/other", **given)) == 2
    with pytest.raises(ListError, match=r"train.txt:2 .*: 'v' is the same path as '/data/v' in another line"):
        records_of(tmp_path, text, root="/data", **given)
    with pytest.raises(ListError, match=r"train.txt:2 .*: 'dir//v' is the same path as 'dir/v' in another line"):
        records_of(tmp_path, "dir/v 5 5 0\ndir//v 20 9 1\n", **given)
    with pytest.raises(ListError, match=r"train.txt:2 .*: '../x/v' is the same path as './v' in another line"):
        records_of(tmp_path, "./v 5 5 0\n../x/v 20 9 1\n", root="/x", **given)


def test_a_changed_bit_in_a_cache_changes_no_list(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    cache, text = tmp_path / "cache", "a 3 0\nb 4 1\nc 5 2\n"
    wanted = rows(records_of(tmp_path, text, cache_folder=cache))
    (file,) = cache.iterdir()
    data = file.read_bytes()
    for place in range(0, len(data), 40):
        changed = bytearray(data)
        changed[place] ^= 1
        file.write_bytes(changed)
        assert rows(records_of(tmp_path, text, cache_folder=cache)) == wanted
    assert "ignoring a damaged cache" in caplog.text
    _, arrays = open_arrays(file)
    nul = {"blob": np.where(np.arange(len(arrays["blob"])) == 1, 0, arrays["blob"]).astype(np.uint8)}
    for others in ({name: array[:1].copy() for name, array in arrays.items()}, arrays | nul):
        save_arrays(file, {}, {name: array.copy() for name, array in others.items()})
        assert rows(records_of(tmp_path, text, cache_folder=cache)) == wanted


@pytest.mark.parametrize("cached", [False, True])
def test_records_travel_to_a_spawned_worker(tmp_path: Path, cached: bool):
    text = "".join(f"video {i} {i % 9 + 1} {i % 5}\n" for i in range(5000))
    records = records_of(tmp_path, text, cache_folder=tmp_path / "cache" if cached else None)
    data = pickle.dumps(records)
    assert rows(pickle.loads(data)) == rows(records)
    assert not cached or len(data) < 1000


def test_an_error_in_a_large_list_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_parser, "_BLOCK", 4096)
    lines = [f"video {i} {i + 1} 0" for i in range(3000)]
    lines[2345] = "video nan 0"
    with pytest.raises(ListError, match=re.escape("train.txt:2346: num_frames 'nan' is not a whole number")):
        records_of(tmp_path, "\n".join(lines))
    assert np.dtype(np.int32) == records_of(tmp_path, "\n".join(lines[:2000])).labels.dtype


def test_a_digest_is_of_the_videos_and_not_of_the_lines(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / "list.txt"
        path.write_text(text)
        return read_list(path).digest()

    one = digest("a 3 0\nb 4 1\n")
    assert digest("a 3 0\n\nb  4 1\n") == one and len(one) == 32
    others = ["a 3 0\n", "b 4 1\na 3 0\n", "a 3 1\nb 4 0\n", "a 4 0\nb 4 1\n", "a 3 0\nc 4 1\n"]
    assert len({one, *map(digest, others)}) == 6
