"""Exports a trained network to files that other programs run; each is compared with PyTorch before it is written."""

from __future__ import annotations

import argparse
import copy
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

from tools.exporting import SUFFIXES
from tools.exporting.reading import preprocessing
from tools.inference.recognizer import Recognizer, load_from_arguments
from tools.inference.streaming import streaming_network
from utils.errors import UserError
from utils.files import atomic_write

TRACED_BATCH = 2  # 0 and 1 are special to the tracer
CHECKED_BATCHES = (1, 3)
BATCH = "batch"
# torch 2.6's exporter fails on batch norm; 2.9 is the first release that exports this way by default
ONNX_SINCE = (2, 9)
METADATA_ENTRY = "about.json"  # entry of a .pt2 file with what ONNX files have as metadata
Run = Callable[[Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Exportable:
    """A module with names for its inputs and outputs, and inputs to trace it with.

    example: makes inputs for a batch size.
    steps: number of calls in a check. From the second on, all outputs but the first are its inputs but the first.
    metadata: what the file says about the network.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Callable[[int], tuple[Tensor, ...]]
    steps: int
    metadata: dict[str, str]

    def check(self, run: Run) -> float:
        """Returns the largest difference of a logit or state from PyTorch's, divided by the largest one if above 1.

        The batches have other sizes than the traced one; a network with a state gets several frames in a row.
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

    def rounding(self) -> float:
        """Returns how far PyTorch's own logits are from those that it computes in float64, measured like `check`."""
        inputs = self.example(1)
        ours = _tuple(self.module(*inputs))[0].double()
        exact = _tuple(copy.deepcopy(self.module).double()(*(value.double() for value in inputs)))[0]
        return float((ours - exact).abs().max()) / max(1.0, float(exact.abs().max()))


def run(args: argparse.Namespace) -> int:
    """Writes the files that tools/export.py is asked for; returns the exit code."""
    recognizer = load_from_arguments(args)
    recognizer.refuse_whole_videos()
    network = streaming_step(recognizer) if args.streaming else clip_network(recognizer)
    shapes = ", ".join(
        f"{name} (batch, {', '.join(map(str, value.shape[1:]))})"
        for name, value in zip(network.inputs, network.example(1), strict=True)
    )
    program = trace(network)
    for path in args.out:
        difference = export(network, program, path, args.tolerance)
        print(f"{path}: {shapes} -> {', '.join(network.outputs)}, {recognizer.num_class} classes")
        print(f"  largest difference from PyTorch {difference:.1e}, allowed {args.tolerance:.0e}")
    return 0


def clip_network(recognizer: Recognizer) -> Exportable:
    """Returns the network of whole clips: clips (batch, C, T, H, W), normalised -> logits (batch, K)."""
    generator = torch.Generator().manual_seed(0)

    def example(batch: int) -> tuple[Tensor, ...]:
        return (torch.randn(batch, *recognizer.clip_shape, generator=generator),)

    return Exportable(recognizer.method, ("clips",), ("logits",), example, 1, metadata_of(recognizer))


def streaming_step(recognizer: Recognizer) -> Exportable:
    """Returns the network of one frame: frame (batch, C, H, W), state_0, ... -> logits (batch, K), next_state_0, ...

    A video begins with states of zeros.
    Raises: ConfigError for a network that looks at later frames.
    """
    module = streaming_network(recognizer, recognizer.method)
    height, width = recognizer.protocol.transform.size
    generator = torch.Generator().manual_seed(0)

    def example(batch: int) -> tuple[Tensor, ...]:
        frame = torch.randn(batch, recognizer.protocol.clip.in_channels, height, width, generator=generator)
        return frame, *module.first_state(frame)

    shapes = [list(state.shape[1:]) for state in example(1)[1:]]
    names = [f"state_{index}" for index in range(len(shapes))]
    states = {name: {"next": f"next_{name}", "shape": shape} for name, shape in zip(names, shapes, strict=True)}
    metadata = metadata_of(recognizer) | {"states": json.dumps(states)}
    inputs, outputs = ("frame", *names), ("logits", *(f"next_{name}" for name in names))
    return Exportable(module, inputs, outputs, example, recognizer.protocol.clip.num_frames, metadata)


def metadata_of(recognizer: Recognizer) -> dict[str, str]:
    """Returns what an exported file says about the network; all values but `method` are JSON."""
    names = [recognizer.name(label) for label in range(recognizer.num_class)]
    return {
        "method": recognizer.method.name,
        "class_names": json.dumps(names, ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing(recognizer.protocol)),
    }


@torch.no_grad()
def export(network: Exportable, program: ExportedProgram, path: Path, tolerance: float) -> float:
    """Writes `path`, as ONNX or .pt2 by its suffix, and returns the largest difference from PyTorch.

    Raises: UserError when the difference is above `tolerance` or a package is missing; an older file at `path` stays.
    """
    content, run = FORMATS[path.suffix](program, network)
    difference = network.check(run)
    if difference > tolerance:
        told = f"{path}: not written, it differs from PyTorch by {difference:.1e} > {tolerance:.0e}"
        if (own := network.rounding()) > tolerance:
            told += (
                f"; no file could come close, because these weights amplify rounding: PyTorch's own answers in float32 "
                f"differ from float64 by {own:.1e}"
            )
        raise UserError(told)
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    return difference


@torch.no_grad()
def trace(network: Exportable) -> ExportedProgram:
    """Traces the network to a graph with a free batch size. Raises: UserError when that fails."""
    network.module(*network.example(1))  # makes the tables that some networks make in their first call
    example = network.example(TRACED_BATCH)
    batch = Dim(BATCH)
    free = {0: batch}
    shapes = (free,) if len(example) == 1 else (free, tuple(free for _ in example[1:]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they concern later releases of PyTorch
            return torch.export.export(network.module, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # the tracer raises many kinds
        raise UserError(f"this network cannot be exported: {str(error).strip().splitlines()[0]}") from error


def _to_torch(program: ExportedProgram, network: Exportable) -> tuple[bytes, Run]:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA_ENTRY: json.dumps(network.metadata, ensure_ascii=False)})
    file.seek(0)
    module = torch.export.load(file).module()
    return file.getvalue(), lambda inputs: list(_tuple(module(*inputs)))


def exports_onnx() -> bool:
    """Says whether this torch can export to ONNX."""
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
    for key, text in network.metadata.items():
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
    """Raises UserError with the command that installs a package, if it is missing."""
    try:
        importlib.import_module(package)
    except ImportError:
        raise UserError(f"this needs {package}: pip install -r requirements-extras.txt") from None


def _tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
