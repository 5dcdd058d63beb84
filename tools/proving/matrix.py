"""Proves the cells that tools/matrix.py is asked for, keeps each as it is done, and writes or checks the page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tools.exporting.export import need
from tools.proving import page
from tools.proving.cells import Cell, Facts, prove
from tools.proving.sources import PACKAGES, digest
from tools.proving.table import cells
from tools.proving.training import train
from utils.files import atomic_write


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
    known = kept(path)
    for number, cell in enumerate(chosen, 1):
        if cell.name not in known:
            known[cell.name] = prove(cell)
            record = {"cell": cell.name, "code": digest(cell), **asdict(known[cell.name])}
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                # the line break in front ends a line that an interrupted run has left
                file.write("\n" + json.dumps(record) + "\n")
        print(f"{number}/{len(chosen)}  {cell.name}: {page.summary(known[cell.name])}", flush=True)
    return {cell.name: known[cell.name] for cell in chosen}


def kept(path: Path) -> dict[str, Facts]:
    """Returns the facts that were found out with this code, by cell; an incomplete line does not count."""
    if not path.exists():
        return {}
    found, codes = {}, {cell.name: digest(cell) for cell in cells([])}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        name = record.pop("cell")
        if record.pop("code") == codes.get(name):
            found[name] = Facts(**record)
    return found
