"""Exports models with random weights and tabulates how well they agree, for tools/export_table.py."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods import METHODS
from methods.base import Method
from networks.clip.video_vit_published import VITS
from tools.exporting import TOLERANCE
from tools.exporting.cost_rows import Row, all_rows
from tools.exporting.export import Exportable, export, trace
from tools.exporting.random_weights import liven
from utils.config.build import parameters_of
from utils.errors import UserError
from utils.files import ROOT, atomic_write

PAGE = ROOT / "docs" / "export_models.md"
HEADER = """\
# Exported models, compared

Written by `python -m tools.export_table --write`; `make soak` exports them all again, `make long` one of each family,
and `make test` fails when a registered model has no row here.

Each file was run in batches of 1 and 3, by ONNX Runtime or by PyTorch, and its logits compared with the network's. The
differences are the largest of any logit, divided by the largest logit if that is above 1; {tolerance:.0e} is allowed.
Video transformers were built with two blocks of 192 channels, Hiera and UniFormer with one or two of each kind, which
all their blocks are like.
`python -m tools.export_table NAME --write` makes the row of a new model.

"""
COLUMNS = ("model", "clip", "ONNX, MB", "ONNX differs by", ".pt2 differs by", "made with torch, onnx, onnxruntime")
CLASSES = 11
SIDE = 64  # pixels
LARGE = {
    "c3d": 112,
    "s3d": 224,
    "inception_v3_tsn": 107,
    "mvit_v1_b": 224,
    "mvit_v2_s": 224,
    "uniformerv2_l": 56,
}  # networks of other sizes
# transformers whose further blocks are like those that are left here, by the beginning of their names
SHORT: dict[str, dict[str, Any]] = {
    "hiera": {"depths": [1, 1, 2, 1], "spatial_size": SIDE},
    "uniformer_": {"depths": [1, 1, 2, 1]},
    "uniformerv2_b": {"depth": 2, "reads": [0, 1], "spatial_size": SIDE},
    "uniformerv2_l": {"depth": 2, "reads": [0, 1], "spatial_size": LARGE["uniformerv2_l"]},
}
MEGABYTE = 1e6
BRANCH_GAIN = 0.2
BLOB = 16  # pixels


@dataclass(frozen=True)
class Model:
    """A registered network and the clip (T, H, W) that it is exported for."""

    row: Row
    size: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The name of the model in docs/models.md."""
        return self.row.model

    def build(self) -> Method:
        """Builds the network in evaluation mode, with the same random weights each time."""
        torch.manual_seed(0)
        arguments = {**self.row.arguments, **_shortened(self.row.backbone)}
        method = METHODS[self.row.method](backbone=self.row.backbone, num_class=CLASSES, **arguments)
        _calm(method)
        liven(method, self.clips(4))
        return method.eval().requires_grad_(False)

    def clips(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Returns noise (batch, 3, T, H, W): of single pixels in small clips, of blobs in large ones.

        Noise of 224 x 224 pixels averages out in deep layers, whose norms then magnify the rounding of float32.
        """
        frames, height, width = self.size
        if height <= SIDE:
            return torch.randn(batch, 3, *self.size, generator=generator)
        blobs = torch.randn(batch, 3, frames // 2, height // BLOB, width // BLOB, generator=generator)
        return nn.functional.interpolate(blobs, self.size, mode="trilinear")


def _shortened(backbone: str) -> dict[str, Any]:
    """Returns the arguments that make a transformer of one or two blocks of each kind; {} for other networks."""
    if short := next((kwargs for name, kwargs in SHORT.items() if backbone.startswith(name)), None):
        return {"kwargs": short}
    if backbone not in VITS:
        return {}
    known = parameters_of(VITS[backbone].build)
    short = {"depth": 2, "embed_dim": 192, "num_heads": 3, "pool_depth": 2, "pool_heads": 3}
    short |= {"spatial_size": SIDE, "patch_size": SIDE // 4}
    return {"kwargs": {name: value for name, value in short.items() if name in known}}


def _calm(method: Method) -> None:
    """Gives residual branches a small gain, as training does.

    With a gain of 1, a random ResNet-152 blows the rounding of float32 itself up to more than the tolerance.
    """
    for block in method.modules():
        if hasattr(block, "downsample"):
            norms = (part for name, part in block.named_modules() if not name.startswith("downsample"))
            *_, last = (norm for norm in norms if isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d)))
            nn.init.constant_(last.weight, BRANCH_GAIN)


def models() -> Iterator[Model]:
    """Yields every registered model once, with the shortest clip that docs/models.md has for it."""
    shortest: dict[str, Row] = {}
    for row in all_rows():
        if row.model not in shortest or row.size < shortest[row.model].size:
            shortest[row.model] = row
    for row in shortest.values():
        side = LARGE.get(row.backbone, SIDE)
        yield Model(row, (row.size[0], side, side))


def compare(model: Model, folder: Path) -> list[str]:
    """Returns the cells of a row. Raises: UserError if a format cannot be written or differs by more than TOLERANCE."""
    method = model.build()
    generator = torch.Generator().manual_seed(0)

    def example(batch: int) -> tuple[torch.Tensor, ...]:
        return (model.clips(batch, generator),)

    network = Exportable(method, ("clips",), ("logits",), example, 1, {})
    program = trace(network)
    onnx = folder / "model.onnx"
    differences = [export(network, program, path, TOLERANCE) for path in (onnx, folder / "model.pt2")]
    clip = " x ".join(map(str, model.size))
    size = f"{onnx.stat().st_size / MEGABYTE:.1f}"
    return [model.name, clip, size, *(f"{value:.0e}" for value in differences), _versions()]


def _versions() -> str:
    import onnx
    import onnxruntime

    return ", ".join((torch.__version__.split("+")[0], onnx.__version__, onnxruntime.__version__))


def page(rows: Sequence[Sequence[str]]) -> str:
    """Returns the whole page."""
    lines = [COLUMNS, ["---", "---", "---:", "---:", "---:", "---"], *rows]
    return HEADER.format(tolerance=TOLERANCE) + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _with_the_others(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Returns all rows of the page in the order of the models, with `rows` in place of the old ones.

    Raises: UserError when a model has no row.
    """
    text = PAGE.read_text() if PAGE.exists() else ""
    known = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[1:-1]] for line in _rows(text)}
    known |= {row[0]: list(row) for row in rows}
    if missing := [model.name for model in models() if model.name not in known]:
        raise UserError(f"{PAGE}: no row of {', '.join(missing)}: name them too")
    return [known[model.name] for model in models()]


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


def run(args: argparse.Namespace) -> int:
    """Prints a line per model; returns 1 and writes no page if one of them cannot be exported."""
    chosen = [model for model in models() if not args.model or any(part in model.name for part in args.model)]
    if not chosen:
        raise UserError(f"no model is called {' or '.join(args.model)}; docs/models.md has their names")
    rows, failed = [], []
    for model in chosen:
        try:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(compare(model, Path(folder)))
        except UserError as error:
            failed.append(model.name)
            print(f"{model.name}: {error}", flush=True)
        else:
            print("  ".join(rows[-1]), flush=True)
    if failed:
        print(f"{len(failed)} of {len(chosen)} do not export: {', '.join(failed)}", file=sys.stderr)
        return 1
    if args.write:
        text = page(_with_the_others(rows) if args.model else rows)
        with atomic_write(PAGE, "w") as file:
            file.write(text)
        print(f"written: {PAGE}")
    return 0
