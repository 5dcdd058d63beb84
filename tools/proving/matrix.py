"""Proves the cells that tools/matrix.py is asked for, keeps each as it is done, and writes or checks the page."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tools.exporting.export import need
from tools.proving import page
from tools.proving.cells import Cell, Facts, cells, prove
from tools.proving.training import train
from utils.files import ROOT, atomic_write

# what decides the facts: when one of these changes, a cell is proved again
CODE = (
    "methods",
    "networks",
    "tools/exporting/export.py",
    "tools/exporting/random_weights.py",
    "tools/proving/cells.py",
)
PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime")


def run(args: argparse.Namespace) -> int:
    """Proves, trains, writes or checks; returns the exit code."""
    chosen = list(cells(args.names))
    failed = 0
    if args.train is not None:
        failed += train(args, chosen)
    facts = prove_all(chosen, args.kept)
    for cell in chosen:
        for mistake in facts[cell.name].mistakes(cell.module):
            print(f"error: {cell.name}: {mistake}", file=sys.stderr)
            failed += 1
    if args.check:
        for difference in page.differences(chosen, facts):
            print(f"{page.PAGE}: {difference}", file=sys.stderr)
            failed += 1
    if args.write and not failed:
        everything = list(cells([]))
        facts = kept(args.kept) | facts
        text = page.text(everything, facts, args.runs)
        with atomic_write(page.PAGE, "w") as file:
            file.write(text)
        missing = [cell.name for cell in everything if cell.name not in facts]
        print(f"written: {page.PAGE}" + (f"; {len(missing)} cells are not proved yet" if missing else ""))
    return 1 if failed else 0


def prove_all(chosen: Sequence[Cell], path: Path) -> dict[str, Facts]:
    """Returns the facts of these cells by their names; those that are not kept yet are found out and kept."""
    for package in PACKAGES:
        need(package)
    known, code = kept(path), digest()
    for number, cell in enumerate(chosen, 1):
        if cell.name not in known:
            known[cell.name] = prove(cell)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                # the line break in front ends a line that an interrupted run has left
                file.write("\n" + json.dumps({"cell": cell.name, "code": code, **asdict(known[cell.name])}) + "\n")
        print(f"{number}/{len(chosen)}  {cell.name}: {page.summary(known[cell.name])}", flush=True)
    return {cell.name: known[cell.name] for cell in chosen}


def kept(path: Path) -> dict[str, Facts]:
    """Returns the facts that were found out with this code; an incomplete line does not count."""
    if not path.exists():
        return {}
    found, code = {}, digest()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record.pop("code") == code:
            name = record.pop("cell")
            found[name] = Facts(**record)
    return found


def digest() -> str:
    """Returns a word that changes with the code and the packages that the facts depend on."""
    words = hashlib.sha256()
    for name in CODE:
        place = ROOT / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            words.update(file.read_bytes())
    words.update(" ".join(version(package) for package in PACKAGES).encode())
    return words.hexdigest()[:16]
