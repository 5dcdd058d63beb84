"""The cost card: parameters and multiply-adds of every model, counted on the meta device, without weights or data.

Prints the table; --write puts it into docs/models.md; --check fails when a published figure or that file has parted
from what the code counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # started as `python tools/cost.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from methods import METHODS
from networks.clip.factorised_resnet import VIDEO_RESNETS
from networks.clip.resnet3d_published import RESNETS_3D
from tools.exporting.cost_rows import Row, all_rows
from utils.cli import Parser, run_cli
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

The 3-D ResNets classify windows of the size they were trained at (224), so a 256 crop costs a few classifiers more;
`position_average: scores` averages the softmax over these positions, as PySlowFast tests, `logits` (the default) the
logits, as PyTorchVideo does. Both return logits.

"""
COLUMNS = ("Model", "Frames", "Crop", "Classes", "Parameters", "GMACs", "Published")


@dataclass(frozen=True)
class Cost:
    """What a row was counted to cost."""

    row: Row
    params: int
    gmacs: float

    def mistakes(self) -> list[str]:
        """One line for each figure that differs from what the row says it must be."""
        row, found = self.row, []
        if row.params is not None and row.params != self.params:
            found.append(f"{row.model} {row.size}: {self.params:,} parameters instead of {row.params:,}")
        if row.gmacs is not None and row.gmacs != self._shown(row.gmacs):
            found.append(f"{row.model} {row.size}: {self.gmacs:.3f} GMACs instead of {row.gmacs}")
        return found

    def _shown(self, like: str) -> str:
        return f"{self.gmacs:.{len(like.partition('.')[2])}f}"

    def cells(self) -> list[str]:
        """The row of the table."""
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
    """The Markdown table, columns aligned."""
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
    """A list of the clip networks that are rows of data here, with project and paper; the others are torchvision's."""
    rows = {
        **{name: row.source for name, row in RESNETS_3D.items()},
        **{name: row.source for name, row in VIDEO_RESNETS.items()},
    }
    lines = [f"- `{name}`: {rows[name]}" for name in sorted(rows)]
    full = "- `resnet18_3d` to `resnet152_3d`: 3x3x3 kernels throughout, Hara et al. 2018, arXiv 1711.09577"
    return "\n## Where the clip networks come from\n\n" + "\n".join([*lines, full]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints, writes or checks the cost card."""
    parser = Parser(prog="python -m tools.cost", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="*", help="only rows whose model contains one of these, as `slowfast`")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write docs/models.md")
    action.add_argument("--check", action="store_true", help="exit 1 if a figure or docs/models.md differs")
    arguments = parser.parse_args(argv)
    if arguments.model and (arguments.write or arguments.check):
        parser.error("--write and --check take all models")
    costs = [count(row) for row in all_rows() if not arguments.model or any(m in row.model for m in arguments.model)]
    if arguments.model and not costs:
        parser.error(f"no model is called {' or '.join(arguments.model)}")
    mistakes = [mistake for cost in costs for mistake in cost.mistakes()]
    text = HEADER + table(costs) + sources()
    if arguments.write and not mistakes:
        with atomic_write(DOCUMENT, "w") as file:
            file.write(text)
    elif arguments.check and (not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text):
        mistakes.append(f"{DOCUMENT} is not what the code counts: run python -m tools.cost --write")
    elif not arguments.write and not arguments.check:
        print(table(costs), end="")
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    if arguments.check and not mistakes:
        print(f"{len(costs)} models cost what they are said to cost")
    return 1 if mistakes else 0


if __name__ == "__main__":
    run_cli(main)
