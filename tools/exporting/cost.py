"""Counts the parameters and multiply-adds of models and writes docs/models.md, for tools/cost.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from methods import METHODS
from networks.clip import c3d
from networks.clip.factorised_resnet import VIDEO_RESNETS
from networks.clip.resnet3d_published import RESNETS_3D
from networks.clip.video_vit_published import VITS
from networks.clip.x3d import X3DS
from tools.exporting.cost_rows import Row, all_rows
from utils.errors import UserError
from utils.files import ROOT, atomic_write
from utils.run.flops import multiply_adds, num_parameters

DOCUMENT = ROOT / "docs" / "models.md"
HEADER = """\
# Models and what they cost

Written by `python -m tools.cost --write`; `make test` fails when this file and the code part.

Parameters and multiply-adds are counted on the meta device for one clip in evaluation mode: convolutions and matrix
products, which is what papers print as "GFLOPs" (published figures that add norms and pools are 0.5 to 3 % higher).
Never compare two rows of different frames, crop or class count. Figures marked = are checked against independently
counted ones; the others are only printed.

The 3-D ResNets and X3D classify windows of the size they were trained at, so a larger crop costs more classifiers;
`position_average: scores` averages the softmax over these positions, as PySlowFast tests, `logits` (the default) the
logits, as PyTorchVideo does. Both return logits.

"""
COLUMNS = ("Model", "Frames", "Crop", "Classes", "Parameters", "GMACs", "Published")


@dataclass(frozen=True)
class Cost:
    """The counted cost of one row."""

    row: Row
    params: int
    gmacs: float

    def mistakes(self) -> list[str]:
        """Returns one line for each figure that differs from the one in the row."""
        row, found = self.row, []
        if row.params is not None and row.params != self.params:
            found.append(f"{row.model} {row.size}: {self.params:,} parameters instead of {row.params:,}")
        if row.gmacs is not None and row.gmacs != self._shown(row.gmacs):
            found.append(f"{row.model} {row.size}: {self.gmacs:.3f} GMACs instead of {row.gmacs}")
        return found

    def _shown(self, like: str) -> str:
        return f"{self.gmacs:.{len(like.partition('.')[2])}f}"

    def cells(self) -> list[str]:
        """Returns the cells of the row in the table."""
        row, (frames, height, width) = self.row, self.row.size
        params = f"{self.params:,}" + (" =" if row.params is not None else "")
        gmacs = f"{self.gmacs:.3f}" + (" =" if row.gmacs is not None else "")
        crop = str(height) if height == width else f"{height}x{width}"
        return [row.model, str(frames), crop, str(row.num_class), params, gmacs, row.published]


def count(row: Row) -> Cost:
    """Builds the row's model on the meta device and runs one clip through it."""
    with torch.device("meta"):
        method = METHODS[row.method](backbone=row.backbone, num_class=row.num_class, **row.arguments)
    return Cost(row, num_parameters(method), multiply_adds(method, (1, 3, *row.size)) / 1e9)


def table(costs: Sequence[Cost]) -> str:
    """Returns the Markdown table with aligned columns."""
    rows = [list(COLUMNS), *(cost.cells() for cost in costs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    right = {"Frames", "Crop", "Classes", "Parameters", "GMACs"}
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if COLUMNS[column] in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if number == 0:
            rule = ["-" * (width - 1) + (":" if COLUMNS[i] in right else "-") for i, width in enumerate(widths)]
            lines.append("| " + " | ".join(rule) + " |")
    return "\n".join(lines) + "\n"


def sources() -> str:
    """Lists the clip networks that are defined here as data, with project and paper; the others are torchvision's."""
    rows = {
        **{name: row.source for name, row in RESNETS_3D.items()},
        **{name: row.source for name, row in VIDEO_RESNETS.items()},
        **{name: row.source for name, row in X3DS.items()},
        **{name: row.source for name, row in VITS.items()},
        "c3d": c3d.SOURCE,
    }
    lines = [f"- `{name}`: {rows[name]}" for name in sorted(rows)]
    full = "- `resnet18_3d` to `resnet152_3d`: 3x3x3 kernels throughout, Hara et al. 2018, arXiv 1711.09577"
    return "\n## Where the clip networks come from\n\n" + "\n".join([*lines, full]) + "\n"


def run(args: argparse.Namespace) -> int:
    """Prints, writes or checks the table of costs; returns the exit code."""
    costs = [count(row) for row in all_rows() if not args.model or any(m in row.model for m in args.model)]
    if args.model and not costs:
        raise UserError(f"no model is called {' or '.join(args.model)}; docs/models.md has their names")
    mistakes = [mistake for cost in costs for mistake in cost.mistakes()]
    text = HEADER + table(costs) + sources()
    if args.write and not mistakes:
        with atomic_write(DOCUMENT, "w") as file:
            file.write(text)
    elif args.check and (not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text):
        mistakes.append(f"{DOCUMENT} is not what the code counts: run python -m tools.cost --write")
    elif not args.write and not args.check:
        print(table(costs), end="")
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    if args.check and not mistakes:
        print(f"{len(costs)} models cost what they are said to cost")
    return 1 if mistakes else 0
