"""Loading cannot lie, for the published files of tests/golden: each change of one is refused, or told, or harmless.

`make test` takes the changes that conversions could hide, which join tensors or compute with them, `make soak` all.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.base import Method
from methods.build import build_method
from networks.checkpoints import file as checkpoint_files
from networks.checkpoints.load import LoadReport, RawCheckpoint, load_checkpoint_file, load_into
from tests.golden import fill
from tests.helpers.requirements import ROOT
from tests.networks.checkpoints import test_mutations as ways
from tests.networks.checkpoints.layouts.official_names import wrapped
from utils.config.sections import Model
from utils.errors import CheckpointError

State = dict[str, Tensor]
GOLDEN = ROOT / "tests" / "golden" / "models"
DOCS = {path.stem: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))}
PARTS = ("pytorchvideo__builders", "pytorchvideo__parts")  # numbers of functions, and of a head alone
NAMES = [name for name in DOCS if name not in PARTS and not name.endswith("_image") and not name.startswith("vjepa2")]
CHANGES = 200  # of each file


class Published:
    """A published file, and the network on the meta device that it shows."""

    def __init__(self, name: str, state: State, path: Path) -> None:
        self.state, self.path = state, path
        self.names = DOCS[name]["file"]["state_dict_path"]
        path.touch()
        file, self.method = self._read(state)
        self.report = load_into(self.method, file)
        self.warnings = {*self.report.warnings}
        assert any("nothing tells whether these" in text for text in self.warnings)  # nobody has noted its sum
        self.weights = {key: file.weights[key] for key in self.report.matched}

    def _read(self, state: State) -> tuple[RawCheckpoint, Method]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint_files, "_read", lambda *_, **__: wrapped(self.names, state))
            file = load_checkpoint_file(self.path)
        return file, getattr(self, "method", None) or _network(file)

    def is_silent(self, state: State) -> bool:
        """Whether other contents give other weights without a word."""
        try:
            file, method = self._read(state)
            report: LoadReport = load_into(method, file)
        except CheckpointError as error:
            assert str(error).startswith(str(self.path)) and "\n" not in str(error)
            return False
        told = bool({*report.warnings} - self.warnings)
        return not told and not all(_same(file.weights.get(key), value) for key, value in self.weights.items())


def _network(file: RawCheckpoint) -> Method:
    found = file.description
    known: dict[str, Any] = {"type": found.method, "backbone": found.backbone, "num_class": 1} | found.arguments
    with torch.device("meta"):
        return build_method(Model.model_validate(known))


def _same(one: Tensor | None, other: Tensor) -> bool:
    if not other.is_floating_point():  # a counter
        return True
    return one is not None and one.shape == other.shape and torch.equal(one.to(other.dtype), other)


@cache
def _shapes(name: str) -> list[tuple[str, list[int]]]:
    return [(key, shape) for key, shape, *_ in DOCS[name]["state_entries"]]


class Hidden(NamedTuple):
    """A change that a conversion could hide."""

    name: str
    way: ways.Way
    key: str


@pytest.mark.whole
@pytest.mark.parametrize(
    "change",
    [
        Hidden("pytorchvideo__mvit_base_16x4", ways._zero, "blocks.7.attn.k.weight"),  # q, k and v become one
        Hidden("pytorchvideo__mvit_base_16x4", ways._half, "blocks.2.attn.v.bias"),
        Hidden("pyslowfast__mvitv2_s_16x4", ways._integers, "blocks.0.attn.rel_pos_h"),
        Hidden("tdn__resnet50_seg8", ways._remove, "base_model.resnext_layer1.1.conv1.bias"),  # goes into a mean
        Hidden("tdn__resnet50_seg8", ways._half, "base_model.layer4_bak.0.conv2.bias"),
        Hidden("trn_pytorch__resnet50_trnmultiscale_seg8", ways._half, "consensus.fc_fusion_scales.3.3.weight"),
    ],
    ids=lambda change: f"{change.name} {change.way.__name__}",
)
def test_what_a_conversion_could_hide_is_refused_or_told(change: Hidden, tmp_path: Path) -> None:
    numbers = torch.rand(1) + 0.5  # one number for all, which takes no memory
    state = {key: numbers.expand(shape) if shape else torch.tensor(5) for key, shape in _shapes(change.name)}
    published = Published(change.name, state, tmp_path / "x.pth")
    assert not published.is_silent(dict(state))
    changed = dict(state)
    change.way(changed, change.key)
    assert not published.is_silent(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_change_of_a_published_file_is_refused_or_told(name: str, tmp_path: Path) -> None:
    filled = fill.fill_state(_shapes(name), **DOCS[name]["fill"])
    state = {key: torch.from_numpy(np.asarray(value)) for key, value in filled.items()}
    published = Published(name, state, tmp_path / "x.pth")
    every = [
        (way, key)
        for way in ways.WAYS
        for key in state
        if state[key].is_floating_point() or (way in (ways._remove, ways._add) and not key.endswith("_tracked"))
    ]
    rng = np.random.default_rng(ways.SEED)
    for place in rng.permutation(len(every))[:CHANGES]:
        way, key = every[place]
        changed = dict(state)
        way(changed, key)
        if published.is_silent(changed):
            assert ways._only_a_sum_can_tell(way, state[key], changed.get(key)), (
                f"{name}: {way.__name__} {key} gives other weights without a word"
            )
