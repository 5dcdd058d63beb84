"""Tables of places for clips of another length or size, in all networks that have such tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.clip3d import Clip3D
from methods.probe import Probe
from networks.checkpoints.load import load_checkpoint_file, load_into
from networks.clip.fit_tables import HasTables, Places, _resized
from tests.helpers.transformers import VIDEO


def _method(name: str, *, frames: int = 4, side: int = 32) -> Any:
    torch.manual_seed(0)
    model = VIDEO[name]
    return Clip3D(
        backbone=model["backbone"], num_class=3, clip_len=frames, kwargs=model["kwargs"] | {"spatial_size": side}
    )


def _saved(method: Clip3D, folder: Path) -> Path:
    torch.save({"state_dict": method.state_dict()}, folder / "file.pth")
    return folder / "file.pth"


@pytest.mark.parametrize(
    ("name", "frames", "side", "changed"),
    [
        ("hiera", 8, 64, {"pos_embed_spatial", "pos_embed_temporal"}),
        ("hiera", 4, 96, {"pos_embed_spatial"}),
        ("uniformerv2", 8, 64, {"positional_embedding"}),
        ("vivit", 8, 32, {"pos_embed"}),
        ("timesformer", 8, 64, {"pos_embed", "time_embed"}),
    ],
)
def test_every_table_of_another_size_is_interpolated_and_it_is_said(
    name: str, frames: int, side: int, changed: set[str], tmp_path: Path
) -> None:
    old, new = _method(name), _method(name, frames=frames, side=side)
    file = load_checkpoint_file(_saved(old, tmp_path))
    report = load_into(new, file, as_trained=False)
    told = {
        text.partition(".weight:")[0].removeprefix("network.") for text in report.warnings if "interpolated" in text
    }
    assert told == changed and not report.missing
    for table, places in new.network.tables().items():
        before, after = (net.network.get_parameter(f"{table}.weight") for net in (old, new))
        assert torch.equal(before[: places.first], after[: places.first])
        means = (part[places.first :].mean(0) for part in (before, after))
        torch.testing.assert_close(*means, atol=0.02, rtol=0)
    assert new.eval()(torch.randn(1, 3, frames, side, side)).shape == (1, 3)


def test_a_probe_of_such_a_network_takes_the_file_too(tmp_path: Path) -> None:
    file = load_checkpoint_file(_saved(_method("hiera"), tmp_path))
    model = VIDEO["hiera"]
    probe = Probe(backbone=model["backbone"], num_class=2, clip_len=8, kwargs=model["kwargs"] | {"spatial_size": 64})
    report = load_into(probe, file, as_trained=False)
    assert sum("interpolated" in text for text in report.warnings) == 2


def _ramp(moments: int, side: int) -> Tensor:
    """A table whose three channels are time, row and column, from 0 to 1 between the borders."""
    axes = [(torch.arange(count) + 0.5) / count for count in (moments, side, side)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)


@pytest.mark.parametrize("way", ["smooth", "nearest"])
def test_what_grows_evenly_still_does_and_each_axis_stays_its_own(way: Any) -> None:
    found = _resized(_ramp(4, 8), Places((8, 16, 16), way=way), frames=4)
    assert found is not None
    inside = (slice(2, -2), slice(4, -4), slice(4, -4))
    error = (found - _ramp(8, 16)).abs().unflatten(0, (8, 16, 16))[inside].max()
    assert error < (0.01 if way == "smooth" else 0.08)


def test_a_table_of_the_same_moments_keeps_every_one_and_one_of_no_square_is_left_alone() -> None:
    table = torch.randn(4 * 4, 3)
    grown = _resized(table, Places((4, 4, 4)), frames=4)
    assert grown is not None
    torch.testing.assert_close(grown.unflatten(0, (4, 16)).mean(1), table.unflatten(0, (4, 4)).mean(1))
    assert _resized(torch.randn(8, 3), Places((1, 4, 4))) is None
    assert not isinstance(_method_without_tables(), HasTables)


def _method_without_tables() -> Any:
    return Clip3D(backbone="mc3_18", num_class=3, clip_len=4).network


def test_a_table_without_a_place_is_left_alone() -> None:
    for grid in ((8, 1, 1), (8, 7, 7)):
        assert _resized(torch.zeros(0, 3), Places(grid, unit=(1, 16, 16))) is None
