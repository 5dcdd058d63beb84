"""tools/verify_published.py: the score of published weights, by their protocol, next to the published one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.experiment import FRAMES, write_frames
from tests.helpers.file_server import FileServer
from tests.helpers.publish import publish, use_registry
from tests.helpers.run_tool import run_tool
from tools.importing.verify_published import chosen_protocol
from utils.config.schema import Common
from utils.published.registry import Published

NAME = "set/net"
SCORES: list[dict[str, Any]] = [
    {"top1": 10.0, "top5": 30.0, "frames": 16, "clips": 1, "crops": 1, "size": 64},
    {"top1": 12.5, "top5": 40.0, "frames": 16, "clips": 2, "crops": 3, "size": 64},
    {"top1": 90.0, "frames": 16, "clips": 9, "crops": 9, "size": 64, "dataset": "another"},
]


@pytest.fixture
def net(file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """Torchvision's MC3-18 with random weights, whose published scores are made up."""
    from torchvision.models.video import mc3_18

    torch.save(mc3_18().state_dict(), tmp_path / "mc3.pth")
    found = publish(tmp_path / "mc3.pth", file_server, NAME, metrics=SCORES)
    use_registry([found], monkeypatch)
    return found


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """The list of two videos, whose frames lie where make_lists would expect them."""
    for index in range(2):
        write_frames(tmp_path / "mine" / f"v{index}", index, index)
    (tmp_path / "mine" / "lists").mkdir()
    path = tmp_path / "mine" / "lists" / "val.txt"
    path.write_text("".join(f"v{index} {FRAMES} {index}\n" for index in range(2)))
    return path


@pytest.mark.long
@pytest.mark.whole
def test_our_score_stands_next_to_the_published_one_with_the_published_views(
    net: Published, videos: Path, tmp_path: Path
) -> None:
    printed = run_tool("verify_published", NAME, videos, "common.workers=0", "--out", tmp_path / "kept").stdout
    published, here, difference = printed.splitlines()[-3:]
    assert published == "published   12.5 top-1, 40 top-5; 16 frames x 2 clips x 3 crops of 64"
    score = float(here.split()[1])
    assert score in (0, 50, 100) and "2 clips x 3 crops, 16 x 64 x 64" in here and "2 videos" in here
    assert difference.startswith(f"difference  {score - 12.5:+.2f} top-1, ")
    assert (tmp_path / "kept" / "reference_scores.npz").exists()


def test_mistakes_are_one_line(net: Published, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such list" in run_tool("verify_published", NAME, tmp_path / "absent.txt", code=2).stderr
    assert "already exists" in run_tool("verify_published", NAME, videos, "--out", tmp_path, code=2).stderr
    assert "the nearest are set/net" in run_tool("verify_published", "set/met", videos, code=2).stderr
    use_registry([dataclasses.replace(net, metrics=())], monkeypatch)
    assert "no score was published for it" in run_tool("verify_published", NAME, videos, code=2).stderr


def test_of_several_published_scores_the_one_of_the_configs_views_is_taken() -> None:
    entry = Published("a/b", "", "", "", "", metrics=SCORES)
    model = {"type": "clip3d", "backbone": "mc3_18", "num_class": 4}
    raw: dict[str, Any] = {"model": model, "lr_scheduler": {"base_lr": 0.1, "max_iter": 1}}
    for clips, crops, top1 in ((1, 1, 10.0), (2, 3, 12.5), (10, 3, 12.5)):
        common = Common.model_validate(raw | {"test": {"num_clips": clips, "num_crops": crops}})
        assert chosen_protocol(entry, common)["top1"] == top1
