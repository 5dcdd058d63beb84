"""A probe of a video network: what its head reads, which weights fill it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from methods import METHODS
from methods.base import Method
from methods.build import about_pretrained, build_method, method_on_meta
from methods.probe import Probe
from networks import CLIP_NETWORKS, IMAGE_BACKBONES
from networks.checkpoints.load import load_into
from networks.clip.table import EXAMPLES
from tests.helpers.experiment import make_experiment, run
from tests.helpers.file_server import serving
from tests.helpers.publish import noted, publish, use_cache, use_registry
from tests.helpers.trained import CLASSES, PROBE_OF_CLIPS, write_checkpoint
from tools.exporting.random_weights import liven
from utils.config.schema import Common
from utils.config.sections import Model
from utils.errors import CheckpointError, ConfigError
from utils.run import checkpoint

SMALL = {"scale": 0.25}
# a method, its arguments, the same network as the backbone of a probe, and a side of pixels
WHOLE: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    "clip3d": ("clip3d", {"backbone": "mc3_18", "clip_len": 4}, {"backbone": "mc3_18", "clip_len": 4}, 32),
    "positions": (
        "clip3d",
        {"backbone": "x3d_xs", "clip_len": 4, "kwargs": {"crop_size": 32}},
        {"backbone": "x3d_xs", "clip_len": 4, "kwargs": {"crop_size": 32}},
        64,
    ),
    "convolution": ("clip3d", {"backbone": "s3d", "clip_len": 16}, {"backbone": "s3d", "clip_len": 16}, 224),
    "slowfast": (
        "slowfast",
        {"backbone": "resnet50", "clip_len": 8, "alpha": 4, "dropout": 0.0},
        {"backbone": "slowfast/resnet50", "clip_len": 8, "kwargs": {"alpha": 4}},
        32,
    ),
    "tsm": (
        "tsm",
        {"backbone": "mobilenetv2", "num_segments": 4, "kwargs": SMALL},
        {"backbone": "tsm/mobilenetv2", "num_segments": 4, "kwargs": {"kwargs": SMALL}},
        32,
    ),
    "tam": (
        "tsn",
        {"backbone": "mobilenetv2", "num_segments": 4, "kwargs": SMALL, "temporal": {"name": "tam"}},
        {"backbone": "tsn/mobilenetv2", "num_segments": 4, "kwargs": {"kwargs": SMALL, "temporal": {"name": "tam"}}},
        32,
    ),
}
MC3 = WHOLE["clip3d"][2]


def network(name: str, num_class: int = 6) -> Method:
    kind, arguments, _, side = WHOLE[name]
    torch.manual_seed(0)
    method = METHODS[kind](num_class=num_class, **arguments)
    method.kind = kind
    liven(method, torch.randn(4, 3, method.clip.num_frames, side, side))
    return method.eval()


def probe(name: str = "clip3d", **more: Any) -> Probe:
    torch.manual_seed(1)
    made = Probe(**{"num_class": 6, **WHOLE[name][2], **more})
    made.kind = "probe"
    return made.eval()


def saved(method: Method, path: Path) -> Path:
    """A file of the whole network, as a run leaves it."""
    kind, arguments = next((kind, given) for kind, given, _, _ in WHOLE.values() if kind == method.kind)
    config = {"common": {"model": {"type": kind, "num_class": 6, **arguments}}}
    torch.save({"state_dict": method.state_dict(), "config": config, "settings": method.settings}, path)
    return path


@pytest.mark.whole
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "convolution")) for name in WHOLE]
)
def test_a_linear_head_reads_what_the_networks_own_classifier_reads(name: str) -> None:
    method, side = network(name), WHOLE[name][3]
    made = probe(name)
    made.load_state_dict({f"backbone.{key}": value for key, value in method.state_dict().items()}, strict=False)
    head = method.head
    assert isinstance(head, (nn.Linear, nn.Conv3d)) and head.bias is not None
    made.head.load_state_dict({"weight": head.weight.flatten(1), "bias": head.bias})
    clips = torch.randn(2, 3, method.clip.num_frames, side, side)
    with torch.no_grad():
        expected = method(clips)
        assert torch.allclose(made(clips), expected, atol=1e-4 * float(expected.abs().max()))
    assert made.clip == method.clip


@pytest.mark.alike
@pytest.mark.parametrize("name", CLIP_NETWORKS)
@pytest.mark.parametrize("head", ["linear", pytest.param("attentive", marks=pytest.mark.long)])
def test_every_clip_network_has_vectors_and_tokens(name: str, head: str) -> None:
    with torch.device("meta"):
        made = Probe(backbone=name, num_class=3, head=head, depth=None if head == "linear" else 1).eval()  # type: ignore[arg-type]
        clips = torch.empty(2, 3, made.clip.num_frames, *EXAMPLES[name][1:])
        features = made.features(clips)
        assert features.shape[0] == 2 and features.dim() == (3 if head == "linear" else 4)
        assert made.classify(features).shape == (2, 3)
    if head == "attentive":
        assert features.shape[2] > 1, "places in the picture"
    assert not any(key.startswith(made.trunk.head_prefix) for key in made.trunk.state_dict())  # type: ignore[union-attr]


@pytest.mark.whole
@pytest.mark.parametrize("name", ["clip3d", "slowfast", "tsm", "tam"])
def test_the_mean_of_the_tokens_is_what_the_classifier_reads(name: str) -> None:
    linear, attentive = probe(name), probe(name, head="attentive", depth=1)
    attentive.backbone.load_state_dict(linear.backbone.state_dict())
    clips = torch.randn(2, 3, linear.clip.num_frames, 64, 64)
    with torch.no_grad():
        vectors, tokens = linear.features(clips), attentive.features(clips)
    assert tokens.shape[1:3] == {"clip3d": (4, 16), "slowfast": (2, 4), "tsm": (4, 4), "tam": (4, 4)}[name]
    assert torch.allclose(tokens.mean((1, 2)), vectors[:, 0], atol=1e-5 * float(vectors.abs().max()))


def test_only_the_head_learns_and_the_video_network_works_as_in_evaluation() -> None:
    made = probe(head="mlp", hidden=8).train()
    assert {name.partition(".")[0] for name, one in made.named_parameters() if one.requires_grad} == {"head", "pooler"}
    assert not any(module.training for module in made.backbone.modules())
    before = {key: value.clone() for key, value in made.state_dict().items()}
    made(torch.randn(2, 3, 4, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


@pytest.mark.whole
@pytest.mark.parametrize("name", ["clip3d", "tsm"])
def test_weights_of_a_whole_network_fill_the_probe_of_it(name: str, tmp_path: Path) -> None:
    method = network(name)
    made = probe(name)
    own = made.head.weight.clone()
    file = noted(saved(method, tmp_path / "ckpt.pth.tar"))
    report = load_into(made, file, new_head=True, class_names=["other", "classes"])
    assert not report.missing and not report.unexpected and not report.warnings
    assert "its classifier is left out" in report.summary()
    trunk = made.trunk
    assert trunk is not None
    theirs = method.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in trunk.state_dict().items())
    assert torch.equal(made.head.weight, own)  # type: ignore[arg-type]


@pytest.mark.whole
def test_weights_that_were_trained_with_another_shift_are_a_warning(tmp_path: Path) -> None:
    made = probe("tsm", kwargs={"kwargs": SMALL, "shift_div": 4})
    report = load_into(made, saved(network("tsm"), tmp_path / "ckpt.pth.tar"), new_head=True)
    assert any("shift_div is 8 in the file and 4 here" in text for text in report.warnings)


@pytest.mark.whole
def test_a_probe_cannot_be_scored_with_weights_that_have_no_head_of_its_own(tmp_path: Path) -> None:
    from methods.weights import fill_for_scoring
    from networks.checkpoints.load import load_checkpoint_file
    from utils.config.sections import Test

    file = load_checkpoint_file(saved(network("clip3d"), tmp_path / "ckpt.pth.tar"))
    with pytest.raises(CheckpointError, match="has no classifier for these classes"):
        fill_for_scoring(probe(), file, {}, Test())


@pytest.mark.whole
def test_a_published_name_fills_the_video_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = CLIP_NETWORKS["mc3_18"]()
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    use_cache(tmp_path, monkeypatch)
    with serving() as server:
        published = publish(tmp_path / "net.pth", server, "kinetics400/mc3_18", backbone="mc3_18", licence="")
        use_registry([published], monkeypatch)
        report = load_into(made := probe(), "kinetics400/mc3_18", new_head=True)
    assert any("nobody states a licence" in text for text in report.warnings)
    entry = "layer4.1.conv2.0.weight"
    assert torch.equal(made.state_dict()[f"backbone.network.{entry}"], theirs.state_dict()[entry])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "ordered"}, "head: ordered is for image networks; mc3_18 sees the order of frames itself"),
        ({"num_segments": 4}, "num_segments: mc3_18 sees clip_len frames that are frame_stride apart"),
        ({"layer": 3}, "layer: is for image networks, and mc3_18 is a video network"),
        ({"pooling": "mean"}, "pooling: is for image networks"),
        ({"kwargs": {"depth": 50}}, "kwargs.depth: mc3_18 does not take it"),
        ({"backbone": "resnet18"}, "clip_len: resnet18 is an image network, which sees num_segments frames"),
        ({"backbone": "tsm/resnet18"}, "clip_len: tsm/resnet18 sees num_segments frames, one from each equal part"),
        ({"backbone": "slowfast/resnet50"}, "kwargs.alpha: 8 does not divide clip_len 4"),
        ({"backbone": "slowfast/resnet18"}, "backbone: should be "),
        (
            {"backbone": "slowfast/resnet50", "kwargs": {"alfa": 4}},
            "kwargs.alfa: slowfast/resnet50 does not take it; did you mean `alpha`",
        ),
        ({"backbone": "slowfast/resnet50", "kwargs": {"clip_len": 4}}, "kwargs.clip_len: slowfast/resnet50 does not"),
        (
            {"backbone": "tsm/resnet18", "clip_len": None, "kwargs": {"num_segments": 4}},
            "kwargs.num_segments: tsm/resnet18 does not take it here; it is a key of the probe",
        ),
        ({"backbone": "slowfast/resnet50", "clip_len": None, "kwargs": {"clip_len": 4}}, "kwargs.clip_len: slowfast/"),
        ({"backbone": "tsm", "clip_len": None}, "backbone: tsm is a method; put its own backbone behind it: tsm/"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_key(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^common\.model\.{message}"), torch.device("meta"):
        build_method(Model.model_validate({"type": "probe", "num_class": 2, **MC3, **arguments}))


@pytest.mark.parametrize("backbone", ["tsm/resnet18", "tsn/resnet18", "resnet18"])
def test_a_clip_has_eight_frames_where_nobody_says_how_many(backbone: str) -> None:
    with torch.device("meta"):
        assert Probe(backbone=backbone, num_class=2).clip.num_frames == 8


@pytest.mark.parametrize(
    ("model", "left"),
    [
        ({"type": "probe", "backbone": "slowfast/resnet50"}, "network.fast.conv1.weight"),
        ({"type": "probe", "backbone": "tsn/resnet18", "kwargs": {"temporal": {"name": "tam"}}}, "temporal"),
        ({"type": "probe", "backbone": "tsm/resnet18"}, None),
        ({"type": "probe", "backbone": "resnet18"}, None),
        ({"type": "probe", "backbone": "slow_r50"}, None),
    ],
)
def test_image_weights_that_leave_a_part_of_the_frozen_network_random_are_a_warning(
    model: dict[str, Any], left: str | None
) -> None:
    found = warned({"pretrained": True, **model})
    assert ("random" in found) == (left is not None)
    assert left is None or (left in found and "name a checkpoint of the network itself" in found)


def warned(model: dict[str, Any], **more: Any) -> str:
    """The warnings of a dry run."""
    raw = {"model": {"num_class": 2, **model}, "lr_scheduler": {"base_lr": 0.1, "max_iter": 1}, **more}
    common = Common.model_validate(raw)
    method, found = method_on_meta(common)
    return "\n".join([*found, *about_pretrained(method, common)])


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["probe", "tsn"])
def test_a_named_image_file_that_leaves_a_frozen_module_random_is_a_warning(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(IMAGE_BACKBONES["resnet18"]().state_dict(), path)
    module = {"temporal": {"name": "tam"}}
    of_kind = {"backbone": "tsn/resnet18", "kwargs": module} if kind == "probe" else {"backbone": "resnet18", **module}
    frozen = {} if kind == "probe" else {"freeze": ["all"]}
    found = warned({"type": kind, "pretrained": str(path), **of_kind}, **frozen)
    assert f"pretrained: {path} leaves " in found and "weights of the frozen network random" in found
    model = {"type": kind, "num_segments": 2, "num_class": 2, **of_kind}
    config = make_experiment(tmp_path / "run", train=4, val=2, model=model)
    assert run(config, "--load-path", str(path), f"common.freeze={frozen.get('freeze', [])}") == 0
    notes = checkpoint.load(config.parent / checkpoint.NEWEST)["notes"]
    assert any("resnet18.pth: leaves " in note and "of the frozen network random" in note for note in notes)


@pytest.mark.whole
def test_its_checkpoint_gives_scores_features_and_maps(tmp_path: Path) -> None:
    import numpy as np

    from tools.inference import load
    from tools.inference.features import Layer
    from tools.inference.grad_cam import default_layers, explain

    path = write_checkpoint(tmp_path, PROBE_OF_CLIPS, class_names=CLASSES)
    recognizer = load(path, device="cpu")
    clips = np.random.default_rng(0).integers(0, 256, (1, 4, 32, 32, 3), dtype=np.uint8)
    scores = recognizer.score_views([clips], batch_size=1)
    assert scores.shape == (1, len(CLASSES)) and np.isclose(scores.sum(), 1)
    layers = default_layers(recognizer)
    assert layers == ["backbone.network.layer4"]
    assert Layer(recognizer, layers[0], "all").row(clips, 1).shape == (512,)
    assert explain(recognizer, clips[0], layers).maps[layers[0]].shape == (4, 32, 32)


def test_a_map_of_slowfast_inside_of_a_probe_is_shown_with_its_pathway() -> None:
    from tools.inference.grad_cam import layer_title

    with torch.device("meta"):
        made = probe("slowfast")
    layer = "backbone.network.slow.layer4"
    assert layer_title(made, layer) == f"the slow pathway, {layer}"


@pytest.mark.whole
@pytest.mark.parametrize(("augmentation", "differs"), [({}, True), ({"preset": "torchvision"}, False)])
def test_pixels_of_another_mean_than_the_file_was_trained_with_are_a_warning(
    augmentation: dict[str, Any], differs: bool, tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save(CLIP_NETWORKS["mc3_18"]().state_dict(), path)
    text = "net.pth was trained with mean [0.432, 0.395, 0.376] and std [0.228, 0.221, 0.217], and this run has"
    whole = {"type": "clip3d", **MC3}
    for found in (
        warned({"type": "probe", "pretrained": str(path), **MC3}, augmentation=augmentation),
        warned({**whole, "pretrained": str(path)}, augmentation=augmentation, freeze=["all"]),
    ):
        assert (text in found) == differs
    assert text not in warned({**whole, "pretrained": str(path)}, augmentation=augmentation), "it learns"
    given = {"input_size": 32, "test_resize": 36, **augmentation}
    config = make_experiment(
        tmp_path / "run", train=4, val=2, model={"type": "probe", "num_class": 2, **MC3}, augmentation=given
    )
    assert run(config, "--load-path", str(path), "common.model.pretrained=True") == 0
    notes = checkpoint.load(config.parent / checkpoint.NEWEST)["notes"]
    assert [text in note for note in notes if "trained with mean" in note] == [True] * differs
