"""A checkpoint from a stranger is only a file: its config opens no other file and takes no memory of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from methods.build import build_method
from tests.helpers.requirements import needs_package
from tests.helpers.trained import SCHEDULE, TSN, write_checkpoint
from tools.inference import load
from utils.config.sections import Model
from utils.errors import CheckpointError, ConfigError
from utils.run import checkpoint

PLACES = [
    {"checkpoint_path": "other.pth"},
    {"checkpoint_path": "/etc/passwd"},
    {"pretrained_cfg": {"url": "https://example.org/x.pth"}},
    {"inner": [{"file": "..\\x"}]},
    {"hub": "hf-hub:somebody/network"},
]


def _with_model(folder: Path, **changes: Any) -> Path:
    path = write_checkpoint(folder)
    saved = checkpoint.load(path)
    saved["config"]["common"]["model"] |= changes
    torch.save(saved, path)
    return path


@pytest.mark.parametrize("kwargs", PLACES)
def test_the_config_in_a_checkpoint_names_no_file_and_no_address(kwargs: dict[str, Any], tmp_path: Path) -> None:
    path = _with_model(tmp_path, backbone="timm/resnet18", kwargs=kwargs)
    with pytest.raises(
        CheckpointError, match=r"ckpt\.pth\.tar: the config in it has common\.model\.kwargs\..* names a file"
    ):
        load(path, device="cpu")


@pytest.mark.whole
@needs_package("timm")
def test_no_argument_of_timm_loads_weights() -> None:
    for key in ("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        model = {"type": "tsn", "backbone": "timm/resnet18", "num_class": 2, "kwargs": {key: "x"}}
        with pytest.raises(ConfigError, match=rf"common\.model\.kwargs\.{key}: is no argument of the network"):
            build_method(Model.model_validate(model))


def test_a_small_file_describes_no_large_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _with_model(tmp_path, num_class=4_000_000, kwargs={"scale": 0.25})
    built: list[torch.device] = []
    real = torch.nn.Linear.__init__

    def noted(self: torch.nn.Linear, width: int, classes: int, *more: Any, **others: Any) -> None:
        real(self, width, classes, *more, **others)
        built.append(self.weight.device) if classes == 4_000_000 else None

    monkeypatch.setattr(torch.nn.Linear, "__init__", noted)
    with pytest.raises(CheckpointError, match="has 4 classes and the model 4000000"):
        load(path, device="cpu")
    assert built == [torch.device("meta")]


@pytest.mark.whole
def test_a_config_of_an_odd_kind_is_one_line(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, TSN)
    saved = torch.load(path, weights_only=True)
    for config in ([1], {"common": 3}, {"common": {"model": [1]}}, {"common": {"model": {"type": ["a"]}}}):
        torch.save({**saved, "config": config}, path)
        with pytest.raises(CheckpointError, match=r"ckpt\.pth\.tar: "):
            load(path, device="cpu")
    model = {"type": "tsn", "backbone": "resnet18", "num_class": 2}
    for entry in ({"preprocessing": {"mean": 3}}, {"settings": [1]}, {"class_names": 5}):
        torch.save({**saved, **entry}, path)
        try:
            load(path, device="cpu")
        except CheckpointError as error:
            assert "\n" not in str(error)
    assert SCHEDULE and model
