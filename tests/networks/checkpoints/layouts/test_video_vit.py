"""Checkpoints of video transformers: published numbers, all spellings of their names, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.clip3d import Clip3D
from methods.probe import Probe
from networks.checkpoints.layouts import transformers_vit
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.video_vit import add_reading, with_probe
from networks.checkpoints.load import RawCheckpoint, load_checkpoint_file, load_into
from networks.checkpoints.protocols import sections
from networks.clip.video_vit_published import VITS
from tests.golden import fill
from tests.helpers.publish import noted
from tests.helpers.requirements import ROOT
from tests.networks.checkpoints.layouts import official_names_vit as names
from utils.errors import CheckpointError

State = dict[str, Tensor]
GOLDEN = ROOT / "tests" / "golden" / "models"
TOLERANCE = 1e-4  # of the scores' spread
PUBLISHED = {
    "videomaev2__vit_small_k710_16x112_depth4": ("VideoMAE", "videomae_s", False),
    "videomae__vit_small_16x224": ("VideoMAE", "videomae_s", True),
    "hf__videomae_base_16x112": ("transformers", "videomae_b", True),
    "timesformer__divst_depth3_8x112": ("TimeSformer", "timesformer_b", False),
    "timesformer__jointst_depth3_8x112": ("TimeSformer", "timesformer_b", False),
    "hf__timesformer_base_depth6_8x112": ("transformers", "timesformer_b", True),
    "mmaction2__timesformer_divst_depth4_8x112": ("mmaction2 ViT", "timesformer_b", True),
    "hf__vivit_b_16x2_depth4_16x112": ("transformers", "vivit_b", False),
    "vjepa2__vit_b_rope_depth12_probe1_16x96x160": ("V-JEPA 2", "vjepa2_l", True),
    "vjepa2__vit_l_rope_depth4_probe4_16x128": ("V-JEPA 2", "vjepa2_l", True),
    "hf__vjepa2_vitl_depth4_16x128": ("transformers", "vjepa2_l", True),
}


def _wrapped(path: list[Any], state: State) -> Any:
    held: Any = state
    for name in reversed(path):
        held = [held] if isinstance(name, int) else {name: held}
    return held


def _files(doc: dict[str, Any], folder: Path) -> list[RawCheckpoint]:
    """The published file, or the two that a network is published as."""
    entries = fill.fill_state([(key, shape) for key, shape, _ in doc["state_entries"]], **doc["fill"])
    whole = {"entries_prefix": "", **doc["file"]}
    found = []
    for number, part in enumerate(doc["file"].get("parts", [whole])):
        start = part["entries_prefix"]
        state = {
            part["key_prefix"] + key.removeprefix(start): torch.from_numpy(np.asarray(value))
            for key, value in entries.items()
            if key.startswith(start)
        }
        torch.save(_wrapped(part["state_dict_path"], state), folder / f"{number}.pth")
        found.append(load_checkpoint_file(noted(folder / f"{number}.pth")))
    return found


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if row[2] else name for name, row in PUBLISHED.items()]
)
def test_a_published_network_tells_what_it_is_and_gives_its_published_scores(name: str, tmp_path: Path) -> None:
    doc = json.loads((GOLDEN / f"{name}.json").read_text())
    files = _files(doc, tmp_path)
    layout, backbone, _ = PUBLISHED[name]
    assert (files[0].layout, files[0].description.backbone) == (layout, backbone)
    description = files[0].description
    if len(files) > 1:
        description = with_probe(description, files[1].description, files[1].weights["network.head.weight"].shape[1])
    arguments = {**description.arguments, "kwargs": dict(description.arguments.get("kwargs", {}))}
    joint = arguments["kwargs"].pop("segments", 1) > 1
    if joint:  # the scores are those of a single window
        arguments["clip_len"] = 16
    if "vivit" in name:  # 392 places are 16 frames of 112 pixels or 4 of 224, which the file does not tell
        assert (arguments["clip_len"], "clip_len" in files[0].description.assumed) == (4, True)
        arguments["clip_len"], arguments["kwargs"]["spatial_size"] = 16, 112
    method = Clip3D(backbone=backbone, **arguments).eval()
    if len(files) == 1:
        report = load_into(method, files[0], as_trained=not joint)
        assert not (report.missing or report.unexpected) and bool(report.warnings) == joint
    else:
        method.load_state_dict({**files[0].weights, **files[1].weights})
    entries = sum(math.prod(shape) for _, shape, _ in doc["state_entries"])
    assert sum(parameter.numel() for parameter in method.parameters()) == entries
    assert _difference(method, doc, doc["logits"]) < TOLERANCE
    if "two_segments" in doc.get("extra_outputs", {}):
        assert (
            _difference(_read_together(method, arguments, 2), doc, doc["extra_outputs"]["two_segments"]["values"])
            < TOLERANCE
        )
    eps = {part.eps for part in method.modules() if isinstance(part, nn.LayerNorm)}
    if not name.startswith("hf"):  # transformers has other ones in two networks than those who trained them
        assert eps == {norm["eps"] for norm in doc["layer_norms"]}


def _read_together(method: Clip3D, arguments: dict[str, Any], segments: int, **kwargs: Any) -> Clip3D:
    """Builds the same network for clips that consist of several windows, with the same weights."""
    kwargs = {**arguments["kwargs"], "segments": segments, **kwargs}
    other = Clip3D(backbone=method.settings["backbone"], **{**arguments, "clip_len": 16, "kwargs": kwargs}).eval()
    other.load_state_dict(method.state_dict())
    return other


def _difference(method: Clip3D, doc: dict[str, Any], wanted: list[list[float]]) -> float:
    """The largest difference of the scores from those wanted, as a share of their spread."""
    with torch.no_grad():
        scores = method(torch.from_numpy(fill.make_input(doc["input"]["shape_NCTHW"]))).numpy()
    return float(np.abs(scores - np.array(wanted)).max() / doc["logits_std"])


def test_four_windows_are_read_behind_three_blocks_as_the_authors_read_them(tmp_path: Path) -> None:
    doc = json.loads((GOLDEN / "vjepa2__tiny_4windows_3blocks.json").read_text())
    encoder, probe = _files(doc, tmp_path)
    arguments = encoder.description.arguments | probe.description.arguments
    arguments["kwargs"] = encoder.description.arguments["kwargs"] | probe.description.arguments["kwargs"]
    assert arguments["kwargs"].pop("segments") == doc["construction"]["windows"]
    plain = Clip3D(backbone="vjepa2_l", **{**arguments, "clip_len": 16}).eval()
    plain.load_state_dict({**encoder.weights, **probe.weights})
    joint = _read_together(plain, arguments, 4, read_blocks=doc["construction"]["encoder"]["out_layers"])
    assert _difference(joint, doc, doc["logits"]) < TOLERANCE
    assert (
        _difference(plain, doc, doc["logits"])
        > 0.05
        < _difference(_read_together(plain, arguments, 4), doc, doc["logits"])
    )


TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}
MAE = ("videomae_s", {**TINY, "mlp_ratio": 2.0}, 16)
JEPA = ("vjepa2_l", {**TINY, "pool_depth": 2, "pool_heads": 2}, 16)
TIME = ("timesformer_b", {**TINY, "temporal_size": 4, "spatial_size": 32}, 4)
JOINT = ("timesformer_b", {**TINY, "temporal_size": 4, "spatial_size": 32, "attention": "joint"}, 4)
VIVIT = ("vivit_b", {**TINY, "temporal_size": 4, "spatial_size": 48}, 4)


def _tiny(network: tuple[str, dict[str, Any], int]) -> Clip3D:
    backbone, kwargs, frames = network
    torch.manual_seed(0)
    method = Clip3D(backbone=backbone, num_class=5, clip_len=frames, kwargs=kwargs)
    with torch.no_grad():
        for parameter in method.parameters():  # no entry is zero, no two are alike
            parameter.copy_(torch.rand_like(parameter) + 0.1)
    return method


def _inner(method: Clip3D) -> State:
    return {key.removeprefix("network."): value for key, value in method.state_dict().items()}


def _file(contents: Any, folder: Path) -> RawCheckpoint:
    torch.save(contents, folder / "file.pth")
    return load_checkpoint_file(folder / "file.pth")


SPELLINGS: dict[str, tuple[tuple[str, dict[str, Any], int], Callable[[State], Any]]] = {
    "VideoMAE": (MAE, lambda state: {"module": names.authors(state)}),
    "VideoMAE of mmaction2": (MAE, lambda state: {"state_dict": names.mmaction2(state)}),
    "TimeSformer": (TIME, lambda state: {"model_state": {f"model.{k}": v for k, v in names.authors(state).items()}}),
    "TimeSformer, joint": (JOINT, lambda state: {"model_state": names.authors(state)}),
    "TimeSformer of mmaction2": (TIME, lambda state: {"state_dict": names.mmaction2(state)}),
    "joint TimeSformer of mmaction2": (JOINT, lambda state: {"state_dict": names.mmaction2(state)}),
    **{
        f"{family} of transformers {version}": (network, partial(names.hugging_face, family=family, five=version == 5))
        for family, network in (("videomae", MAE), ("vjepa2", JEPA), ("timesformer", TIME), ("vivit", VIVIT))
        for version in (4, 5)
    },
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_a_network_loads_whole_and_describes_it(name: str, tmp_path: Path) -> None:
    network, rename = SPELLINGS[name]
    method = _tiny(network)
    file = _file(rename(_inner(method)), tmp_path)
    assert file.weights.keys() == method.state_dict().keys()
    assert all(torch.equal(value, file.weights[key]) for key, value in method.state_dict().items())
    again = Clip3D(backbone=file.description.backbone, **file.description.arguments)
    assert not load_into(again, file).missing
    kwargs = file.description.arguments["kwargs"]
    assert {key: kwargs[key] for key in TINY if key != "num_heads"} == {"embed_dim": 24, "depth": 2}
    assert kwargs["num_heads"] == 1 and "num_heads: not in the file" in " ".join(file.description.notes)
    assert sections(file.layout, file.description)["test"]["num_crops"] in (1, 3)


@pytest.mark.parametrize("name", ["VideoMAE", "VideoMAE of mmaction2", "videomae of transformers 4"])
@pytest.mark.parametrize("letter", "qv")
def test_a_videomae_that_has_lost_its_biases_is_refused_by_name(name: str, letter: str, tmp_path: Path) -> None:
    state = SPELLINGS[name][1](_inner(_tiny(MAE)))
    inner = next((value for key, value in state.items() if isinstance(value, dict)), state)
    biases = [key for key in inner if key.endswith(f"{letter}_bias")]
    assert len(biases) == 2
    stripped = {key: value for key, value in inner.items() if key not in biases}
    with pytest.raises(CheckpointError, match=rf"blocks\.0\.attn\.qkv\.{letter}_bias: the bias .* is not in the file"):
        _file(stripped, tmp_path)
    zeroed = inner | {key: torch.zeros_like(inner[key]) for key in biases}
    with pytest.raises(
        CheckpointError, match=rf"{letter}_bias: zero in all 2 blocks, as in a file that has lost its biases"
    ):
        _file(zeroed, tmp_path)
    _file(inner | {biases[0]: torch.zeros_like(inner[biases[0]])}, tmp_path)  # one of many may be zero
    renamed = {key.replace(f"{letter}_bias", f"{letter}_b"): value for key, value in inner.items()}
    with pytest.raises(CheckpointError, match=rf"blocks\.0\.attn\.qkv\.{letter}_bias: the bias"):
        _file(renamed, tmp_path)


def test_a_file_of_a_pretraining_fills_the_body_and_the_rest_begins_anew(tmp_path: Path) -> None:
    method, other = _tiny(MAE), _tiny(MAE)
    file = _file({"model": names.videomae_pretraining(_inner(method))}, tmp_path)
    with pytest.raises(CheckpointError, match=r"only the model has network\.fc_norm"):
        load_into(other, file, as_trained=False)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    report = load_into(other, file, new_head=True)
    filled = {key for key, value in other.state_dict().items() if value.any()}
    assert filled == {key for key in method.state_dict() if not key.startswith(("network.fc_norm", "network.head"))}
    assert not report.missing and "decoder, mask_token, encoder_to_decoder: " in " ".join(report.notes)


@pytest.mark.parametrize("second", [False, True])
def test_the_encoder_of_v_jepa_2_and_its_probe_are_two_files(second: bool, tmp_path: Path) -> None:
    method = _tiny(("vjepa2_1_b" if second else "vjepa2_l", *JEPA[1:]))
    encoder, probe = names.vjepa2_parts(_inner(method))
    if second:  # V-JEPA 2.1: norms of four depths, an embedding of videos, and what single pictures need
        start = "module.backbone."
        norm = {part: encoder.pop(f"{start}norm.{part}") for part in ("weight", "bias")}
        for number in range(4):
            encoder |= {f"{start}norms_block.{number}.{part}": value * (number + 1) / 4 for part, value in norm.items()}
        video = torch.full((1, 1, 24), 0.5)
        encoder[f"{start}patch_embed.proj.bias"] = encoder[f"{start}patch_embed.proj.bias"] - video.flatten()
        encoder |= {f"{start}video_mod_embed": video, f"{start}img_mod_embed": video}
        encoder[f"{start}patch_embed_img.proj.bias"] = video.flatten()
    held = {"encoder": probe, "target_encoder": {**encoder, "module.backbone.pos_embed": torch.ones(1)}}
    first, last = _file(held, tmp_path), _file({"classifiers": [probe, probe]}, tmp_path)
    assert (first.layout, last.layout) == ("V-JEPA 2", "V-JEPA 2 probe")
    assert first.description.backbone.startswith("vjepa2_1_" if second else "vjepa2_l")
    assert last.description.arguments == {"num_class": 5, "kwargs": {"pool_depth": 2}}
    assert "classifiers: 2 probes in the file; the first is taken" in last.description.notes
    joined = {**first.weights, **last.weights}
    assert joined.keys() == method.state_dict().keys()
    for key, value in method.state_dict().items():
        torch.testing.assert_close(joined[key], value)
    report = load_into(method, first, new_head=True)
    assert not report.missing and not any("pooler" in key or "head" in key for key in report.matched)


@pytest.mark.parametrize(
    ("network", "other", "changed"),
    [
        (TIME, {"temporal_size": 8, "spatial_size": 64}, {"pos_embed", "time_embed"}),
        (JOINT, {"temporal_size": 4, "spatial_size": 64}, {"pos_embed"}),
        (VIVIT, {"temporal_size": 8, "spatial_size": 48}, {"pos_embed"}),
        (VIVIT, {"temporal_size": 4, "spatial_size": 32}, {"pos_embed"}),
    ],
)
def test_tables_for_another_size_are_interpolated_and_it_is_said(
    network: tuple[str, dict[str, Any], int], other: dict[str, Any], changed: set[str], tmp_path: Path
) -> None:
    method = _tiny(network)
    file = _file({"state_dict": method.state_dict()}, tmp_path)
    new = Clip3D(backbone=network[0], num_class=5, clip_len=other["temporal_size"], kwargs={**network[1], **other})
    report = load_into(new, file, as_trained=False)
    told = [text for text in report.warnings if "interpolated" in text]
    assert {text.partition(".weight:")[0].removeprefix("network.") for text in told} == changed
    assert not report.missing
    assert torch.equal(new.network.pos_embed.weight[0], method.network.pos_embed.weight[0])  # of the class token
    low, high = method.network.pos_embed.weight.aminmax()
    assert new.network.pos_embed.weight.min() > low - 0.2 and new.network.pos_embed.weight.max() < high + 0.2


def test_a_timesformer_of_twice_the_side_takes_each_entry_four_times(tmp_path: Path) -> None:
    method = _tiny(TIME)
    places = method.network.pos_embed.weight.detach().clone()
    file = _file({"state_dict": method.state_dict()}, tmp_path)
    new = Clip3D(backbone="timesformer_b", num_class=5, clip_len=4, kwargs={**TIME[1], "spatial_size": 64})
    load_into(new, file, as_trained=False)
    grown = new.network.pos_embed.weight[1:].unflatten(0, (2, 2, 2, 2))  # row, its half, column, its half
    for row in range(2):
        for column in range(2):
            assert torch.equal(grown[:, row, :, column].flatten(0, 1), places[1:])


def test_a_frozen_encoder_takes_a_file_of_a_pretraining(tmp_path: Path) -> None:
    method = _tiny(JEPA)
    file = _file({"target_encoder": names.vjepa2_parts(_inner(method))[0]}, tmp_path)
    kwargs = {**TINY, "pooling": "mean"}
    probe = Probe(backbone="vjepa2_l", num_class=3, clip_len=4, head="attentive", kwargs=kwargs)
    report = load_into(probe, file)
    assert not report.missing and not report.unexpected
    body = [name for name, _ in probe.named_parameters() if name.startswith("backbone.")]
    assert set(body) <= set(report.matched)
    assert probe(torch.randn(1, 3, 4, 32, 48)).shape == (1, 3)


@pytest.mark.parametrize(
    ("places", "clip", "sure"),
    [(3136, (32, 224), True), (784, (8, 224), False), (980, (10, 224), False), (4096, (32, 256), False)],
)
def test_a_vivit_is_of_pictures_of_224_wherever_its_places_allow(
    places: int, clip: tuple[int, int], sure: bool
) -> None:
    description = transformers_vit._vivit(_vivit_of(places))[1]
    kwargs = description.arguments["kwargs"]
    assert (description.arguments["clip_len"], kwargs.get("spatial_size", 224)) == clip
    assert ("clip_len" not in description.assumed) == sure
    assert sections("transformers", description)["augmentation"]["input_size"] == clip[1]


@pytest.mark.parametrize("places", [0, 7, 1, 36])
def test_places_that_tell_no_size_are_refused(places: int) -> None:
    with pytest.raises(CheckpointError, match=rf"position_embeddings has {places} places, which does not tell frames"):
        transformers_vit._vivit(_vivit_of(places))


def _vivit_of(places: int) -> State:
    state = {"patch_embed.proj.weight": torch.rand(24, 3, 2, 16, 16), "blocks.0.mlp.fc1.weight": torch.rand(96, 24)}
    return state | {"pos_embed": torch.rand(1, 1 + places, 24)}


@pytest.mark.parametrize(
    ("classes", "views", "frames", "windows"),
    [(48, (1, 3), 128, 4), (174, (1, 3), 32, 2), (101, (8, 3), 16, 1)],
)
def test_v_jepa_2_reads_as_many_windows_together_as_its_classifier_was_trained_with(
    classes: int, views: tuple[int, int], frames: int, windows: int, tmp_path: Path
) -> None:
    method = _tiny(JEPA)
    method.network.head = nn.Linear(24, classes)
    _, probe = names.vjepa2_parts(_inner(method))
    for contents in (names.hugging_face(_inner(method), family="vjepa2", five=False), {"classifiers": [probe]}):
        file = _file(contents, tmp_path)
        test, arguments = sections(file.layout, file.description)["test"], file.description.arguments
        assert (test["num_clips"], test["num_crops"]) == views
        assert arguments["kwargs"].get("segments", 1) == windows and "read_blocks" not in arguments["kwargs"]
        assert arguments.get("clip_len", 16) == frames
        told = "are read together" if windows > 1 else "a classifier that reads one window is assumed"
        assert told in " ".join(file.description.notes)


@pytest.mark.parametrize(("width", "depth", "blocks"), [(1024, 24, [17, 19, 21, 23]), (1408, 40, [24, 29, 34, 39])])
def test_the_classifier_of_diving48_reads_four_blocks_of_the_published_encoders(
    width: int, depth: int, blocks: list[int]
) -> None:
    description = Description(backbone={1024: "vjepa2_l", 1408: "vjepa2_g"}[width], arguments={"num_class": 48})
    add_reading(description, width)
    assert description.arguments["kwargs"] == {"segments": 4, "read_blocks": blocks}
    assert (description.arguments["clip_len"], description.arguments["frame_stride"]) == (128, 2)
    shape = VITS[description.backbone].shape
    assert (shape.width, shape.depth) == (width, depth)


@pytest.mark.parametrize("kwargs", [{}, {"segments": 2, "read_blocks": [0, 1]}])
def test_a_joint_reading_that_is_not_configured_is_said(kwargs: dict[str, Any], tmp_path: Path) -> None:
    shown = Description("clip3d", "vjepa2_l", {"num_class": 5, "kwargs": {"segments": 2, "read_blocks": [1]}})
    method = _tiny(JEPA)
    torch.save(method.state_dict(), tmp_path / "x.pth")
    state = method.state_dict()
    file = RawCheckpoint(tmp_path / "x.pth", state, {}, "transformers", state, shown)
    other = Clip3D(backbone="vjepa2_l", num_class=5, clip_len=16, kwargs={**JEPA[1], **kwargs})
    wrong = (
        r"kwargs\.read_blocks is \[1\] in the file and \[0, 1\] here" if kwargs else "segments is 2 in the file and 1"
    )
    with pytest.raises(CheckpointError, match=wrong):
        load_into(other, file)
    assert any(
        "segments" in text or "read_blocks" in text for text in load_into(other, file, as_trained=False).warnings
    )
