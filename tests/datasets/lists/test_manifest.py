from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasets.lists.manifest import MANIFEST, Manifest, dumps_of, settings_below
from utils.errors import UserError


def written(folder: Path) -> Manifest:
    manifest = Manifest(folder)
    manifest.open({"tool": "t", "size": [0, 256]})
    manifest.add({"video": "frames/b", "status": "started"})
    manifest.add({"video": "frames/a", "status": "ok", "frames": 3})
    manifest.add({"video": "frames/b", "status": "ok", "frames": 5, "label": "é x"})
    return manifest


def test_the_last_line_of_a_video_holds_at_any_moment(tmp_path: Path) -> None:
    manifest = written(tmp_path)
    read = Manifest(tmp_path)  # while it is being written
    assert read.header["size"] == [0, 256] and read.videos == manifest.videos
    manifest.abandon()
    assert read.videos["frames/b"] == {
        "kind": "video",
        "video": "frames/b",
        "status": "ok",
        "frames": 5,
        "label": "é x",
    }


def test_a_finished_run_leaves_sorted_lines_without_replaced_ones(tmp_path: Path) -> None:
    written(tmp_path).close()
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert len(lines) == 3
    assert list(Manifest(tmp_path).videos) == ["frames/a", "frames/b"]


def test_a_killed_run_with_other_settings_leaves_one_header_and_it_is_its_own(tmp_path: Path) -> None:
    written(tmp_path).close()
    for size in (128, 64):  # both killed
        again = Manifest(tmp_path)
        again.open({"tool": "t", "size": [0, size]})
        again.add({"video": "frames/a", "status": "started"})
        again.abandon()
        lines = (tmp_path / MANIFEST).read_text().splitlines()
        assert [json.loads(line)["size"] for line in lines if '"header"' in line] == [[0, size]]
        assert settings_below(tmp_path) == {"size": [0, size]} and set(again.videos) == {"frames/a", "frames/b"}
    with (tmp_path / MANIFEST).open("a") as file:  # as killed runs of older versions have left it
        file.write('{"kind": "header", "format": 1, "tool": "t", "size": [0, 32]}\n')
    assert settings_below(tmp_path) == {"size": [0, 32]} == {"size": Manifest(tmp_path).header["size"]}
    again = Manifest(tmp_path)
    again.open({"tool": "t", "size": [0, 32]})
    again.abandon()
    assert (tmp_path / MANIFEST).read_text().count('"header"') == 1


def test_a_dump_of_another_file_or_in_another_way_is_another_one(tmp_path: Path) -> None:
    def dumped(**more: Any) -> str:
        manifest = Manifest(tmp_path)
        manifest.open({"tool": "t"})
        for name in ("a", "b", "c"):
            about = {"status": "ok", "frames": 3, "sha256": name, "settings": {"size": [0, 256]}, "version": 2}
            manifest.add({"video": f"frames/{name}", **about, **(more if name == "b" else {})})
        manifest.close()
        digest = dumps_of(tmp_path / "frames", ["b", "a"])
        assert digest == dumps_of(tmp_path, ["frames/b", "frames/a"]) and len(digest) == 32
        return digest

    one = dumped()
    assert dumped(source="moved", bits=8) == one == dumped() == dumped(bits=5), "an older version wrote no bits"
    for change in ({"sha256": "x"}, {"settings": {"size": [0, 128]}}, {"version": 3}, {"frames": 4}, {"bits": 10}):
        assert dumped(**change) != one
    assert dumps_of(tmp_path / "frames", ["d"]) == "" == dumps_of(tmp_path / "nowhere", ["a"])
    (tmp_path / MANIFEST).write_text("damaged\n")
    assert dumps_of(tmp_path / "frames", ["a"]) == ""


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_dropped_and_mended(cut: int, tmp_path: Path) -> None:
    written(tmp_path).abandon()
    data = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(data[:-cut])
    manifest = Manifest(tmp_path)
    assert manifest.videos["frames/a"]["frames"] == 3 and manifest.videos["frames/b"]["status"] == "started"
    manifest.open({"tool": "t", "size": [0, 256]})
    manifest.add({"video": "frames/c", "status": "ok", "frames": 1})
    manifest.abandon()
    assert set(Manifest(tmp_path).videos) == {"frames/a", "frames/b", "frames/c"}


def test_another_text_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    written(tmp_path).close()
    with (tmp_path / MANIFEST).open("a") as file:
        file.write("hello\n")
    with pytest.raises(UserError, match=r"manifest\.jsonl:4: is not a line of a manifest"):
        Manifest(tmp_path)
    (tmp_path / MANIFEST).write_text('{"kind": "header", "format": 99}\n')
    with pytest.raises(UserError, match="format 99"):
        Manifest(tmp_path)
