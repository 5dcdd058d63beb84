"""V-JEPA 2.1: the scores of its authors' code, the norms of the blocks that are read, and what its probes read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods.clip3d import Clip3D
from methods.probe import Probe
from networks.checkpoints.layouts.base import Description
from networks.checkpoints.layouts.video_vit import add_reading, with_probe
from networks.checkpoints.load import RawCheckpoint, load_into
from networks.checkpoints.protocols import sections
from networks.clip.video_vit_published import VITS
from tests.golden import fill
from tests.networks.checkpoints.layouts import official_names_vit as names
from tests.networks.checkpoints.layouts.test_video_vit import (
    GOLDEN,
    JEPA,
    TOLERANCE,
    _file,
    _files,
    _inner,
    _tiny,
)
from tools.importing.convert_checkpoint import joined
from utils.errors import CheckpointError

DOC = json.loads((GOLDEN / "vjepa2_1__depth12_probe4_16x96x160.json").read_text())
MORE = DOC["extra_outputs"]
BLOCKS = DOC["construction"]["out_layers"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[RawCheckpoint]:
    """An encoder of 2.1 and a probe as they are published."""
    return _files(DOC, tmp_path_factory.mktemp("vjepa2_1"))


def _network(file: RawCheckpoint, *, clip_len: int = 16, **changes: Any) -> Clip3D:
    """The network of a file, which reads otherwise than the file says where `changes` do; without its weights."""
    arguments = file.description.arguments
    kwargs = {**arguments["kwargs"], **changes}
    return Clip3D(backbone=file.description.backbone, **{**arguments, "clip_len": clip_len, "kwargs": kwargs}).eval()


def _difference(method: Clip3D, shape: list[int], wanted: list[list[float]]) -> float:
    """The largest difference of the scores from those wanted, as a share of their spread."""
    with torch.no_grad():
        scores = method(torch.from_numpy(fill.make_input(shape))).numpy()
    return float(np.abs(scores - np.array(wanted)).max() / np.std(wanted))


def test_an_encoder_and_its_probe_say_what_they_are_and_what_is_read(files: list[RawCheckpoint]) -> None:
    encoder, probe = files
    assert (encoder.layout, encoder.description.backbone) == ("V-JEPA 2", "vjepa2_1_b")
    assert probe.layout == "V-JEPA 2 probe"
    both = joined(encoder, probe).description
    assert both.arguments == {
        "num_class": 48,
        "clip_len": 128,
        "frame_stride": 2,
        "kwargs": {"embed_dim": 128, "num_heads": 2, "segments": 4, "read_blocks": BLOCKS},
    }
    assert "4 windows of 32 frames, 2 apart, are read together" in " ".join(both.notes)
    assert not [note for note in both.notes if note.startswith(("clip_len", "norms_block", "a probe without"))]
    found = sections(encoder.layout, both)
    assert found["augmentation"]["input_size"] == 384 and found["test"]["num_crops"] == 3


def test_an_encoder_and_its_probe_give_the_scores_of_their_authors_code(files: list[RawCheckpoint]) -> None:
    file = joined(*files)
    method = _network(file, segments=1, read_blocks=[])
    report = load_into(method, file, as_trained=False)
    assert not (report.missing or report.unexpected)
    (note,) = [note for note in report.notes if "network.norms." in note]
    assert note.startswith("network.norms.2.weight, network.norms.2.bias, network.norms.5.weight and 3 more: this netw")
    assert _difference(method, DOC["input"]["shape_NCTHW"], DOC["logits"]) < TOLERANCE
    assert _difference(method, MORE["second_size"]["shape_NCTHW"], MORE["second_size"]["values"]) < TOLERANCE
    assert {part.eps for part in method.modules() if isinstance(part, nn.LayerNorm)} == {1e-6, 1e-5}


def test_four_windows_are_read_behind_four_blocks_each_with_its_own_norm(files: list[RawCheckpoint]) -> None:
    file = joined(*files)
    method = _network(file)
    report = load_into(method, file, as_trained=False)
    assert not (report.missing or report.unexpected or "network.norms" in " ".join(report.notes))
    shape, values = (MORE["four_windows_four_blocks"][key] for key in ("shape_NCTHW", "values"))
    assert _difference(method, shape, values) < TOLERANCE
    for number in BLOCKS[:-1]:  # as in V-JEPA 2, whose blocks are all read behind the last norm
        method.network.norms[str(number)].load_state_dict(method.network.norm.state_dict())
    assert _difference(method, shape, values) > 0.1
    last = _network(file, read_blocks=[])
    load_into(last, file, as_trained=False)
    assert _difference(last, shape, MORE["four_windows_last_block"]["values"]) < TOLERANCE


def test_a_block_without_a_norm_in_the_file_is_an_error_by_name(files: list[RawCheckpoint], tmp_path: Path) -> None:
    file = joined(*files)
    with pytest.raises(
        CheckpointError, match=r"only the model has network\.norms\.4\.weight 128, network\.norms\.4\.bias"
    ):
        load_into(_network(file, read_blocks=[2, 4, 11]), file, as_trained=False)
    lost = {key: value for key, value in files[0].state.items() if not key.startswith("backbone.norms_block.1.")}
    damaged = joined(_file({"ema_encoder": lost}, tmp_path), files[1])
    with pytest.raises(CheckpointError, match=r"only the model has network\.norms\.5\.weight 128"):
        load_into(_network(file), damaged, as_trained=False)
    with torch.device("meta"):  # a training that begins from the encoder keeps its norms, too
        new = _network(file)
    assert {f"network.norms.{number}.weight" for number in BLOCKS[:-1]} <= {
        *load_into(new, files[0], new_head=True).matched
    }


def test_a_file_that_has_lost_its_last_norm_or_has_one_more_is_refused_by_name(
    files: list[RawCheckpoint], tmp_path: Path
) -> None:
    lost = {key: value for key, value in files[0].state.items() if not key.startswith("backbone.norms_block.3.")}
    more = {**files[0].state, "backbone.norms_block.4.weight": torch.ones(128)}
    with torch.device("meta"):
        plain = _network(joined(*files), segments=1, read_blocks=[])
    for state, message in (
        (lost, "the model has network.norm.weight 128"),
        (more, r"the file has .*norms_block.4.wei"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_into(plain, joined(_file({"ema_encoder": state}, tmp_path), files[1]), as_trained=False)


@pytest.mark.parametrize("blocks", [[], BLOCKS])
def test_a_frozen_encoder_has_the_norms_of_the_blocks_that_its_probe_reads(
    blocks: list[int], files: list[RawCheckpoint]
) -> None:
    kwargs = {"embed_dim": 128, "num_heads": 2, "pooling": "mean", "read_blocks": blocks}
    probe = Probe(backbone="vjepa2_1_b", num_class=3, clip_len=4, head="attentive", places=False, kwargs=kwargs)
    report = load_into(probe, files[0])
    assert not (report.missing or report.unexpected)
    found = probe.state_dict()
    for number in blocks[:-1]:
        key = f"network.norms.{number}.weight"
        assert torch.equal(found[f"backbone.{key}"], files[0].weights[key])
    assert bool(blocks) == ("network.norms" not in " ".join(report.notes))


def test_norms_behind_blocks_that_nobody_names_are_left_out_and_it_is_said(
    files: list[RawCheckpoint], tmp_path: Path
) -> None:
    shorter = {key: value for key, value in files[0].state.items() if not key.startswith("backbone.blocks.11.")}
    file = _file({"ema_encoder": shorter}, tmp_path)
    assert not [key for key in file.weights if key.startswith("network.norms.")]
    assert "norms_block: nobody says behind which of 11 blocks the first 3 are" in " ".join(file.description.notes)
    assert torch.equal(file.weights["network.norm.weight"], files[0].weights["network.norm.weight"])


def test_a_file_with_a_large_teacher_too_is_read_for_the_encoder_that_its_authors_take(tmp_path: Path) -> None:
    """The authors' loader takes ema_encoder of B and L, and target_encoder of g and G; where both are, it is said."""
    encoder, _ = names.vjepa2_parts(_inner(_tiny(JEPA)))
    others = {key: value + 1 for key, value in encoder.items()}
    file = _file({"encoder": others, "target_encoder": others, "ema_encoder": encoder}, tmp_path)
    assert torch.equal(file.state["backbone.norm.weight"], encoder["module.backbone.norm.weight"])
    said = "ema_encoder and target_encoder are in the file; ema_encoder is taken"
    assert said in file.description.notes
    assert said not in _file({"encoder": others, "target_encoder": encoder}, tmp_path).description.notes


ALL = ("b", "l", "g", "gigantic")
READ = {"b": [2, 5, 8, 11], "l": [5, 11, 17, 23], "g": [9, 19, 29, 39], "gigantic": [11, 23, 37, 47]}


@pytest.mark.parametrize("size", ALL)
@pytest.mark.parametrize(("classes", "windows"), [(174, 2), (48, 4), (27, 4), (400, 8), (180, 8)])
def test_probes_of_2_1_read_what_its_authors_configs_say(size: str, classes: int, windows: int) -> None:
    shape = VITS[f"vjepa2_1_{size}"].shape
    encoder = Description("clip3d", f"vjepa2_1_{size}", {"clip_len": 16, "frame_stride": 4}, ("clip_len",))
    probe = Description("clip3d", "vjepa2_l", {"num_class": classes})
    add_reading(probe, shape.width)
    found = with_probe(encoder, probe, shape.width).arguments
    dense = classes == 174 and size in ("g", "gigantic")
    frames, step = (64, 2) if dense else (32, 2) if classes in (48, 27) else (16, 4)
    assert (found["clip_len"], found["frame_stride"]) == (frames * windows, step)
    wanted = {"segments": windows} | ({"read_blocks": READ[size]} if classes in (48, 27) else {})
    assert found["kwargs"] == wanted
    assert shape.pool_heads == 16 and READ[size][-1] == shape.depth - 1 and shape.clip[1:] == (384, 384)


@pytest.mark.parametrize(("width", "backbone"), [(768, "vjepa2_1_b"), (1024, "vjepa2_l"), (1664, "vjepa2_1_gigantic")])
def test_a_probe_of_a_width_that_only_2_1_has_is_known_as_one(width: int, backbone: str, tmp_path: Path) -> None:
    state = {"pooler.query_tokens": torch.ones(1, 1, width), "linear.weight": torch.ones(48, width)}
    description = _file({"classifiers": [{**state, "linear.bias": torch.ones(48)}]}, tmp_path).description
    assert description.backbone == backbone
    assert description.arguments["kwargs"]["read_blocks"][-1] == VITS[backbone].shape.depth - 1


def test_a_probe_of_kinetics_reads_eight_windows_and_who_trains_with_transformers_has_one_read(tmp_path: Path) -> None:
    method = _tiny(JEPA)
    method.network.head = nn.Linear(24, 400)
    probe = _file({"classifiers": [names.vjepa2_parts(_inner(method))[1]]}, tmp_path)
    assert probe.description.arguments["kwargs"]["segments"] == 8
    assert probe.description.arguments["clip_len"] == 128
    whole = _file(names.hugging_face(_inner(method), family="vjepa2", five=False), tmp_path)
    assert "segments" not in whole.description.arguments["kwargs"]
