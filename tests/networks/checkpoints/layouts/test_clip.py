"""CLIP and adapters on it: published numbers, files without the network that they stand on, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.tsn import TSN
from networks.checkpoints import file as reading
from networks.checkpoints.layouts.clip import NETWORKS, OPENAI
from networks.checkpoints.load import RawCheckpoint, load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from tests.golden import fill
from tests.helpers.publish import noted
from tests.helpers.requirements import needs_package
from tests.networks.checkpoints.layouts.official_names import wrapped
from tests.networks.checkpoints.layouts.test_transformers import TOLERANCE, State, _convert, _published
from utils.errors import CheckpointError

pytestmark = needs_package("timm")
ST_ADAPTER, AIM = "st_adapter__clip_vit_b16_12x384_depth4_8x112", "aim__vitclip_b16_depth3_8x112"
B16 = "timm/vit_base_patch16_clip_quickgelu_224"


def _scores(file: RawCheckpoint, doc: dict[str, Any]) -> float:
    """Fills the network that a file shows; returns how far its scores are from the published ones."""
    method = TSN(backbone=file.description.backbone, **file.description.arguments).eval()
    report = load_into(method, file)
    assert not (report.missing or report.unexpected or report.warnings)
    assert {part.eps for part in method.modules() if isinstance(part, nn.LayerNorm)} == {1e-5}
    with torch.no_grad():
        scores = method(torch.from_numpy(fill.make_input(doc["input"]["shape_NCTHW"]))).numpy()
    return float(np.abs(scores - np.array(doc["logits"])).max() / doc["logits_std"])


@pytest.mark.whole
@pytest.mark.parametrize(("name", "layout"), [(ST_ADAPTER, "ST-Adapter"), (AIM, "AIM")])
def test_published_adapters_give_their_published_scores(name: str, layout: str, tmp_path: Path) -> None:
    doc, state = _published(name)
    torch.save(wrapped(doc["file"]["state_dict_path"], state), tmp_path / "file.pth")
    file = load_checkpoint_file(noted(tmp_path / "file.pth"))
    assert (file.layout, file.description.backbone) == (layout, B16)
    assert _scores(file, doc) < TOLERANCE


class _Program(nn.Module):
    """A program that holds CLIP's towers as OpenAI's archive does."""

    def __init__(self, tower: State) -> None:
        super().__init__()
        self.visual = _Part()
        for key, value in tower.items():
            part: Any = self.visual
            *path, last = key.split(".")
            for name in path:
                if name not in dict(part.named_children()):
                    part.add_module(name, _Part())
                part = part.get_submodule(name)
            part.register_parameter(last, nn.Parameter(value.half()))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.logit_scale


class _Part(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore:.torch.jit")  # deprecated, and still in use
def test_a_file_with_adapters_alone_is_joined_with_openais_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc, state = _published(ST_ADAPTER)
    tower = {key: value for key, value in state.items() if ".adapter_pre_" not in key and not key.startswith("fc.")}
    tower = {key: value.half().float() for key, value in tower.items()}  # as OpenAI keeps them
    torch.save({"model": {key: value for key, value in state.items() if key not in tower}}, tmp_path / "adapters.pth")
    monkeypatch.setattr(reading, "PRETRAINED", tmp_path / "pretrained")
    monkeypatch.setattr(reading, "fetch", _nothing_to_fetch)
    with pytest.raises(CheckpointError, match=rf"adapters.pth: holds only what was trained on {B16}: not fetched"):
        load_checkpoint_file(tmp_path / "adapters.pth")
    (tmp_path / "pretrained").mkdir()
    torch.jit.save(torch.jit.trace(_Program(tower), torch.zeros(1)), tmp_path / "pretrained" / OPENAI[B16])
    frozen = tmp_path / "pretrained" / OPENAI[B16]
    doubt = f"{frozen}: nothing tells whether these are the weights that were published"
    assert any(text.startswith(doubt) for text in load_checkpoint_file(noted(tmp_path / "adapters.pth")).warnings)
    noted(frozen)
    file = load_checkpoint_file(tmp_path / "adapters.pth")
    assert file.description.arguments["kwargs"] == {"depth": 4, "img_size": 112}
    assert f"the frozen {B16} is from" in " ".join(file.description.notes)
    torch.save({"model": {**state, **tower}}, tmp_path / "whole.pth")
    whole = load_checkpoint_file(tmp_path / "whole.pth")
    assert file.weights.keys() == whole.weights.keys()
    assert all(torch.equal(value.float(), whole.weights[key]) for key, value in file.weights.items())
    assert _scores(file, doc) < 0.01  # of weights in 16 bits


def _nothing_to_fetch(*_: Any) -> Path:
    raise CheckpointError("not fetched")


@pytest.mark.whole
def test_the_image_tower_of_clip_is_an_image_network_and_its_text_is_left_out() -> None:
    _, state = _published(AIM)
    tower = {key.removeprefix("backbone."): value for key, value in state.items() if "dapter" not in key}
    tower = {key: value for key, value in tower.items() if not key.startswith(("temporal_", "cls_head"))}
    plain, description, layout = _convert(tower | {"proj": torch.zeros(768, 512)})
    assert layout == "CLIP" and description.method == "" and description.backbone == B16
    whole = {f"visual.{key}": value for key, value in tower.items()} | {
        "transformer.resblocks.0.ln_1.bias": torch.ones(3)
    }
    again, description, _ = _convert(whole)
    assert again.keys() == plain.keys() and description.notes == [
        "CLIP: its image tower is read; its text tower and the projections are left out"
    ]
    method = TSN(backbone=B16, num_class=2, kwargs={"depth": 3, "img_size": 112})
    assert {f"backbone.{key}" for key in plain} == {key for key in method.state_dict() if not key.startswith("head.")}


@pytest.mark.whole
def test_forms_of_adapters_are_seen_in_their_shapes() -> None:
    _, state = _published(ST_ADAPTER)
    both = dict(state)
    for key, value in state.items():
        if ".adapter_pre_mlp." in key:
            both[key.replace("pre_mlp", "pre_attn")] = value
    assert _convert(both)[1].arguments["temporal"]["halves"] == ["attention", "mlp"]
    wide = {key: value.repeat(1, 1, 1, 3, 3) if key.endswith(".conv.weight") else value for key, value in state.items()}
    with pytest.raises(CheckpointError, match="its adapters have kernels of 3 x 3 x 3; ours are 3 x 1 x 1"):
        _convert(wide)
    _, state = _published(AIM)
    two = state | {k.replace("T_Adapter", "T_Adapter_in"): v for k, v in state.items() if ".T_Adapter." in k}
    temporal = _convert(two)[1].arguments["temporal"]
    assert temporal == {"name": "aim", "before_time": True, "scale": 1.0}


@pytest.mark.whole
def test_pixels_and_views_are_those_of_the_papers() -> None:
    for name, mean in ((ST_ADAPTER, 0.48145466), (AIM, 0.481447)):
        _, description, layout = _convert(_published(name)[1])
        found = sections(layout, description)
        assert found["augmentation"]["mean"][0] == mean and found["data"] == {"sampling": "clip"}
        assert (found["test"]["num_clips"], found["test"]["num_crops"]) == (3, 1)


def test_the_networks_of_timm_have_quick_gelus() -> None:
    import timm

    for name in NETWORKS.values():
        with torch.device("meta"):
            net = timm.create_model(name.removeprefix("timm/"), depth=1)
        assert type(net.blocks[0].mlp.act).__name__ == "QuickGELU"


@pytest.mark.parametrize(
    "name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "vit_base_patch16_siglip_224"]
)
def test_a_transformer_that_classifies_nothing_keeps_its_last_layers(name: str, tmp_path: Path) -> None:
    kwargs = {"depth": 1, "embed_dim": 48, "num_heads": 2}
    method = TSN(backbone=f"timm/{name}", num_class=2, kwargs=kwargs)
    net = method.backbone.state_dict()
    for number, state in enumerate((net, dict(sorted(net.items())))):
        torch.save(state, tmp_path / f"{number}.pth")
        report = load_into(method, tmp_path / f"{number}.pth")
        assert {key.removeprefix("backbone.") for key in report.matched} == net.keys()


@pytest.mark.whole
def test_frames_of_an_adapter_are_far_apart_or_spread_over_the_video() -> None:
    for name in (ST_ADAPTER, AIM):
        state = _published(name)[1]
        head = next(key for key in state if key in ("fc.weight", "cls_head.fc_cls.weight"))
        _, description, _ = _convert(state)
        assert (description.arguments["frame_stride"], "frame_stride" in description.assumed) == (16, True)
        assert "frame_stride: not in the file; the config sets it (16 is assumed)" in description.notes
        _, description, layout = _convert({**state, head: torch.zeros(174, 768)})
        test = sections(layout, description)["test"]
        assert "frame_stride" not in description.arguments
        assert (test["sampling"], test["num_clips"], test["num_crops"]) == ("tsn", 1, 3)
