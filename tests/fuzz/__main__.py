"""Reads damaged files of every kind, and prints what became of them: python -m tests.fuzz --seconds 600.

python -m tests.fuzz --kind video --seed 17 --keep DIR     # one input again; DIR/copy holds its files
python -m tests.fuzz --seconds 600 --write                 # and puts the table into docs/security.md
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz.campaign import Campaign, Tried
from tests.fuzz.kinds import KINDS
from utils.files import ROOT, atomic_write

PAGE = ROOT / "docs" / "security.md"
TABLE = re.compile(r"(?<=<!-- table: begin -->\n).*(?=<!-- table: end -->)", re.DOTALL)


def main() -> int:
    """Returns 1 if an input was taken in a way that it should not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind")
    parser.add_argument("--seed", type=int, help="only this input")
    parser.add_argument("--keep", type=Path, help="folder for the files, which stays")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        campaign = Campaign(args.keep or Path(temporary), args.kind or list(KINDS))
        if args.seed is not None:
            outcome = campaign.once(campaign.names[0], args.seed)
            sys.stdout.write(f"{outcome.printed}{outcome._replace(printed='')}\n")
            return int(bool(outcome.problem))
        for name, seed, outcome in campaign.run(args.seconds, first=args.first):
            if outcome.problem:
                sys.stdout.write(f"--- {name}, seed {seed}: {outcome.problem}\n{outcome.printed[-1500:]}\n")
                sys.stdout.flush()
    text = table(campaign.tried)
    sys.stdout.write(text)
    if args.write:
        page = TABLE.sub(lambda _: text, PAGE.read_text(encoding="utf-8"))
        with atomic_write(PAGE, "w") as file:
            file.write(page)
    return int(any(tried.problems for tried in campaign.tried.values()))


def table(tried: Mapping[str, Tried]) -> str:
    """Returns the table in Markdown."""
    rows = [
        "| file | inputs | read | refused in one line | anything else | most time, s | most memory, MiB |",
        "|---|" + "---:|" * 6,
    ]
    for name, one in tried.items():
        numbers = one.inputs, one.read, one.refused, len(one.problems), f"{one.seconds:.1f}", f"{one.megabytes:.0f}"
        rows.append(f"| {name} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
