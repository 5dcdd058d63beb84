"""ST-Adapter and AIM in vision transformers of timm: where they begin, what they see, and what stays frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from methods.build import prepared_method
from methods.frame_by_frame import obstacle
from methods.tsn import TSN
from networks.recompute import recompute_blocks
from networks.temporal.adapters import FrameMean
from tests.helpers.randomise import randomise
from tests.helpers.requirements import needs_package
from tools.exporting import TOLERANCE
from tools.exporting.export import Exportable, export, exports_onnx, trace
from utils.config.schema import Common
from utils.errors import ConfigError

pytestmark = needs_package("timm")
FRAMES = 4
SMALL = {"depth": 2, "num_heads": 2, "img_size": 32}
HOSTS: dict[str, dict[str, Any]] = {
    "timm/vit_tiny_patch16_224": {**SMALL, "embed_dim": 32},
    "timm/vit_base_patch16_clip_quickgelu_224": {**SMALL, "embed_dim": 32},
    "timm/vit_small_patch14_reg4_dinov2": {**SMALL, "embed_dim": 32, "img_size": 28},
    "timm/vit_base_patch16_siglip_224": {**SMALL, "embed_dim": 32},
    "timm/vit_small_patch16_dinov3": {**SMALL, "embed_dim": 32},
}
ADAPTERS: list[dict[str, Any]] = [
    {"name": "st_adapter", "width": 8},
    {"name": "st_adapter", "width": 8, "halves": ["attention", "mlp"]},
    {"name": "aim"},
    {"name": "aim", "before_time": True, "scale": 1.0},
]


def common(**keys: Any) -> Common:
    return Common.model_validate({"lr_scheduler": {"base_lr": 0.1, "max_iter": 1}, "batch_size": 2, **keys})


def made(host: str, temporal: dict[str, Any] | None, *, awake: bool = True, **more: Any) -> TSN:
    """A method with the same weights in its transformer whatever adapters it has."""
    torch.manual_seed(0)
    plain = TSN(backbone=host, num_class=3, num_segments=FRAMES, kwargs=HOSTS[host], **more)
    randomise(plain)
    for name, parameter in plain.named_parameters():
        if "gamma" in name:  # of layer scales, which begin at nearly zero
            nn.init.ones_(parameter)
    nn.init.normal_(plain.head.weight)
    if temporal is None:
        return plain.eval()
    method = TSN(backbone=host, num_class=3, num_segments=FRAMES, temporal=temporal, kwargs=HOSTS[host], **more)
    method.load_state_dict(plain.state_dict(), strict=False)
    if awake:
        for name, parameter in method.named_parameters():
            if ".temporal." in name:
                nn.init.normal_(parameter, std=0.3)
    return method.eval()


def clips(host: str, *, frames: int = FRAMES) -> torch.Tensor:
    side = HOSTS[host]["img_size"]
    return torch.randn(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.alike
@pytest.mark.parametrize("temporal", ADAPTERS)
@pytest.mark.parametrize("host", HOSTS)
def test_adapters_begin_as_the_transformer_and_then_see_the_order_of_frames(
    host: str, temporal: dict[str, Any]
) -> None:
    with torch.no_grad():
        x = clips(host)
        begun, still = made(host, temporal, awake=False), x[:, :, :1].repeat(1, 1, FRAMES, 1, 1)
        torch.testing.assert_close(begun(still), made(host, None)(still), rtol=1e-4, atol=1e-5)
        awake = made(host, temporal).double()
        x = x.double()
        logits = awake(x)
        assert (awake(x.flip(2)) - logits).abs().max() > 1e-6
        torch.testing.assert_close(awake(x[:1]), logits[:1])


def test_dropout_comes_behind_the_average_of_frames() -> None:
    for temporal in ADAPTERS:
        host = "timm/vit_base_patch16_clip_quickgelu_224"
        method = made(host, temporal, dropout=0.5)
        seen: list[torch.Size] = []
        method.dropout.register_forward_hook(lambda part, given, out: seen.append(given[0].shape))  # noqa: B023
        method(clips(host))
        assert seen == [(2, 32)] and sum(isinstance(part, FrameMean) for part in method.modules()) == 1


@pytest.mark.parametrize("host", ["timm/vit_tiny_patch16_224", "timm/vit_small_patch16_dinov3"])
def test_blocks_may_be_computed_again(host: str) -> None:
    for temporal in ADAPTERS[1:3]:
        gradients = []
        for again in (False, True):
            method = made(host, {**temporal, **({"drop_path": 0.0} if temporal["name"] == "aim" else {})}).train()
            if again:
                recompute_blocks(method)
            method(clips(host)).logsumexp(1).sum().backward()
            gradients.append([value.grad for value in method.parameters()])
        assert all(
            one is other is None or torch.allclose(one, other, atol=1e-5) for one, other in zip(*gradients, strict=True)
        )


def test_freezing_the_base_leaves_adapters_and_classifier_and_aims_last_norm() -> None:
    host = "timm/vit_tiny_patch16_224"
    for temporal, more in ((ADAPTERS[0], set()), (ADAPTERS[2], {"backbone.norm.weight", "backbone.norm.bias"})):
        model = {"type": "tsn", "backbone": host, "num_class": 3, "num_segments": FRAMES, "dropout": 0.5}
        config = common(model={**model, "temporal": temporal, "kwargs": HOSTS[host]}, freeze=["base"])
        method, _ = prepared_method(config)
        learns = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
        added = {name for name, _ in method.named_parameters() if ".temporal." in name or name.startswith("head.")}
        assert learns == added | more
        method.train()
        assert method.dropout.training and not method.backbone.blocks[0].attn.training


def test_aims_last_norm_learns_behind_an_average_too() -> None:
    kwargs = HOSTS["timm/vit_tiny_patch16_224"] | {"global_pool": "avg"}
    method = TSN(
        backbone="timm/vit_tiny_patch16_224", num_class=3, num_segments=FRAMES, temporal=ADAPTERS[2], kwargs=kwargs
    )
    assert not method.is_base("backbone.fc_norm.weight") and method.is_base("backbone.blocks.0.norm1.weight")


def test_why_adapters_cannot_run_frame_by_frame_is_said_in_words() -> None:
    for temporal, message in (
        (ADAPTERS[0], "STAdapter, whose convolution over time sees the frame behind each"),
        (ADAPTERS[2], "AIM, whose attention over time sees all frames of a clip"),
    ):
        assert message in obstacle(made("timm/vit_tiny_patch16_224", temporal))


def test_stages_choose_blocks_and_what_does_not_fit_is_named() -> None:
    host = "timm/vit_tiny_patch16_224"
    method = made(host, {**ADAPTERS[0], "stages": ["blocks.1"]})
    found = {name.split(".")[2] for name, _ in method.named_parameters() if ".temporal." in name}
    assert found == {"1"}
    for temporal, more, message in (
        ({"name": "st_adapter", "stages": ["layer1"]}, {}, "stages: no block of .* is in layer1; they are blocks.0"),
        ({"name": "st_adapter", "halves": []}, {}, "halves: should have at least 1 item"),
        ({"name": "aim", "squeeze": 64}, {}, "squeeze: 64 is more than the 32 channels of a token"),
        (ADAPTERS[2], {"consensus": "trn"}, "consensus: aim averages the frames; trn finds none to relate"),
    ):
        with pytest.raises(ValueError, match=message):
            made(host, temporal, **more)
    with pytest.raises(ValueError, match=r"blocks of timm's vision transformers .* which resnet18 does not have"):
        TSN(backbone="resnet18", num_class=3, temporal={"name": "aim"})
    with pytest.raises(ValueError, match="mixes all 4 frames of a clip, and takes no clip of 6"):
        made(host, ADAPTERS[2])(clips(host, frames=6))
    assert made(host, ADAPTERS[0])(clips(host, frames=6)).shape == (2, 3)
    model = {"type": "clip3d", "backbone": "r3d_18", "num_class": 3}
    with pytest.raises(ConfigError, match=r"common\.freeze: this method has no image network under added parts"):
        prepared_method(common(model=model, freeze=["base"]))


@pytest.mark.long
@needs_package("onnxruntime")
@pytest.mark.skipif(not exports_onnx(), reason="this torch is too old to export to ONNX")
@pytest.mark.parametrize("host", ["timm/vit_base_patch16_clip_quickgelu_224", "timm/vit_small_patch16_dinov3"])
@pytest.mark.parametrize("temporal", ADAPTERS[1:3])
def test_transformers_with_adapters_export(host: str, temporal: dict[str, Any], tmp_path: Path) -> None:
    method = made(host, temporal).requires_grad_(False)

    def example(batch: int) -> tuple[torch.Tensor, ...]:
        return (clips(host).repeat(batch, 1, 1, 1, 1)[:batch],)

    network = Exportable(method, ("clips",), ("logits",), example, 1, {})
    program = trace(network)
    for suffix in (".onnx", ".pt2"):
        assert export(network, program, tmp_path / f"model{suffix}", TOLERANCE) <= TOLERANCE


def test_freezing_the_base_leaves_non_local_blocks_which_no_image_network_has() -> None:
    model = {"type": "tsm", "backbone": "resnet50", "num_class": 3, "num_segments": 2, "non_local": True}
    with torch.device("meta"):
        method, _ = prepared_method(common(model=model, freeze=["base"]))
    learns = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert {name for name, _ in method.named_parameters() if ".non_local." in name} == learns - {
        "head.weight",
        "head.bias",
    }


@pytest.mark.parametrize("host", ["timm/vit_tiny_patch16_224"])
def test_the_last_adapter_is_idle_where_the_class_token_alone_is_read(host: str) -> None:
    method = made(host, ADAPTERS[0])
    method(clips(host)).sum().backward()
    taps = [block.temporal.mlp.time.weight.grad for block in method.backbone.blocks]
    assert taps[0].any() and not taps[1].any()
