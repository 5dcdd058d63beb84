"""A diverged checkpoint is one line from every tool that runs it, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.make_video import make_video
from tests.helpers.trained import UNI, write_checkpoint
from tools import cam, extract_features, predict, stream
from utils.errors import CheckpointError


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finite weights, so large that everything behind them is not: reading cannot tell, only running can."""
    path = write_checkpoint(tmp_path_factory.mktemp("uni"), UNI)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["module.backbone.conv1.weight"].fill_(3e38)
    torch.save(content, path)
    return path


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    ("tool", "output", "what"),
    [
        (predict, ["--json", "out.json"], "scores"),
        (stream, [], "scores"),
        (cam, ["out.png"], "scores"),
        (extract_features, ["out.npz"], "features of the output"),
        (extract_features, ["out.h5", "--layer", "backbone.layer4"], "features of backbone.layer4"),
    ],
)
def test_it_is_told_and_nothing_is_written(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: object, output: list[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    video = make_video(tmp_path / "v.mp4", frames=8)
    with pytest.raises(CheckpointError, match=rf"its {what} are not numbers \(NaN\); did the training diverge\?"):
        tool.main([str(ckpt), str(video), *output])  # type: ignore[attr-defined]
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".json", ".png", ".npz")]
