from __future__ import annotations

from pathlib import Path

import pytest

from datasets.lists.manifest import MANIFEST, Manifest
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
