from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.requirements import needs_package
from tests.helpers.run_tool import run_tool
from tests.helpers.trained import (
    CLASSES,
    CLIP,
    PROBE,
    PROBE_OF_CLIPS,
    SLOWFAST,
    TSN,
    UNI,
    UNI_ACTION,
    UNI_GSF,
    UNI_TAM,
    write_checkpoint,
)
from tests.helpers.transformers import ADAPTED, VIDEO
from tools import export
from tools.exporting.export import FORMATS, METADATA_ENTRY, Exportable, clip_network, exports_onnx, trace
from tools.exporting.export import export as export_file
from tools.exporting.random_weights import stir
from tools.inference import load
from utils.errors import ConfigError, UserError

FAMILIES = {"tsn": TSN, "tsm": UNI | {"shift": "bi"}, "uni": UNI, "clip3d": CLIP, "slowfast": SLOWFAST}
FAMILIES |= {"probe": PROBE_OF_CLIPS, "attentive": PROBE_OF_CLIPS | {"head": "attentive", "depth": 1}}
FAMILIES |= {"attentive to frames": PROBE | {"head": "attentive", "depth": 1}}
TRANSFORMERS = VIDEO | ADAPTED
needs_onnx = [needs_package(package) for package in ("onnx", "onnxscript", "onnxruntime")]


old_torch = pytest.mark.skipif(not exports_onnx(), reason="this torch is too old to export to ONNX")


def with_onnx(function: Any) -> Any:
    for mark in [*needs_onnx, old_torch]:
        function = mark(function)
    return function


@pytest.mark.whole
def test_an_old_torch_is_told_that_it_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    ckpt = write_checkpoint(tmp_path, TSN)
    with pytest.raises(UserError, match=r"ONNX export needs torch 2\.9 or newer, this is 2\.6\.0"):
        export.main([str(ckpt), str(tmp_path / "model.onnx")])
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.long  # test_reading.py exports one to ONNX, and a test below one to PyTorch
@with_onnx
@pytest.mark.parametrize(
    "family", [*FAMILIES, *(pytest.param(name, marks=needs_package("timm")) for name in TRANSFORMERS)]
)
def test_both_formats_agree_with_pytorch(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ckpt = write_checkpoint(tmp_path, (FAMILIES | TRANSFORMERS)[family], class_names=CLASSES)
    onnx, pt2 = tmp_path / "model.onnx", tmp_path / "model.pt2"
    assert export.main([str(ckpt), str(onnx), str(pt2)]) == 0
    assert capsys.readouterr().out.count("largest difference from PyTorch") == 2
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == "clips" and given.shape[0] == "batch"
    recognizer = load(ckpt, device="cpu")
    clips = torch.randn(5, *given.shape[1:], generator=torch.Generator().manual_seed(1))
    expected = recognizer.method(clips).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(session.run(["logits"], {"clips": clips.numpy()})[0], expected, atol=1e-4 * scale)
    extra = {METADATA_ENTRY: ""}
    program = torch.export.load(pt2, extra_files=extra)
    np.testing.assert_allclose(program.module()(clips).detach(), expected, atol=1e-4 * scale)
    for metadata in (session.get_modelmeta().custom_metadata_map, json.loads(extra[METADATA_ENTRY])):
        assert json.loads(metadata["class_names"]) == CLASSES
        told = json.loads(metadata["preprocessing"])
        assert {key: told[key] for key in recognizer.protocol.as_dict()} == recognizer.protocol.as_dict()


@pytest.mark.long
@with_onnx
@pytest.mark.parametrize("model", [UNI, UNI_TAM, UNI_GSF, UNI_ACTION], ids=["tsm", "tam", "gsf", "action"])
def test_the_streaming_step_carries_its_state(model: dict[str, Any], tmp_path: Path) -> None:
    ckpt, out = write_checkpoint(tmp_path, model), tmp_path / "step.onnx"
    assert export.main([str(ckpt), str(out), "--streaming"]) == 0
    import onnxruntime

    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    states = json.loads(session.get_modelmeta().custom_metadata_map["states"])
    clips = torch.randn(2, 3, 6, 32, 32)
    fed = {name: np.zeros((2, *state["shape"]), np.float32) for name, state in states.items()}
    names = ["logits", *(state["next"] for state in states.values())]
    logits = []
    for frame in clips.unbind(2):
        answer, *following = session.run(names, {"frame": frame.numpy()} | fed)
        logits.append(answer)
        fed = dict(zip(states, following, strict=True))
    offline = load(ckpt, device="cpu").method(clips).numpy()
    np.testing.assert_allclose(np.mean(logits, axis=0), offline, atol=1e-4 * np.abs(offline).max())


@pytest.mark.long
@pytest.mark.whole
def test_a_file_that_differs_is_not_written(tmp_path: Path) -> None:
    ckpt, out = write_checkpoint(tmp_path), tmp_path / "model.pt2"
    out.write_text("before")
    network = clip_network(load(ckpt, device="cpu"))
    program = trace(network)
    assert network.check(lambda inputs: [program.module()(*inputs)]) < 1e-6
    assert network.check(lambda inputs: [program.module()(*inputs) + 1]) > 1e-3
    assert network.check(lambda inputs: [program.module()(*inputs) * float("nan")]) == float("inf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.exporting.export.Exportable.check", lambda self, run: 1e-3)
        with pytest.raises(UserError, match="not written, it differs from PyTorch"):
            export.main([str(ckpt), str(out)])
    assert out.read_text() == "before"


@pytest.mark.whole
def test_mistakes_are_one_line(tmp_path: Path) -> None:
    ckpt = write_checkpoint(tmp_path)
    with pytest.raises(UserError, match="has to end in"):
        export.main([str(ckpt), str(tmp_path / "model.trt")])
    with pytest.raises(ConfigError, match="only `shift: uni` can run frame by frame"):
        export.main([str(ckpt), str(tmp_path / "model.pt2"), "--streaming"])
    both = write_checkpoint(tmp_path / "bi", UNI | {"shift": "bi"})
    with pytest.raises(ConfigError, match="only `shift: uni` can run frame by frame"):
        export.main([str(both), str(tmp_path / "model.pt2"), "--streaming"])
    with pytest.raises(UserError, match="cannot be written"):
        export.main([str(ckpt), str(tmp_path / "none" / "model.pt2")])


class Amplifier(nn.Module):
    """Answers what float32 has rounded."""

    def forward(self, clips: Tensor) -> Tensor:
        return (clips + 1e6) - 1e6


def test_a_network_that_amplifies_rounding_is_told_from_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = torch.linspace(0, 1, 7)[None]
    monkeypatch.setitem(FORMATS, ".pt2", lambda program, network: (b"", lambda given: [network.module(*given) + 1]))
    for module, rounds in ((Amplifier(), True), (nn.Flatten(), False)):
        network = Exportable(module, ("clips",), ("logits",), lambda batch: (clips.repeat(batch, 1),), 1, {})
        with pytest.raises(UserError, match=r"not written, it differs from PyTorch by 1\.0e\+00 > 1e-04") as error:
            export_file(network, None, tmp_path / "model.pt2", 1e-4)
        assert ("these weights amplify rounding: PyTorch's own answers" in str(error.value)) is rounds


def test_weights_that_are_stirred_leave_wide_gates_half_open() -> None:
    torch.manual_seed(0)
    for inputs in (4, 4096):
        gate = nn.Linear(inputs, 64)
        nn.init.zeros_(gate.weight)
        nn.init.zeros_(gate.bias)
        stir(gate)
        opened = gate(torch.rand(8, inputs)).detach().tanh().abs()
        assert 0.005 < float(opened.mean()) < 0.5 and float(opened.max()) < 0.9


def test_a_file_that_is_not_there_is_one_line_from_any_folder(tmp_path: Path) -> None:
    done = run_tool("export", tmp_path / "none.pth", "a.pt2", cwd=tmp_path, code=2)
    assert done.stderr == f"error: {tmp_path / 'none.pth'}: no such checkpoint\n"
