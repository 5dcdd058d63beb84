"""A transformer with adapters, from training to a checkpoint that holds only what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from methods import weights
from methods.tsn import TSN
from networks.checkpoints import file as reading
from networks.checkpoints.load import load_checkpoint_file
from tests.helpers.experiment import make_experiment, run
from tests.helpers.requirements import needs_package
from tests.helpers.run_tool import run_tool
from utils.errors import CheckpointError, ConfigError
from utils.run import checkpoint

pytestmark = needs_package("timm")
VIT: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 32}
MODEL = {"type": "tsn", "backbone": "timm/vit_tiny_patch16_224", "num_segments": 2, "num_class": 2, "kwargs": VIT}


def base(path: Path, *, seed: int = 0) -> Path:
    """A file with weights of the image network."""
    torch.manual_seed(seed)
    torch.save(TSN(**{key: value for key, value in MODEL.items() if key != "type"}).backbone.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PRETRAINED", tmp_path)


def experiment(folder: Path, **more: Any) -> Path:
    """An experiment whose checkpoints leave out the image network."""
    model = MODEL | {"temporal": {"name": "st_adapter", "width": 8}, "pretrained": str(base(folder / "vit.pth"))}
    return make_experiment(folder, model=model, freeze=["base"], save_weights="trained", **more)


def test_a_checkpoint_of_what_was_trained_scores_and_goes_on_with_its_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = experiment(tmp_path)
    assert run(config, "common.lr_scheduler.max_iter=3") == 0
    assert "parameters learn" in (config.parent / "log.txt").read_text()
    best = config.parent / "ckpt_best.pth.tar"
    stored = checkpoint.load(best)
    assert all(".temporal." in key or "head." in key for key in stored["state_dict"])
    assert stored["base"]["file"] == "vit.pth" and len(stored["base"]["hash"]) == 64
    assert run(config, "common.lr_scheduler.max_iter=5") == 0 and run(config, "--evaluate") == 0
    first = next((tmp_path / "frames").glob("*/val 0"))
    assert "dark" in run_tool("predict", best, first).stdout

    base(tmp_path / "vit.pth", seed=1)
    with pytest.raises(CheckpointError, match=r"holds only what was trained on .*vit\.pth, and .* has other weights"):
        run(config, "--evaluate")
    (tmp_path / "vit.pth").unlink()
    with pytest.raises(CheckpointError, match=r"holds only what was trained on .*vit\.pth: there is no such file in"):
        run(config, "--evaluate")


def test_a_base_that_could_not_be_found_again_is_refused_before_training(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    for wrong in ("freeze=[]", "model.pretrained=False", "ema=0.9"):
        with pytest.raises(ConfigError, match=r"save_weights: trained needs freeze: \[base\] and model.pretrained"):
            run(config, "--dry-run", f"common.{wrong}")


def test_a_checkpoint_names_no_file_outside_of_pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(tmp_path)
    assert run(config, "common.lr_scheduler.max_iter=1") == 0
    best = config.parent / "ckpt_best.pth.tar"
    stored = checkpoint.load(best)
    monkeypatch.setattr(reading, "PRETRAINED", tmp_path / "pretrained")
    for name in (str(tmp_path / "vit.pth"), "../vit.pth"):
        torch.save(stored | {"base": stored["base"] | {"file": name}}, best)
        with pytest.raises(CheckpointError, match=r"vit\.pth: there is no such file in"):
            run(config, "--evaluate")
    with pytest.raises(ConfigError, match=r"vit\.pth has to lie in pretrained/"):
        run(config, "--fresh")
    assert best.exists()


@pytest.mark.long
@pytest.mark.parametrize("temporal", [{"name": "st_adapter", "width": 32}, {"name": "aim", "drop_path": 0.0}])
def test_adapters_learn_the_order_of_frames_on_a_frozen_network(temporal: dict[str, Any], tmp_path: Path) -> None:
    """Two classes that differ in the order of their frames alone; the frozen network has random weights."""
    torch.manual_seed(0)
    arguments = {key: value for key, value in MODEL.items() if key != "type"} | {"num_segments": 4}
    clips = torch.rand(64, 3, 4, 32, 32)
    ramp = torch.arange(4).view(4, 1, 1) * 0.8 - 1.2
    clips = torch.cat([clips + ramp, (clips + ramp).flip(2)])
    labels = torch.arange(2).repeat_interleave(64)
    scores = {}
    for name, added in (("tsn", {}), ("adapter", {"temporal": temporal})):
        torch.manual_seed(0)
        method = TSN(**arguments, **added)
        for key, parameter in method.named_parameters():
            parameter.requires_grad_(not method.is_base(key))
        learns = [parameter for parameter in method.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learns, lr=3e-3)
        losses = []
        for _ in range(60):
            loss = torch.nn.functional.cross_entropy(method(clips), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scores[name] = float((method.eval()(clips).argmax(1) == labels).float().mean())
    assert losses[-1] < losses[0] / 2
    assert scores["adapter"] > 0.95 and scores["tsn"] == 0.5


def test_a_file_of_ones_own_for_pretrained_true_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(tmp_path)
    own = base(tmp_path / "vit_tiny_patch16_224-mine.pth")
    monkeypatch.setattr(weights, "fetch_image_weights", lambda arch: own)
    assert run(config, "common.model.pretrained=True", "common.lr_scheduler.max_iter=1") == 0
    assert checkpoint.load(config.parent / "ckpt_best.pth.tar")["base"]["file"] == own.name
    assert run(config, "common.model.pretrained=True", "--evaluate") == 0


def test_a_checkpoint_in_the_place_of_its_own_base_is_named(tmp_path: Path) -> None:
    config = experiment(tmp_path)
    assert run(config, "common.lr_scheduler.max_iter=1") == 0
    (config.parent / "ckpt_best.pth.tar").replace(tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=r"vit\.pth: should be the frozen timm/vit_tiny_.*, but holds only what"):
        load_checkpoint_file(tmp_path / "vit.pth")
