"""A file whose biases are zero, gone or renamed is refused by name, whoever wrote it and whatever network it is of."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from networks.checkpoints import file as checkpoint_files
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.checkpoints.trust import refuse_lost_biases
from tests.networks.checkpoints.layouts import official_names_vit as names
from tests.networks.checkpoints.layouts.test_hiera_uniformer import _authors, _official
from tests.networks.checkpoints.layouts.test_transformers import _mvit_names, _swin_names
from tests.networks.checkpoints.layouts.test_video_vit import JEPA, SPELLINGS, _inner, _tiny
from utils.errors import CheckpointError

State = dict[str, Tensor]
PATH = Path("x.pth")


def _filled(backbone: str, **kwargs: Any) -> State:
    """A network without a zero, under our names."""
    with torch.device("meta"):
        made = Clip3D(backbone=backbone, num_class=5, clip_len=4, kwargs=kwargs)
    return {key: torch.full(value.shape, 0.5) for key, value in _official(made).items()}


def _of_mmaction2(state: State) -> State:
    return {f"cls_head.fc_cls.{k[5:]}" if k.startswith("head.") else f"backbone.{k}": v for k, v in state.items()}


def _encoder(second: bool = False) -> State:
    found = {key.removeprefix("module."): value for key, value in names.vjepa2_parts(_inner(_tiny(JEPA)))[0].items()}
    if second:
        norm = {part: found.pop(f"backbone.norm.{part}") for part in ("weight", "bias")}
        found |= {f"backbone.norms_block.{number}.{part}": value for number in range(2) for part, value in norm.items()}
    return found


def _spelled(name: str) -> State:
    network, rename = SPELLINGS[name]
    found = rename(_inner(_tiny(network)))
    inner = next((value for value in found.values() if isinstance(value, dict)), found)
    return {key.removeprefix("model."): value for key, value in inner.items()}


HIERA = {"depths": [1, 1, 2, 1], "spatial_size": 32}
FIRST = {"widths": [32, 64, 128, 192], "depths": [1, 1, 2, 1]}
SECOND = {"depth": 2, "reads": [0, 1], "spatial_size": 32, "local": True}
FILES: dict[str, Callable[[], State]] = {
    **{name: lambda name=name: _spelled(name) for name in SPELLINGS},
    "V-JEPA 2": _encoder,
    "V-JEPA 2 without prefix": lambda: {key.removeprefix("backbone."): value for key, value in _encoder().items()},
    "V-JEPA 2.1": lambda: _encoder(second=True),
    "VideoMAE, pre-training": lambda: names.videomae_pretraining(_inner(_tiny(SPELLINGS["VideoMAE"][0]))),
    "Hiera": lambda: _filled("hiera_tiny", **HIERA),
    "UniFormer": lambda: _filled("uniformer_s", **FIRST),
    "UniFormer of mmaction2": lambda: _of_mmaction2(_filled("uniformer_s", **FIRST)),
    "UniFormerV2": lambda: _authors(_of_mmaction2(_filled("uniformerv2_b", **SECOND))),
    "UniFormerV2 of mmaction2": lambda: _of_mmaction2(_filled("uniformerv2_b", **SECOND)),
}
LEFT_OUT = re.compile(r"decoder\..*|encoder\.norm\..*|.*norms_block\.0\..*")  # what no network here has
PROJECTIONS = ("qkv.bias", "qkv_bias", "in_proj.bias", "in_proj_bias")


def _kinds(state: State) -> list[list[str]]:
    """The names of each kind of bias: that of one layer, in all blocks."""
    found: dict[str, list[str]] = {}
    for key in state:
        if key.endswith("bias") and not LEFT_OUT.fullmatch(key):
            found.setdefault(re.sub(r"\.\d+\.", ".N.", key, count=1), []).append(key)
    return [*found.values()]


def _refused(state: State, monkeypatch: pytest.MonkeyPatch, method: Clip3D | None = None) -> str:
    """Why a file is refused, when it is read or when it is loaded; "" if it is not."""
    monkeypatch.setattr(checkpoint_files, "_read", lambda *_, **__: state)
    try:
        file = load_checkpoint_file(PATH)
        if method is not None:
            load_into(method, file, new_head=True)
    except CheckpointError as error:
        assert str(error).startswith(f"{PATH}: ") and "\n" not in str(error)
        return str(error)
    return ""


@pytest.fixture(autouse=True)
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    PATH.touch()


@pytest.mark.whole
@pytest.mark.parametrize("name", FILES)
def test_a_kind_of_bias_that_is_zero_in_all_blocks_is_refused_by_the_files_own_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = FILES[name]()
    assert not _refused(state, monkeypatch)
    turned = name.startswith(("V-JEPA", "vjepa2"))
    for keys in _kinds(state):
        letter = re.search(r"\.(q|k|v|kv|query|key|value)(_proj)?[._]bias$", keys[0])
        if len(keys) == 1 and letter is None:  # a classifier's, or that of the patches
            continue
        zero = {key: torch.zeros_like(state[key]) for key in keys}
        said = _refused(state | zero, monkeypatch)
        if letter is not None and letter[1] in ("k", "key") and (not turned or "pooler" in keys[0]):
            assert not said  # without rotation it changes nothing
            continue
        assert f"{keys[0]}: zero " in said or f"{keys[0]} (" in said, (keys[0], said)
        some = {keys[0]: zero[keys[0]]}
        assert len(keys) == 1 or not _refused(state | some, monkeypatch)  # one of many may be zero
        if not keys[0].endswith(PROJECTIONS):
            continue
        for place, letter in enumerate("qkv"):
            third = {key: state[key].clone() for key in keys}
            for value in third.values():
                value.tensor_split(3)[place].zero_()
            said = _refused(state | third, monkeypatch)
            assert said.startswith(f"{PATH}: ") == (letter != "k" or turned), (keys[0], letter, said)
            assert not said or f"{keys[0]} ({letter} in it): zero in all" in said


@pytest.mark.whole
@pytest.mark.parametrize("name", FILES)
def test_a_bias_that_is_gone_or_has_another_name_is_refused_by_name_also_where_training_starts_from_the_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = FILES[name]()
    monkeypatch.setattr(checkpoint_files, "_read", lambda *_, **__: state)
    found = load_checkpoint_file(PATH).description
    with torch.device("meta"):
        method = Clip3D(backbone=found.backbone, **{"num_class": 5, **found.arguments})
    assert not _refused(state, monkeypatch, method)
    heads = ("head.", "classifier.", "cls_head.", "backbone.transformer.proj.2")
    for keys in _kinds(state):
        if keys[0].startswith(heads):
            continue
        gone = {key: value for key, value in state.items() if key not in keys}
        renamed = gone | {f"{key.removesuffix('bias')}offset": state[key] for key in keys}
        for changed in (gone, renamed):
            assert "bias" in _refused(changed, monkeypatch, method), (keys[0], len(changed))


@pytest.mark.parametrize(
    ("zeroed", "learned", "said"),
    [
        ("blocks.*.attn.qkv.bias", "", None),  # another kind of project
        ("decoder.blocks.*.attn.qkv.bias", "qv", None),
        ("head.bias", "qv", None),
        ("pooler.cross_attention_layer.cross_attn.v_proj.bias", "qv", "cross_attn.v_proj.bias: zero throughout"),
        ("pooler.cross_attention_block.xattn.kv.bias", "qv", r"xattn\.kv\.bias \(v in it\): zero throughout"),
        ("transformer.resblocks.*.attn.in_proj_bias", "qv", r"0\.attn\.in_proj_bias \(q in it\): zero in all 3 blocks"),
        ("transformer.resblocks.*.S_Adapter.D_fc2.bias", "qv", r"0\.S_Adapter\.D_fc2\.bias: zero in all 3 blocks"),
    ],
)
def test_biases_are_lost_where_training_would_have_moved_them(zeroed: str, learned: str, said: str | None) -> None:
    keys = [zeroed.replace("*", str(block)) for block in range(3)] if "*" in zeroed else [zeroed]
    state = {key: torch.zeros(6) for key in keys}
    if said is None:
        refuse_lost_biases(state, learned)
    else:
        with pytest.raises(CheckpointError, match=said):
            refuse_lost_biases(state, learned)


@pytest.mark.parametrize("project", ["pytorchvideo", "pyslowfast", "mmaction2", "swin"])
def test_transformers_that_pool_or_shift_their_windows_are_looked_at_too(
    project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        made = Clip3D(backbone="swin3d_t" if project == "swin" else "mvit_v2_s", num_class=4)
    inner = {key.removeprefix("network."): torch.full(value.shape, 0.5) for key, value in made.state_dict().items()}
    state = _swin_names(inner, "authors") if project == "swin" else _mvit_names(inner, project)
    assert not _refused(state, monkeypatch)
    keys = [key for key in state if re.search(r"\.(v|qkv)\.bias$", key)]
    assert keys[0] in _refused(state | {key: torch.zeros_like(state[key]) for key in keys}, monkeypatch)
