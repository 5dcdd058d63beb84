"""The probe: a frozen backbone stays to the bit what it was, and only the head learns, is saved and is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import update_bn

from methods.build import about_pretrained, build_method, method_on_meta
from methods.probe import Probe
from networks.checkpoints.load import fetch_image_weights, load_into
from networks.image.resnet import RESNETS
from tests.helpers.experiment import make_experiment, run, weights
from tests.helpers.requirements import needs_package
from tests.helpers.trained import CLASSES, PROBE, write_checkpoint
from tools.inference import load
from tools.inference.features import Layer
from tools.inference.grad_cam import explain
from utils.config.schema import Common
from utils.config.sections import Model
from utils.errors import ConfigError, UserError
from utils.run import checkpoint
from utils.training.optimizer import parameter_groups

TINY: dict[str, Any] = {"backbone": "mobilenetv2", "kwargs": {"scale": 0.25}, "num_class": 2, "num_segments": 2}
HEADS = ["linear", "ordered", "mlp", "attentive"]


def _probe(head: str, **more: Any) -> Probe:
    torch.manual_seed(0)
    small = {"attentive": {"depth": 2, "num_heads": 4}, "mlp": {"hidden": 16}}.get(head, {})
    return Probe(head=head, **{**TINY, **small, **more})  # type: ignore[arg-type]


@pytest.mark.whole
@pytest.mark.parametrize("head", HEADS)
def test_only_the_head_reaches_the_optimizer(head: str) -> None:
    method = _probe(head)
    named = {id(parameter): name for name, parameter in method.named_parameters()}
    groups = parameter_groups(method, no_wd=False)
    trained = {named[id(parameter)].partition(".")[0] for group in groups for parameter in group.params}
    assert trained == ({"head"} if head in ("linear", "ordered") else {"head", "pooler"})


def test_neither_training_mode_nor_precise_bn_moves_the_statistics_of_the_backbone() -> None:
    method = _probe("linear", dropout=0.5)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    clips = torch.randn(2, 3, 2, 32, 32)
    method.train()
    assert not any(module.training for module in method.backbone.modules()) and method.head.training
    method(clips)
    update_bn([clips], method)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@pytest.mark.whole
@pytest.mark.parametrize(("head", "more", "sees"), [
    ("linear", {}, False), ("mlp", {}, False), ("ordered", {}, True),
    ("attentive", {}, True), ("attentive", {"places": False}, False),
])  # fmt: skip
def test_only_tokens_and_frames_that_know_their_places_tell_the_order_of_frames(
    head: str, more: dict, sees: bool
) -> None:
    method = _probe(head, num_segments=3, **more).eval()
    features = torch.randn(2, 3, 4, 1280) if head == "attentive" else torch.randn(2, 3, 1280)
    with torch.no_grad():
        for name, parameter in method.pooler.named_parameters() if method.pooler else ():
            if "xattn" in name or "query" in name:
                parameter.normal_(std=0.1)  # so that it looks at some tokens more than at others
        gap = (method.classify(features.flip(1)) - method.classify(features)).abs().max()
    assert (gap > 1e-4) == sees


@pytest.mark.whole
def test_any_number_of_frames_is_taken_but_by_weights_for_each_place() -> None:
    clip = torch.randn(1, 3, 5, 32, 32)
    with pytest.raises(UserError, match="head: ordered has weights for each of its 2 frames and cannot see 5"):
        _probe("ordered").eval()(clip)
    for head in set(HEADS) - {"ordered"}:
        with torch.no_grad():
            assert _probe(head).eval()(clip).shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 8}, "hidden: is for head: mlp, and head is linear"),
        ({"depth": 2}, "depth: is for head: attentive, and head is linear"),
        ({"head": "attentive", "pooling": "mean"}, "pooling: mean is for the other heads; attentive reads all tokens"),
        ({"head": "attentive", "num_heads": 3}, "num_heads: 3 does not divide the 1280 channels of the tokens"),
        ({"head": "conv"}, "head: should be 'linear', 'ordered', 'mlp' or 'attentive', but is 'conv'"),
        ({"pooling": "cls"}, "pooling: mobilenetv2 has no class token"),
        ({"backbone": "x3ds", "kwargs": {}}, "backbone: 'x3ds' is unknown; did you mean `x3d_s`?"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_key(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^common\.model\.{message}"), torch.device("meta"):
        build_method(Model.model_validate({"type": "probe", **TINY, **arguments}))


@pytest.mark.whole
@pytest.mark.parametrize(
    "head", ["linear", *(pytest.param(head, marks=pytest.mark.long) for head in ("attentive", "ordered", "mlp"))]
)
def test_a_run_trains_the_head_and_leaves_the_backbone_to_the_bit(
    head: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"type": "probe", **TINY, "head": head, **({"depth": 1} if head == "attentive" else {})}
    config = make_experiment(tmp_path, train=4, val=2, model=model)
    assert run(config, "common.lr_scheduler.max_iter=1") == 0
    first = weights(config)
    assert "leaves the frozen backbone its random weights" in capsys.readouterr().out
    assert any("frozen backbone" in note for note in checkpoint.load(config.parent / checkpoint.NEWEST)["notes"])
    assert run(config, "common.lr_scheduler.max_iter=4") == 0
    second = weights(config)
    changed = {key.removeprefix("module.").partition(".")[0] for key in first if (first[key] != second[key]).any()}
    assert changed == ({"head"} if head in ("linear", "ordered") else {"head", "pooler"})
    assert run(config, "--evaluate") == 0


@pytest.mark.whole
@needs_package("timm", "pip install timm")
def test_a_mean_that_the_weights_were_not_trained_with_is_a_warning() -> None:
    def warnings(augmentation: dict[str, Any], **model: Any) -> str:
        raw = {"model": {"num_class": 2, "pretrained": True, **model}, "augmentation": augmentation}
        frozen = {} if model["type"] == "probe" else {"freeze": ["all"]}
        schedule = {"lr_scheduler": {"base_lr": 0.1, "max_iter": 1}}
        common = Common.model_validate(raw | frozen | schedule)
        method, found = method_on_meta(common)
        return "\n".join([*found, *about_pretrained(method, common)])

    half, siglip = [0.5, 0.5, 0.5], "timm/vit_base_patch16_siglip_224"
    text = "was trained with mean [0.5, 0.5, 0.5] and std [0.5, 0.5, 0.5], and this run"
    for network in (
        {"type": "probe", "backbone": siglip},
        {"type": "probe", "backbone": siglip, "pretrained": f"{siglip}.webli"},
        {"type": "tsn", "backbone": siglip},
    ):
        assert text in warnings({}, **network), network
        assert text not in warnings({"mean": half, "std": half}, **network), network


@pytest.mark.whole
def test_image_weights_fill_the_backbone_of_a_probe(tmp_path: Path) -> None:
    net = RESNETS["resnet18"]()
    torch.save(net.state_dict(), tmp_path / "resnet18-f37072fd.pth")
    method = Probe(backbone="resnet18", num_class=3, head="attentive", depth=1)
    report = load_into(method, fetch_image_weights(method.arch, tmp_path))
    assert not report.missing
    entry = "layer4.1.conv2.weight"
    assert torch.equal(method.backbone.state_dict()[entry], net.state_dict()[entry])


@pytest.mark.whole
def test_a_probes_checkpoint_gives_scores_features_and_maps(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, PROBE, class_names=CLASSES)
    recognizer = load(path, device="cpu")
    clips = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32, 3), dtype=np.uint8)
    scores = recognizer.score_views([clips], batch_size=1)
    assert scores.shape == (1, len(CLASSES)) and np.isclose(scores.sum(), 1)
    assert Layer(recognizer, "backbone.layer4", "space").row(clips, 1).shape == (512, 3)
    found = explain(recognizer, clips[0], ["backbone.layer4"])
    assert found.maps["backbone.layer4"].shape == (3, 32, 32) and found.maps["backbone.layer4"].max() > 0
