"""Files of any project: read without running code, and distinguished from files that are no checkpoints."""

from __future__ import annotations

import argparse
import math
import os
import pickle
import sys
import tracemalloc
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import resnet18

from methods.tsn import TSN
from networks.checkpoints.load import load_checkpoint_file, load_into
from tests.helpers.requirements import needs_package
from utils.errors import CheckpointError


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such checkpoint"):
        load_checkpoint_file(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint_file(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_damaged(zipped: bool, tmp_path: Path) -> None:
    torch.save(
        TSN(backbone="resnet18", num_class=5).state_dict(), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped
    )
    whole = (tmp_path / "x.pth").read_bytes()
    for share in (0.001, 0.3, 0.9, 0.9999):
        (tmp_path / "x.pth").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointError, match=r"x\.pth: (damaged|is neither a file of torch\.save)") as error:
            load_checkpoint_file(tmp_path / "x.pth")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_is_refused_in_one_line_wherever_it_is_cut_off(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a.weight": torch.zeros(3, 2)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 + 6 * zipped):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"x\.pth: [^\n]+\Z"):
            load_checkpoint_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", "it begins with b'<!DOCTYPE"),
        (b"common:\n    model: 1\n", "is neither a file of torch.save"),
        (pickle.dumps([1, 2]), "holds a list, not weights by name"),
        (pickle.dumps({"epoch": 3}), "no weights in it; its entries are epoch"),
        (
            pickle.dumps({"odd.weight": np.zeros(2)}),
            r"keys like odd\.weight belong to no project known here \(.*this project,",
        ),
    ],
)
def test_other_files_are_distinguished_from_checkpoints(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint_file(tmp_path / "x.pth")


class _Runs:
    """What a hostile file would hold: loading it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def _hostile(kind: str, folder: Path) -> Path:
    path, contents = (
        folder / "x.pth",
        {"state_dict": TSN(backbone="resnet18", num_class=5).state_dict(), "extra": _Runs(folder / "ran")},
    )
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.zeros(3)}, "extra": _Runs(folder / "ran")}))
    elif kind == "objects":
        path.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.array([_Runs(folder / "ran")], dtype=object)}}))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "objects"])
def test_a_file_that_would_run_code_is_refused_with_the_reason_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    path = _hostile(kind, tmp_path)
    with pytest.raises(CheckpointError, match=r"holds \S+, which plain weights do not need.*--trust-pickle"):
        load_checkpoint_file(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_trusted_file_is_read_all_the_same(kind: str, tmp_path: Path) -> None:
    load_into(TSN(backbone="resnet18", num_class=5), _hostile(kind, tmp_path), trust_pickle=True)
    assert (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_read_when_trusted(tmp_path: Path) -> None:
    image = resnet18()
    torch.save(image, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="trust-pickle"):
        load_checkpoint_file(tmp_path / "x.pth")
    method = TSN(backbone="resnet18", num_class=5)
    load_into(method, tmp_path / "x.pth", trust_pickle=True)
    assert torch.equal(method.state_dict()["backbone.conv1.weight"], image.conv1.weight)


def test_the_options_that_torchvisions_scripts_store_need_no_trust(tmp_path: Path) -> None:
    contents = {"model": resnet18().state_dict(), "args": argparse.Namespace(lr=0.1), "epoch": 4}
    torch.save(contents, tmp_path / "checkpoint.pth")
    file = load_checkpoint_file(tmp_path / "checkpoint.pth")
    assert file.description.backbone == "resnet18" and file.others["epoch"] == 4


def test_the_training_curves_that_mmengine_stores_need_neither_trust_nor_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of mmaction2 1.x holds such curves under `message_hub`."""

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history, self._count_history = np.ones(3), np.arange(3)
            self.smallest = self.min  # a bound method, which pickles by getattr

        def min(self) -> float: ...

    name = "mmengine.logging.history_buffer"
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = name, "HistoryBuffer"
    for package in ("mmengine", "mmengine.logging", name):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setattr(sys.modules[name], "HistoryBuffer", HistoryBuffer, raising=False)
    contents = {
        "meta": {"epoch": 3},
        "state_dict": resnet18().state_dict(),
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"best": np.float32(0.5)}},
    }
    torch.save(contents, tmp_path / "epoch_3.pth")
    for package in ("mmengine", "mmengine.logging", name):
        monkeypatch.delitem(sys.modules, package)
    file = load_checkpoint_file(tmp_path / "epoch_3.pth")
    assert file.description.backbone == "resnet18" and file.others["message_hub"]["runtime_info"] == {"best": 0.5}
    assert not vars(file.others["message_hub"]["log_scalars"]["train/loss"])


def test_a_function_that_a_file_asks_getattr_for_is_never_looked_up(tmp_path: Path) -> None:
    class Asks:
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr, (argparse.Namespace, "__init__")

    torch.save({"state_dict": resnet18().state_dict(), "extra": Asks()}, tmp_path / "x.pth")
    assert not callable(load_checkpoint_file(tmp_path / "x.pth").others["extra"])


@needs_package("safetensors", "pip install timm")
def test_safetensors_are_read_though_their_entries_stand_by_alphabet(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    image = resnet18()
    save_file(image.state_dict(), tmp_path / "model.safetensors")
    method = TSN(backbone="resnet18", num_class=5)
    load_into(method, tmp_path / "model.safetensors")
    assert torch.equal(method.state_dict()["backbone.layer4.1.conv2.weight"], image.layer4[1].conv2.weight)
    whole = (tmp_path / "model.safetensors").read_bytes()
    for size in (9, 1000, len(whole) - 10):
        (tmp_path / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"safetensors: damaged"):
            load_into(method, tmp_path / "model.safetensors")


@pytest.mark.filterwarnings("ignore:.torch.jit")  # deprecated, and still in use
def test_the_tensors_of_a_torchscript_archive_are_read_without_its_program(tmp_path: Path) -> None:
    net = resnet18()
    torch.jit.save(torch.jit.trace(net.eval(), torch.zeros(1, 3, 32, 32)), tmp_path / "x.pt")
    found = load_checkpoint_file(tmp_path / "x.pt")
    assert found.state.keys() == net.state_dict().keys()
    assert all(torch.equal(found.state[key], value) for key, value in net.state_dict().items())
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        records = {name: archive.read(name) for name in archive.namelist() if "/data/" not in name}
    for change, reason in ((b"cos\nsystem\n(S'touch x'\ntR.", "os.system, which plain weights"), (b"\x80", "damaged")):
        with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
            for name, data in records.items():
                archive.writestr(name, change if name.endswith("data.pkl") else data)
        with pytest.raises(CheckpointError, match=reason):
            load_checkpoint_file(tmp_path / "y.pt")
    with zipfile.ZipFile(tmp_path / "z.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    with pytest.raises(CheckpointError, match=r"damaged: .*data\.pkl is compressed"):
        load_checkpoint_file(tmp_path / "z.pt")


UNUSABLE: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("sparse", lambda weight: weight.to_sparse()),
    ("without data", lambda weight: weight.to("meta")),
]


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch tells of sparse tensors that it does not check them
@pytest.mark.parametrize(("kind", "made"), UNUSABLE, ids=[kind for kind, _ in UNUSABLE])
def test_tensors_that_cannot_be_copied_are_named_before_anything_is_loaded(
    kind: str, made: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    state = resnet18().state_dict()
    torch.save({**state, "layer4.1.conv2.weight": made(state["layer4.1.conv2.weight"])}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"layer4\.1\.conv2\.weight is {kind}; save"):
        load_checkpoint_file(tmp_path / "x.pth")


NOT_FINITE = [
    ("backbone.layer4.1.conv2.weight", math.nan),
    ("backbone.bn1.running_var", math.inf),
    ("head.bias", -math.inf),
]


@pytest.mark.parametrize(("key", "value"), NOT_FINITE)
def test_weights_that_are_not_finite_are_refused_by_name_and_number(key: str, value: float, tmp_path: Path) -> None:
    source, method = (TSN(backbone="resnet18", num_class=5) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    state = source.state_dict()
    state[key].view(-1)[:2] = value
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    count = state[key].numel()
    with pytest.raises(CheckpointError, match=rf"{key} is NaN or infinite in 2 of {count} places \(1 of 122 tensors"):
        load_into(method, tmp_path / "x.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


@pytest.mark.whole
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_floating_point_type_load(dtype: torch.dtype, tmp_path: Path) -> None:
    source, method = (TSN(backbone="resnet18", num_class=5) for _ in range(2))
    source.to(dtype)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "x.pth")
    load_into(method, tmp_path / "x.pth")
    found = method.state_dict()
    assert all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in source.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.float8_e4m3fn])
def test_weights_of_another_type_are_refused_with_the_type(dtype: torch.dtype, tmp_path: Path) -> None:
    state = resnet18().state_dict()
    torch.save({**state, "layer1.0.conv1.weight": state["layer1.0.conv1.weight"].to(dtype)}, tmp_path / "x.pth")
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=rf"layer1\.0\.conv1\.weight is {kind}, but weights are floating-point"):
        load_checkpoint_file(tmp_path / "x.pth")


def _of_lightning(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.6", "epoch": 3}, path)
    return path


@pytest.mark.parametrize("name", ["model", "net", "network"])
@pytest.mark.parametrize(
    "more",
    [{}, {"criterion.weight": torch.ones(5), "acc.tp": torch.zeros(5).int()}, {"teacher.conv": torch.ones(2**24)}],
)
def test_of_a_module_of_lightning_the_network_is_read_and_the_rest_is_named(
    name: str, more: dict[str, Tensor], tmp_path: Path
) -> None:
    image = resnet18().state_dict()
    file = load_checkpoint_file(
        _of_lightning({**{f"{name}.{key}": value for key, value in image.items()}, **more}, tmp_path / "x.ckpt")
    )
    report = load_into(TSN(backbone="resnet18", num_class=5), file)
    assert not report.missing and not report.unexpected
    named = [note for note in report.notes if "beside the network; not read" in note]
    assert [note.partition(":")[0] for note in named] == [key.partition(".")[0] for key in more]


def test_two_networks_in_a_module_of_lightning_are_not_chosen_from(tmp_path: Path) -> None:
    image = resnet18().state_dict()
    both = {f"{name}.{key}": value for name in ("model", "ema_model") for key, value in image.items()}
    with pytest.raises(CheckpointError, match=r"with model and ema_model, each of which may be the network; save the"):
        load_checkpoint_file(_of_lightning(both, tmp_path / "x.ckpt"))


def test_a_module_of_lightning_with_a_backbone_and_a_head_keeps_both(tmp_path: Path) -> None:
    made = TSN(backbone="resnet18", num_class=5).state_dict()
    file = load_checkpoint_file(_of_lightning({**made, "loss_net.weight": torch.ones(2)}, tmp_path / "x.ckpt"))
    assert {"backbone.conv1.weight", "head.weight"} <= file.state.keys()


def test_an_average_of_weights_by_torch_loads_without_its_counter(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(resnet18())
    torch.save(averaged.state_dict(), tmp_path / "x.pth")
    report = load_into(TSN(backbone="resnet18", num_class=5), tmp_path / "x.pth")
    assert not report.missing and not report.unexpected


def test_of_two_models_in_a_file_the_one_that_is_not_read_is_named(tmp_path: Path) -> None:
    image = resnet18().state_dict()
    twice = {"state_dict": image, "ema": {f"module.{key}": value for key, value in image.items()}, "optimizer": {}}
    torch.save(twice, tmp_path / "x.pth")
    assert load_checkpoint_file(tmp_path / "x.pth").description.notes == [
        "ema: more weights with the same names; they are not read"
    ]


def test_a_file_of_ours_without_a_config_is_described_in_words(tmp_path: Path) -> None:
    torch.save(TSN(backbone="resnet18", num_class=5).state_dict(), tmp_path / "x.pth")
    message = r"x\.pth: a file of this project with weights but without their config does not fit tsn_resnet34"
    with pytest.raises(CheckpointError, match=message):
        load_into(TSN(backbone="resnet34", num_class=5), tmp_path / "x.pth")


@pytest.mark.parametrize("size", [(10**11,), (10**6, 10**6), (2**62, 4)])
def test_a_tensor_of_a_program_is_not_larger_than_its_storage(size: tuple[int, ...], tmp_path: Path) -> None:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    shape, stride = (pickle.dumps(value, 2)[2:-1] for value in (size, (0,) * len(size)))
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + stride + b"\x89NtR"
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"\x80\x02).")
        archive.writestr("a/data.pkl", b"\x80\x02c__torch__\nM\n)\x81}X\x06\x00\x00\x00weight" + made + b"sb.")
        archive.writestr("a/data/0", b"\0" * 4)
    with pytest.raises(CheckpointError, match=r"x\.pt: damaged: a tensor is larger"):
        load_checkpoint_file(tmp_path / "x.pt")


def test_values_in_each_other_have_an_end(tmp_path: Path) -> None:
    often: list[Any] = []
    deep: list[Any] = []
    for _ in range(60):
        often = [often, often]
    for _ in range(300):
        deep = [deep]
    for extra in (often, deep):
        torch.save({"state_dict": {"weight": torch.ones(1)}, "class_names": extra}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=r"x\.pth: damaged: its values are nested"):
            load_checkpoint_file(tmp_path / "x.pth")


TINY = [
    b"\x80\x02Nr\xff\xff\xff\x1f.",  # a place in the table of objects, which would have 2**29 places
    b"\x80\x03B\xff\xff\xff\x7f.",  # bytes that are not there
    b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00.",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.X\xff\xff\xff\x7f.",  # in torch's old format
]


@pytest.mark.parametrize("content", TINY)
def test_a_tiny_file_takes_little_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"x\.pkl"):
            load_checkpoint_file(tmp_path / "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
