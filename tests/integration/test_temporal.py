"""A config with a temporal module, from training to the scores of its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.experiment import MODEL, make_experiment, run
from tests.helpers.run_tool import run_tool
from utils.errors import CheckpointError, ConfigError
from utils.run import checkpoint

TSN = MODEL | {"type": "tsn"}


@pytest.mark.parametrize(
    "more",
    [{"temporal": {"name": "tam", "squeeze": 2}}, pytest.param({"consensus": "trn"}, marks=pytest.mark.long)],
    ids=["tam", "trn"],
)
def test_a_network_trains_is_evaluated_and_predicts_as_its_config_says(tmp_path: Path, more: dict) -> None:
    config = make_experiment(tmp_path, model=TSN | more)
    assert run(config, "common.lr_scheduler.max_iter=3") == 0
    assert run(config, "--evaluate") == 0
    best = config.parent / "ckpt_best.pth.tar"
    settings = checkpoint.load(best)["settings"]
    with_defaults = (
        {"temporal": {"name": "tam", "widen": 2, "squeeze": 2, "shift": "bi"}} if "temporal" in more else more
    )
    assert {key: settings[key] for key in with_defaults} == with_defaults
    first = next((tmp_path / "frames").glob("*/val 0"))
    assert "dark" in run_tool("predict", best, first).stdout


def test_another_module_than_the_checkpoints_is_named_with_both_names(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, model=TSN | {"temporal": {"name": "tsm"}})
    assert run(config, "common.lr_scheduler.max_iter=2") == 0
    with pytest.raises(CheckpointError, match=r"temporal\.shift_div is 8 in the file and 4 here"):
        run(config, "--evaluate", "common.model.temporal.shift_div=4")
    with pytest.raises(CheckpointError, match=r"\(tsn tsm mobilenetv2\) does not fit tsn_tam_mobilenetv2"):
        run(config, "--evaluate", "common.model.temporal.name=tam")


def test_a_wrong_module_is_refused_with_its_dotted_path(tmp_path: Path) -> None:
    config = make_experiment(tmp_path, model=TSN | {"temporal": {"name": "tam", "squeeze": 0}})
    with pytest.raises(ConfigError, match=r": common\.model\.temporal\.squeeze: should be greater than 0"):
        run(config, "--dry-run")
    with pytest.raises(ConfigError, match=r": common\.model\.temporal\.name: 'tamm' is unknown"):
        run(config, "--dry-run", "common.model.temporal.name=tamm")
    with pytest.raises(ConfigError, match="mixes all 2 frames of a clip"):
        run(config, "--dry-run", "common.model.temporal.squeeze=2", "common.test.num_frames=4")
