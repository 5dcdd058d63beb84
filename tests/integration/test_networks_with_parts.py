"""Networks with a neck, or with blocks of a module's own, through every command that shows them videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.experiment import make_experiment, run
from tests.helpers.requirements import needs_package
from tests.helpers.run_tool import run_tool
from tools import cam, predict
from utils.run import checkpoint

NECK = {"type": "tsm", "backbone": "resnet18", "num_segments": 2, "num_class": 2, "neck": "tpn"}
BLOCKS = {
    "type": "tsn",
    "backbone": "timm/res2net50_26w_4s",
    "kwargs": {"layers": [1, 1, 1, 1]},
    "num_segments": 2,
    "num_class": 2,
    "temporal": {"name": "tea"},
}


@pytest.mark.parametrize(
    ("model", "more", "layer"),
    [
        pytest.param(NECK, {}, "neck", id="tpn", marks=pytest.mark.long),
        pytest.param(
            BLOCKS,
            {"activation_checkpointing": True},
            "backbone.layer4",
            id="tea",
            marks=[needs_package("timm"), pytest.mark.long],
        ),
    ],
)
def test_it_trains_predicts_explains_and_is_exported(
    model: dict[str, Any], more: dict[str, Any], layer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = {"type": "COSINE", "base_lr": 0.01, "max_iter": 1}
    config = make_experiment(tmp_path, train=4, val=2, model=model, lr_scheduler=schedule, **more)
    assert run(config, "--dry-run") == 0 and run(config) == 0 and run(config, "--evaluate") == 0
    best, video = config.parent / checkpoint.BEST, config.parents[1] / "frames/bright/val 1"
    assert predict.main([str(best), str(video)]) == 0
    assert cam.main([str(best), str(video), str(tmp_path / "cam.png")]) == 0
    assert f"maps of {layer}\n" in capsys.readouterr().out
    printed = run_tool("export", best, tmp_path / "model.pt2")
    assert "largest difference from PyTorch" in printed.stdout
