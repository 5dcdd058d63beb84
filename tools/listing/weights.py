"""Prints the registry of published weights and gets files from it, for tools/weights.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from utils.plain_text import printable
from utils.published.files import fetch, local_file
from utils.published.registry import READABLE, Published, counted, entry, search
from utils.published.sums import known_sum

SCORES = {"top1": "top-1", "top5": "top-5", "top1_clip": "top-1 of a clip", "top1_linear": "top-1 of a linear probe",
          "mean_class_top1": "mean of the classes' top-1", "mAP": "mAP", "recall@5": "recall@5"}  # fmt: skip
MARKS = {"yes": "", "no": " (not for commercial use)", "unclear": " (terms of its own)"}


def run(args: argparse.Namespace) -> int:
    """Prints or gets what the command line of tools/weights.py asks for; returns the exit code."""
    if args.verb == "list":
        return _print_list(args)
    entries = [entry(name) for name in args.words]  # all names before the first download
    for found in entries:
        if args.verb == "show":
            print("\n".join(details(found)))
            continue
        for note in found.notes:
            print(f"{found.id}: note: {note}", file=sys.stderr)
        if found.support not in READABLE:
            print(f"{found.id}: note: {_use(found)}", file=sys.stderr)
        print(fetch(found))
    return 0


def _print_list(args: argparse.Namespace) -> int:
    found = search(
        args.words,
        dataset=args.dataset,
        network=args.network,
        licence=args.licence,
        max_mb=args.max_size,
        unreadable=args.all,
    )
    rows = [
        (one.id, best(one), size_of(one), f"{one.licence or 'none stated'}{MARKS[one.commercial]}") for one in found
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    known = "; there are " if not found else ": "
    print(f"{len(found)} found{known}{counted(found or search(unreadable=args.all))}", file=sys.stderr)
    return 0


def _use(found: Published) -> str:
    """Says what can be done with a file that no network here is filled from alone."""
    if found.support == "head":
        return "a head: python -m tools.convert_checkpoint ENCODER OUT --head FILE joins it to its encoder"
    return "no network here can be filled from it yet"


def _noted_sum(here: Path | None) -> str:
    digits, where = known_sum(here) if here else ("", "")
    return f"begins with {digits[:8]}, as {where} says" if digits else "not published; that of a download is noted"


def details(found: Published) -> Iterator[str]:
    """Yields the lines about an entry."""
    here = local_file(found)
    rows: Mapping[str, Any] = {
        "from": found.source,
        "network": f"{found.backbone}, {found.task} of {found.modality}",
        "trained on": found.dataset,
        "file": found.url or (f"https://huggingface.co/{found.hub}, {found.file}" if found.hub else found.name),
        "by hand from": found.page,
        "here": here,
        "size": size_of(found),
        "SHA-256": f"begins with {found.sha256}" if found.sha256 else _noted_sum(here),
        "licence": f"{found.licence or 'none stated'}{MARKS[found.commercial]}",
        "recipe": f"exps/{found.recipe} ({found.relation.replace('_', ' ')})" if found.recipe else "",
        "used as": "" if found.support in READABLE else _use(found),
    }
    yield found.id
    yield from (f"  {name:<13} {printable(str(value))}" for name, value in rows.items() if value)
    for protocol in found.metrics:
        yield f"  {'published':<13} {scores_of(protocol, found.dataset)}"
    yield from (f"  {'note':<13} {note}" for note in found.notes)


def scores_of(protocol: Mapping[str, Any], dataset: str) -> str:
    """Returns the published scores of one protocol: `73.18 top-1, 90.56 top-5; 8 frames x 10 crops of 224`."""
    scores = ", ".join(f"{protocol[key]:g} {name}" for key, name in SCORES.items() if key in protocol)
    units = {"frames": "frame", "clips": "clip", "crops": "crop"}
    views = [f"{count} {unit}{'s' * (count != 1)}" for key, unit in units.items() if (count := protocol.get(key))]
    size = f" of {protocol['size']}" if "size" in protocol else ""
    where = f" on {protocol['dataset']}" if protocol.get("dataset", dataset) != dataset else ""
    parts = [f"{' x '.join(views)}{size}" if views else "", protocol.get("protocol", "")]
    return "; ".join([f"{scores}{where}", *(part for part in parts if part)])


def best(found: Published) -> str:
    """Returns the highest published score: `73.18 top-1`."""
    scores = [(row[key], name) for key, name in SCORES.items() for row in found.metrics if key in row]
    return next((f"{max(value for value, other in scores if other == name):g} {name}" for _, name in scores), "")


def size_of(found: Published) -> str:
    """Returns the size in words, "" if it is unknown."""
    return f"{found.mb:g} MB" if found.mb else ""
