"""tools/weights.py: lists, shows and gets published weights by their names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from tests.helpers.file_server import serving
from tests.helpers.run_tool import run_tool
from utils.published import download

NAME = "kinetics400/r3d_18_torchvision"


def test_a_list_has_a_line_for_each_name_and_counts_them() -> None:
    out, err = run_tool("weights", "tsm_r50_8f", "--dataset", "kinetics400", "--licence", "mit")
    assert [line.split()[0] for line in out.splitlines()] == [
        f"kinetics400/tsm_r50_8f_{end}" for end in ("dense_mit", "flow_mit", "mit")
    ]
    assert "72.8 top-1" in out and out.count("MIT") == 3 and err == "3 found: kinetics400 3\n"
    out, err = run_tool("weights", "no-such-thing")
    assert not out and err.startswith("0 found; there are kinetics400 ") and "something_something_v2" in err


def test_what_a_licence_forbids_is_part_of_every_list() -> None:
    assert "CC-BY-NC-4.0 (not for commercial use)" in run_tool("weights", "videomae", "--all").stdout
    assert "not for" not in run_tool("weights", "--all", "--licence", "commercial").stdout


def test_show_prints_scores_with_their_protocol() -> None:
    out = run_tool("weights", "show", "kinetics400/tsm_r50_8f_mmaction2").stdout
    for words in ("73.18 top-1, 90.56 top-5; 8 frames x 1 clip x 10 crops of 224", "begins with 64d69186",
                  "exps/kinetics400/tsm_r50_8f_mmaction2 (published)", "Apache-2.0"):  # fmt: skip
        assert words in out
    assert (
        "no network here can be filled from it yet"
        in run_tool("weights", "show", "kinetics400/uniformer_xs_32f_192_sensex").stdout
    )


def test_get_prints_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights" * 1000
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(download, "_check", lambda url, part, sha256: None)  # these are not torchvision's weights
    with serving() as server:
        server.files["/download.pytorch.org/models/r3d_18-b3b3357e.pth"] = content
        monkeypatch.setenv("WEIGHTS_MIRROR", server.address)
        out, err = run_tool("weights", "get", NAME)
    assert Path(out.strip()) == tmp_path / "hub/checkpoints/r3d_18-b3b3357e.pth"
    assert Path(out.strip()).read_bytes() == content
    assert f"{NAME}: downloading https://download.pytorch.org/models/r3d_18-b3b3357e.pth, about 133.5 MB" in err


def test_the_noted_sum_of_a_download_without_a_published_one_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"weights" * 1000
    name, url = "kinetics400/slowfast_r50_8x8_pytorchvideo", "dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    assert "not published; that of a download is noted" in run_tool("weights", "show", name).stdout
    with serving() as server:
        server.files[f"/{url}/SLOWFAST_8x8_R50.pyth"] = content
        monkeypatch.setenv("WEIGHTS_MIRROR", server.address)
        run_tool("weights", "get", name)
    shown = f"begins with {hashlib.sha256(content).hexdigest()[:8]}, as SLOWFAST_8x8_R50.pyth.sha256 says"
    assert shown in run_tool("weights", "show", name).stdout


def test_a_wrong_file_is_named_and_kept_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights" * 1000
    digits = hashlib.sha256(content).hexdigest()[:8]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with serving() as server:
        server.files["/download.pytorch.org/models/r3d_18-b3b3357e.pth"] = content
        monkeypatch.setenv("WEIGHTS_MIRROR", server.address)
        out, err = run_tool("weights", "get", NAME, code=2)
    folder = tmp_path / "hub/checkpoints"
    last = err.splitlines()[-1]
    assert out == "" and last.startswith(
        f"error: {server.address}/download.pytorch.org/models/r3d_18-b3b3357e.pth: is not the"
    )
    assert f"{folder}/r3d_18-b3b3357e.pth.wrong-{digits}; or put the file here as pretrained/r3d_18-" in last
    assert {path.name for path in folder.iterdir() if not path.name.endswith(".lock")} == {
        f"r3d_18-b3b3357e.pth.wrong-{digits}"
    }


def test_mistakes_end_in_one_line_before_anything_is_fetched() -> None:
    assert "show: name the weights, for example" in run_tool("weights", "show", code=2).stderr
    err = run_tool("weights", "get", NAME, "kinetics400/r3d_81_torchvision", code=2).stderr
    assert "the nearest are" in err and NAME in err and "downloading" not in err


def test_without_a_network_get_says_where_to_put_the_file() -> None:
    last = run_tool("weights", "get", NAME, code=2).stderr.splitlines()[-1]
    assert last.startswith("error: https://download.pytorch.org/models/r3d_18-b3b3357e.pth: cannot be reached (")
    assert last.endswith("; or put the file here as pretrained/r3d_18-b3b3357e.pth")
