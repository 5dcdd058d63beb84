"""A trained network as files that other programs run, each compared with PyTorch before it takes its name."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from methods.tsm import TSM, StreamingTSM
from tools.exporting import SUFFIXES
from tools.inference.trained import Trained, open_from_arguments
from utils.errors import ConfigError, UserError
from utils.files import atomic_write

TRACED_BATCH = 2  # 0 and 1 are special to the tracer
CHECKED_BATCHES = (1, 3)
BATCH = "batch"
# the exporter of torch 2.6 fails on batch norm; 2.9 is the first whose default it is, and the first we trust with it
ONNX_SINCE = (2, 9)
ABOUT = "about.json"  # the entry of a .pt2 file that holds what ONNX files have as metadata
Run = Callable[[Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Exportable:
    """A module with names for what goes in and out, and inputs to trace it with.

    steps: how often a check calls it; from the second step on, its outputs but the first are its inputs but the first.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Callable[[int], tuple[Tensor, ...]]
    steps: int
    about: dict[str, str]

    def check(self, run: Run) -> float:
        """The largest difference of a logit or state from PyTorch's, in units of the largest one if that is above 1.

        Batches of other sizes than the traced one, and for a network with a state several frames one after another.
        """
        worst = 0.0
        for batch in CHECKED_BATCHES:
            inputs = theirs = self.example(batch)
            for _ in range(self.steps):
                expected, found = _tuple(self.module(*inputs)), run(theirs)
                for ours, other in zip(expected, found, strict=True):
                    if ours.shape != other.shape:
                        raise UserError(f"the exported network answers {tuple(other.shape)}, not {tuple(ours.shape)}")
                    scale = max(1.0, float(ours.abs().max()))
                    difference = float((ours - other).abs().max()) / scale
                    worst = max(worst, difference if difference == difference else float("inf"))
                frame = self.example(batch)[0]
                inputs, theirs = (frame, *expected[1:]), (frame, *found[1:])
        return worst


def run(args: argparse.Namespace) -> int:
    """Writes the files that tools/export.py is asked for; returns the exit code."""
    trained = open_from_arguments(args)
    network = streaming_step(trained) if args.streaming else clip_network(trained)
    shapes = ", ".join(
        f"{name} (batch, {', '.join(map(str, value.shape[1:]))})"
        for name, value in zip(network.inputs, network.example(1), strict=True)
    )
    program = trace(network)
    for path in args.out:
        difference = export(network, program, path, args.tolerance)
        print(f"{path}: {shapes} -> {', '.join(network.outputs)}, {trained.num_class} classes")
        print(f"  largest difference from PyTorch {difference:.1e}, allowed {args.tolerance:.0e}")
    return 0


def clip_network(trained: Trained) -> Exportable:
    """clips (batch, C, T, H, W), normalised -> logits (batch, K)."""
    height, width = trained.protocol.transform.size
    shape = trained.protocol.clip.in_channels, trained.protocol.clip.num_frames, height, width
    generator = torch.Generator().manual_seed(0)

    def example(batch: int) -> tuple[Tensor, ...]:
        return (torch.randn(batch, *shape, generator=generator),)

    return Exportable(trained.method, ("clips",), ("logits",), example, 1, describe(trained))


def streaming_step(trained: Trained) -> Exportable:
    """frame (batch, C, H, W) and state_0, state_1, ... -> logits (batch, K) and next_state_0, ...; zeros begin a video.

    Raises: ConfigError for a network that is not a one-directional TSM.
    """
    if not isinstance(trained.method, TSM):
        raise ConfigError(f"{trained.path}: only a TSM with `shift: uni` has a step, this is a {trained.method.name}")
    module = StreamingTSM(trained.method)
    height, width = trained.protocol.transform.size
    generator = torch.Generator().manual_seed(0)

    def example(batch: int) -> tuple[Tensor, ...]:
        frame = torch.randn(batch, trained.protocol.clip.in_channels, height, width, generator=generator)
        return frame, *module.first_state(frame)

    shapes = [list(state.shape[1:]) for state in example(1)[1:]]
    names = [f"state_{index}" for index in range(len(shapes))]
    states = {name: {"next": f"next_{name}", "shape": shape} for name, shape in zip(names, shapes, strict=True)}
    about = describe(trained) | {"states": json.dumps(states)}
    inputs, outputs = ("frame", *names), ("logits", *(f"next_{name}" for name in names))
    return Exportable(module, inputs, outputs, example, trained.protocol.clip.num_frames, about)


def describe(trained: Trained) -> dict[str, str]:
    """What an exported file says about itself; values that are no words are JSON."""
    return {
        "method": trained.method.name,
        "class_names": json.dumps([trained.name(label) for label in range(trained.num_class)], ensure_ascii=False),
        "preprocessing": json.dumps(trained.protocol.as_dict()),
    }


@torch.no_grad()
def export(network: Exportable, program: ExportedProgram, path: Path, tolerance: float) -> float:
    """Writes `path`, ONNX or PyTorch's .pt2 by its suffix, and returns how far it is from PyTorch.

    Raises: UserError when it is further than `tolerance` or a package is missing; what was at `path` stays then.
    """
    content, run = FORMATS[path.suffix](program, network)
    difference = network.check(run)
    if difference > tolerance:
        raise UserError(f"{path}: not written, it differs from PyTorch by {difference:.1e} > {tolerance:.0e}")
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    return difference


@torch.no_grad()
def trace(network: Exportable) -> ExportedProgram:
    """The network as a graph whose first dimension is free. Raises: UserError."""
    network.module(*network.example(1))  # tables that networks make at their first call
    example = network.example(TRACED_BATCH)
    batch = Dim(BATCH)
    free = {0: batch}
    shapes = (free,) if len(example) == 1 else (free, tuple(free for _ in example[1:]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about PyTorch's own future
            return torch.export.export(network.module, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # the tracer has many kinds
        raise UserError(f"this network cannot be exported: {str(error).strip().splitlines()[0]}") from error


def _to_torch(program: ExportedProgram, network: Exportable) -> tuple[bytes, Run]:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: json.dumps(network.about, ensure_ascii=False)})
    file.seek(0)
    module = torch.export.load(file).module()
    return file.getvalue(), lambda inputs: list(_tuple(module(*inputs)))


def exports_onnx() -> bool:
    """Whether this torch exports to ONNX as we need it."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= ONNX_SINCE


def _to_onnx(program: ExportedProgram, network: Exportable) -> tuple[bytes, Run]:
    if not exports_onnx():
        raise UserError(
            f"ONNX export needs torch {'.'.join(map(str, ONNX_SINCE))} or newer, this is {torch.__version__}: upgrade "
            "it, or write a .pt2 file"
        )
    for package in ("onnx", "onnxscript", "onnxruntime"):
        need(package)
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            program, (), dynamo=True, verbose=False, input_names=network.inputs, output_names=network.outputs
        )
    assert exported is not None
    model = exported.model_proto
    free = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == free:
                dimension.dim_param = BATCH
    for key, text in network.about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        fed = {name: value.numpy() for name, value in zip(network.inputs, inputs, strict=True)}
        return [torch.from_numpy(value) for value in session.run(list(network.outputs), fed)]

    return content, run


Writer = Callable[[ExportedProgram, Exportable], tuple[bytes, Run]]
FORMATS: dict[str, Writer] = dict(zip(SUFFIXES, (_to_onnx, _to_torch), strict=True))


def need(package: str) -> None:
    """Raises: UserError with the line that installs a package that is not here."""
    try:
        importlib.import_module(package)
    except ImportError:
        raise UserError(f"this needs {package}: pip install -r requirements-extras.txt") from None


def _tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
