"""The doctor reads tars as lists, and says that it does not look at addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.make_video import make_video, truncate
from tests.helpers.run_tool import run_tool
from tests.helpers.tars import write_tar

CONFIG = """
common:
    model: {{type: tsn, backbone: resnet18, num_class: 2}}
    lr_scheduler: {{base_lr: 0.1, max_iter: 3}}
    train_root: {root}
    train_source: "{source}"
    data: {{store: {{type: video}}}}
"""


def config(folder: Path, source: str, root: str = "/") -> str:
    (folder / "config.yaml").write_text(CONFIG.format(source=source, root=root))
    return str(folder / "config.yaml")


@pytest.mark.whole
def test_videos_in_tars_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    good, bad = make_video(tmp_path / "a.mp4").read_bytes(), truncate(make_video(tmp_path / "b.mp4")).read_bytes()
    write_tar(tmp_path / "t-0.tar", {"x": {"mp4": good, "cls": b"0"}, "y": {"mp4": bad, "cls": b"1"}})
    target = config(tmp_path, str(tmp_path / "t-{0..0}.tar"))
    printed = run_tool("check_data", target, "--workers", "1", code=2)
    assert "t-{0..0}.tar:2: " in printed.stdout and "t-0.tar/y.mp4" in printed.stdout and "x.mp4" not in printed.stdout
    printed = run_tool("check_data", target, "--workers", "1", "--fix", code=2)
    assert "--fix repairs lists, not tars; pack it again" in printed.stderr


@pytest.mark.parametrize(("source", "root"), [("s3://b/t.tar", "/"), ("list.txt", "https://host/videos")])
def test_addresses_are_not_checked_and_nothing_is_called_missing(tmp_path: Path, source: str, root: str) -> None:
    printed = run_tool("check_data", config(tmp_path, source, root), code=2)
    assert "is an address, and only what lies on a disk is checked here" in printed.stderr
    assert "missing" not in printed.stdout


@pytest.mark.whole
def test_empty_members_and_missing_tars_are_faults_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    good, bad = make_video(tmp_path / "a.mp4").read_bytes(), truncate(make_video(tmp_path / "b.mp4")).read_bytes()
    samples = {"w": (good, b"0"), "x": (b"", b"0"), "y": (bad, b"1"), "z": (good, b"1")}
    write_tar(tmp_path / "t-0.tar", {name: {"mp4": data, "cls": cls} for name, (data, cls) in samples.items()})
    printed = run_tool("check_data", config(tmp_path, str(tmp_path / "t-{0..1}.tar")), "--workers", "1", code=2)
    assert f"tar: {tmp_path}/t-{{0..1}}.tar: {tmp_path}/t-1.tar: no such file" in printed.stdout
    assert "t-0.tar/x.mp4: the file is empty" in printed.stdout and "t-0.tar/y.mp4" in printed.stdout
    assert "3 faults in 4 videos" in printed.stdout
