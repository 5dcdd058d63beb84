"""Writes and reads docs/matrix.md, the page of temporal modules and image networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.exporting import TOLERANCE
from tools.proving.cells import CLASSES, COSTED, EXACT, MODULES, SEEN, Cell, Facts
from tools.proving.table import BACKBONES
from tools.proving.training import accuracies
from utils.files import ROOT

PAGE = ROOT / "docs" / "matrix.md"
HEADER = """\
# Every temporal module in every image network

Written by `python -m tools.matrix --write`, which proves each cell with random weights.
`python -m tools.matrix --check tam resnet18` proves one again and compares it with this page.

`tsn` is the image network without a module, `trn` is `consensus: trn`, and [temporal modules](temporal.md) explains the
others.

`yes`: the network is built, trains, and exports. `stream`: its form with `shift: uni` runs frame by frame too. A dash:
the module has no place in this network, and the tables below say why.{open}

"""
OPEN = " A question mark: the cell is not proved yet, and the next `--write` adds it."
MEANING = f"""
## What is proved

| column | meaning |
|---|---|
| order | whether another order of frames changes the logits, in float64: `sees` or `blind` |
| gradient | whether a gradient reaches every parameter |
| parameters, GMACs | of a clip of {COSTED[0]} frames and {COSTED[1]} x {COSTED[1]} pixels, with {CLASSES} classes |
| ONNX, .pt2 | how far the logits of the exported file are from PyTorch, relative; at most {TOLERANCE:.0e} |
| stream | whether the network with `shift: uni`, run frame by frame, is the offline one |

Orders differ by less than {EXACT:.0e} of the logits' spread where a network is blind, by more than {SEEN:.0e} where it
is not. A stream differs by less than {EXACT:.0e} of it, in float64 too.
"""
COLUMNS = ("module", "order", "gradient", "parameters", "GMACs", "ONNX", ".pt2", "stream")
EXPORTED = (5, 6)  # columns whose numbers depend on the machine
NONE, UNKNOWN = "–", "?"


def summary(facts: Facts) -> str:
    """Returns what is found out about a cell in a line."""
    return facts.refused or "  ".join(_row(facts))


def text(cells: Sequence[Cell], facts: Mapping[str, Facts], runs: Path) -> str:
    """Returns the whole page. runs: folder of the experiments, whose accuracies are added to those on the page."""
    overview = [[_word(facts.get(_name(module, backbone.name))) for module in MODULES] for backbone in BACKBONES]
    parts = [HEADER.format(open=OPEN if len(facts) < len(cells) else ""), _grid(overview)]
    for dataset, found in accuracies(cells, runs, _old_accuracies()).items():
        rows = [[found.get(_name(module, one.name), "") for module in MODULES] for one in BACKBONES]
        trained = [(one.name, row) for one, row in zip(BACKBONES, rows, strict=True) if any(row)]
        parts += [
            f"\n## Accuracy on {dataset}\n\n{TRAINED}\n",
            _grid([row for _, row in trained], [n for n, _ in trained]),
        ]
    parts.append(MEANING)
    for backbone in BACKBONES:
        rows = [[module, *_cells(facts.get(_name(module, backbone.name)))] for module in MODULES]
        parts.append(f"\n## {backbone.name}\n\n" + _table(COLUMNS, rows))
        reasons: dict[str, list[str]] = {}
        for module in MODULES:
            if why := _reason(facts.get(_name(module, backbone.name))):
                reasons.setdefault(why, []).append(f"`{module}`")
        parts += ["\n" if reasons else "", *(f"* {', '.join(names)}: {why}\n" for why, names in reasons.items())]
    return "".join(parts)


TRAINED = "Best validation top-1 in percent of the runs of `python -m tools.matrix --train`, from random weights."


def differences(cells: Sequence[Cell], facts: Mapping[str, Facts]) -> list[str]:
    """Returns a line for each cell that the page describes otherwise; numbers of exported files may differ."""
    stated = _stated()
    found = []
    for cell in cells:
        should, says = _cells(facts[cell.name]), stated.get(cell.name)
        if says is None:
            found.append(f"has no row of {cell.name}; python -m tools.matrix --write makes it")
        elif _fixed(says) != _fixed(should):
            found.append(f"{cell.name} has {' | '.join(says)}, but it should be {' | '.join(should)}")
    return found


def _fixed(row: Sequence[str]) -> list[str]:
    """Returns the cells of a row that do not depend on the machine."""
    return [cell for place, cell in enumerate(row, 1) if place not in EXPORTED]


def _name(module: str, backbone: str) -> str:
    return f"{module} {backbone}"


def _word(facts: Facts | None) -> str:
    if facts is None:
        return UNKNOWN
    return NONE if facts.refused else "yes" if facts.stream is None else "stream"


def _cells(facts: Facts | None) -> list[str]:
    if facts is None or facts.refused:
        return [_word(facts)] * (len(COLUMNS) - 1)
    return _row(facts)


def _row(facts: Facts) -> list[str]:
    order = "blind" if facts.order <= EXACT else "sees" if facts.order >= SEEN else f"unclear, {facts.order:.0e}"
    gradient = "all" if not facts.unreached else f"not {', '.join(facts.unreached)}"
    exported = [value if isinstance(value, str) else f"{value:.0e}" for value in facts.differences.values()]
    stream = "no" if facts.stream is None else "yes" if facts.stream <= EXACT else f"differs by {facts.stream:.0e}"
    return [order, gradient, f"{facts.params:,}", f"{facts.gmacs:.3f}", *exported, stream]


def _reason(facts: Facts | None) -> str:
    """Returns why there is no network, or no stream of it; "" if there is nothing to say."""
    if facts is None:
        return ""
    if facts.refused:
        return f"not built. {facts.refused}"
    return f"no stream: it has {facts.no_stream}" if facts.no_stream else ""


def _grid(rows: Sequence[Sequence[str]], names: Sequence[str] | None = None) -> str:
    names = names if names is not None else [backbone.name for backbone in BACKBONES]
    return _table(("image network", *MODULES), [[name, *row] for name, row in zip(names, rows, strict=True)])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _sections() -> dict[str, list[list[str]]]:
    """Returns the rows of the page's tables, without their heads, by the heading above."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| ---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.split("|")[1:-1]])
    return {heading: rows[1:] for heading, rows in found.items()}


def _stated() -> dict[str, list[str]]:
    """Returns what the page says about each cell."""
    names = {backbone.name for backbone in BACKBONES}
    return {
        _name(row[0], heading): row[1:] for heading, rows in _sections().items() if heading in names for row in rows
    }


def _old_accuracies() -> dict[str, dict[str, str]]:
    """Returns the accuracies on the page, by data set and cell."""
    found: dict[str, dict[str, str]] = {}
    for heading, rows in _sections().items():
        if heading.startswith(ACCURACY):
            named = {
                _name(module, row[0]): value for row in rows for module, value in zip(MODULES, row[1:], strict=True)
            }
            found[heading.removeprefix(ACCURACY)] = {name: value for name, value in named.items() if value}
    return found


ACCURACY = "Accuracy on "
