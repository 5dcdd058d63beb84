"""PyTorchVideo's hub: each name that classifies builds its network, filled from a server of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import hubconf
from methods import hub
from methods.hub import DETECTORS, PYTORCHVIDEO, entry_point
from networks import CLIP_NETWORKS
from networks.checkpoints.layouts import LAYOUTS
from networks.checkpoints.load import load_checkpoint_file
from tests.helpers.file_server import FileServer, serving
from tests.helpers.publish import publish, use_cache, use_registry
from tests.helpers.requirements import ROOT
from tests.networks.checkpoints.layouts import official_names as official
from utils.config.build import ArgumentError
from utils.errors import CheckpointError
from utils.published.registry import registry

# millions of parameters as PyTorchVideo's model zoo prints them; mvit_base_16 is counted with 400 classes
MILLIONS = {
    "slow_r50": 32.45,
    "c2d_r50": 24.33,
    "i3d_r50": 28.04,
    "csn_r101": 22.21,
    "r2plus1d_r50": 28.11,
    "slowfast_r50": 34.57,
    "slowfast_r101": 62.83,
    "slowfast_16x8_r101_50_50": 53.77,
    "mvit_base_16x4": 36.61,
    "mvit_base_32x3": 36.61,
    "x3d_xs": 3.79,
    "x3d_s": 3.79,
    "x3d_m": 3.79,
    "x3d_l": 6.15,
    "efficient_x3d_xs": 3.79,
    "efficient_x3d_s": 3.79,
}


def _load(name: str, **arguments: Any) -> Any:
    return torch.hub.load(str(ROOT), name, source="local", **arguments)


@pytest.mark.parametrize("name", MILLIONS)
def test_each_name_builds_a_network_of_the_published_size(name: str) -> None:
    with torch.device("meta"):
        net = getattr(hubconf, name)()
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.006)


def test_the_network_over_pictures_takes_one_frame() -> None:
    with torch.device("meta"):
        assert hubconf.mvit_base_16(num_class=1000)(torch.empty(2, 3, 1, 224, 224)).shape == (2, 1000)


def test_slowfast_takes_pathways_as_pytorchvideo_gives_them() -> None:
    torch.manual_seed(0)
    net, clip = hubconf.slowfast_r50(num_class=3).eval(), torch.randn(1, 3, 8, 32, 32)
    slow = clip[:, :, [0, 7]]
    with torch.no_grad():
        assert torch.equal(net(clip), net([slow, clip]))
        assert not torch.allclose(net(clip), net([slow.flip(2), clip]))


def test_every_name_has_weights_that_are_published_for_its_network() -> None:
    for name, known in PYTORCHVIDEO.items():
        found = registry()[known.weights]
        assert found.source == "pytorchvideo" and found.support == "now" and found.url.endswith(".pyth"), name


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    use_cache(tmp_path, monkeypatch)
    with serving() as server:
        yield server


def _publish(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, **about: Any) -> dict[str, Any]:
    """Publishes random weights under the name of slow_r50's; returns them under our names."""
    torch.manual_seed(1)
    made = CLIP_NETWORKS["slow_r50"](num_class=7)
    state = official.pytorchvideo(made.state_dict())
    torch.save({"model_state": state}, tmp_path / "SLOW.pyth")
    found = publish(tmp_path / "SLOW.pyth", server, PYTORCHVIDEO["slow_r50"].weights, **about)
    known = use_registry([found], monkeypatch)
    monkeypatch.setattr(hub, "entry", lambda name: known[name])
    monkeypatch.setattr(hub, "registry", lambda: known)
    return dict(made.state_dict())


@pytest.mark.whole
def test_pretrained_fetches_the_weights_once_and_fills_the_network(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = _publish(tmp_path, server, monkeypatch, licence="CC-BY-NC-4.0", commercial="no")
    net = _load("slow_r50", pretrained=True, progress=False)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    told = capsys.readouterr().err
    assert "forbids commercial use" in told and "MB" not in told.partition("downloading")[2].partition("\n")[2]
    fine = _load("slow_r50", pretrained=True, num_class=3)
    assert fine.fc.out_features == 3 and torch.equal(fine.layer4[2].conv3.weight, net.layer4[2].conv3.weight)
    assert len(server.asked) == 1
    with pytest.raises(CheckpointError, match=r"^slow_r50: pretrained=True: takes the published .*, without depth$"):
        _load("slow_r50", pretrained=True, depth=101)


def test_progress_decides_whether_a_bar_is_shown(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[str] = []
    monkeypatch.setattr("utils.published.files._Shown.report", lambda self, done, total: bars.append("moved"))
    (tmp_path / "net.pth").write_bytes(bytes(5000))
    for number, progress in enumerate((False, True)):
        found = publish(tmp_path / "net.pth", server, f"set/net{number}")
        hub.fetch(found, progress=progress, folder=tmp_path)
        (tmp_path / "torch/hub/checkpoints" / found.name).unlink()
        assert bool(bars) == progress


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slow_nln_r50", "^slow_nln_r50: pretrained=True: no weights are published for this name; .* `published`"),
        *[(name, f"^{name}: scores boxes around people, .*: take {name[:-10]}$") for name in DETECTORS],
    ],
)
def test_names_without_weights_and_detectors_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        _load(name, pretrained=True)


def test_torchvisions_names_and_new_networks_find_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry(name: str) -> None:
        asked.append(name)
        raise CheckpointError(name)

    monkeypatch.setattr(hub, "entry", entry)
    for name in ("swin3d_t", "mvit_v1_b", "s3d", "mvit_base_16x4", "x3d_l", "efficient_x3d_xs"):
        with pytest.raises(CheckpointError):
            entry_point(name)(pretrained=True)
    assert asked == [
        "kinetics400/swin3d_t_torchvision",
        "kinetics400/mvit_v1_b_torchvision",
        "kinetics400/s3d_torchvision",
        "kinetics400/mvit_b_16x4_pytorchvideo",
        "kinetics400/x3d_l_16x5_pytorchvideo",
        "kinetics400/efficient_x3d_xs_pytorchvideo",
    ]


def test_pytorchvideos_argument_names_are_taken_and_unknown_ones_named() -> None:
    with torch.device("meta"):
        assert hubconf.slow_r50(model_num_class=9).fc.out_features == 9
        assert hubconf.mvit_base_32x3(head_num_classes=9).head[1].out_features == 9
        assert hubconf.x3d_xs(head_output_with_global_average=True).fc.out_features == 400
    with pytest.raises(ArgumentError, match=r"^head_output_with_global_average: x3d_xs averages all positions; take"):
        hubconf.x3d_xs(head_output_with_global_average=False)
    with pytest.raises(ArgumentError, match=r"^slow_r50\.stem_width: slow_r50 does not take it; did you mean"):
        hubconf.slow_r50(stem_width=64)


def test_the_file_of_a_detector_is_refused_by_name(tmp_path: Path) -> None:
    state = {"model.blocks.0.conv.weight": torch.ones(2, 3, 1, 7, 7), "detection_head.proj.weight": torch.ones(80, 2)}
    assert any(layout.recognises(state) for layout in LAYOUTS)
    torch.save({"model_state": state}, tmp_path / "SLOW_4x16_R50_DETECTION.pyth")
    with pytest.raises(CheckpointError, match="PyTorchVideo detection: a detector, which scores boxes around people"):
        load_checkpoint_file(tmp_path / "SLOW_4x16_R50_DETECTION.pyth")
