"""Writes the table of exps/README.md: one row per experiment, read from the headers of the configs.

A header is the comment at the top of a config.yaml. It has a first line `Dataset: what it is.`, the commands, and
fields such as `Published: ...`, which may be several lines long. With --check the exit code is 1 if the table is out of
date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:  # started as `python tools/list_recipes.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from utils.cli import Parser, run_cli
from utils.errors import UserError
from utils.files import ROOT, atomic_write

EXPS = ROOT / "exps"
BEGIN, END = "<!-- recipes: python -m tools.list_recipes -->", "<!-- /recipes -->"
COLUMNS = ("experiment", "what", "videos a step", "published", "source")
_FIELD = re.compile(r"([A-Z][a-z]+): (.*)")


@dataclass(frozen=True)
class Header:
    """The comment at the top of a config.

    title: its first line.
    commands: the lines that start a program.
    fields: the text of each field by its name.
    """

    title: str
    commands: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


def read_header(config: Path) -> Header:
    """Reads the header of a config.yaml, without comments further down. Raises: UserError if there is no header."""
    lines: list[str] = []
    for line in config.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    if not lines:
        raise UserError(f"{config}: does not begin with a comment that says what the experiment is")
    commands: list[str] = []
    fields: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        if match := _FIELD.match(line):
            name = match[1]
            fields[name] = match[2]
        elif name:
            fields[name] += " " + line.strip()
        else:
            commands.append(line.strip())
    return Header(lines[0], tuple(commands), fields)


def find_recipes(exps: Path) -> dict[Path, Header]:
    """Finds every experiment whose header says what was published, by its folder, in the order of names."""
    headers = {config.parent: read_header(config) for config in sorted(exps.glob("[!_]*/*/config.yaml"))}
    return {folder: header for folder, header in headers.items() if "Published" in header.fields}


def table(exps: Path) -> str:
    """Returns the Markdown of all recipes, with one table per dataset."""
    lines: list[str] = []
    dataset = ""
    for folder, header in find_recipes(exps).items():
        name, _, what = header.title.partition(": ")
        if folder.parent.name != dataset:
            dataset = folder.parent.name
            lines += ["", f"### {name}", "", _row(COLUMNS), _row(["---"] * len(COLUMNS))]
        path = folder.relative_to(exps).as_posix()
        batch = header.fields["Batch"].partition(";")[0].replace(" videos a step,", ",")
        lines.append(
            _row(
                [
                    f"[{folder.name}]({path}/config.yaml)",
                    what.rstrip("."),
                    batch,
                    header.fields["Published"],
                    header.fields["Source"],
                ]
            )
        )
    return "\n".join([*lines[1:], ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def renewed(readme: Path, text: str) -> str:
    """Returns the README with `text` between the two marks."""
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme}: the marks {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the table, or with --check compares it."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    args = parser.parse_args(argv)
    readme = EXPS / "README.md"
    wanted = renewed(readme, table(EXPS))
    if wanted == readme.read_text(encoding="utf-8"):
        print(f"{readme}: up to date with the {len(find_recipes(EXPS))} recipes")
        return 0
    if args.check:
        print(f"{readme}: out of date; run python -m tools.list_recipes")
        return 1
    with atomic_write(readme, "w") as file:
        file.write(wanted)
    print(f"wrote {readme}")
    return 0


if __name__ == "__main__":
    run_cli(main)
