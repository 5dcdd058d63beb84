"""Checks README and docs/: every relative link and picture leads somewhere, and so does every file a command names.

Prints one line per problem, as `file:line: what`; exit code 1 when there are any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # started as `python tools/check_docs.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools._cli import Parser
from utils.errors import run_cli

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*```(\w*)")
OUR_FILE = re.compile(r"(?<![\w./-])((?:tools|anal_tools|benchmarks|exps|examples|tests)/[\w./-]+\.(?:py|sh|yaml))")
OUR_MODULE = re.compile(r"-m ((?:tools|anal_tools|benchmarks)\.\w+)")
TARGET = re.compile(r"(?:^|[\s;&])make ([a-z]+)")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the problems; returns 1 when there are any."""
    Parser(prog="check_docs.py", description=(__doc__ or "").split("\n\n")[0]).parse_args(argv)
    pages = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "tests").glob("*.md"))]
    problems = [problem for page in pages for problem in problems_of(page)]
    for problem in problems:
        print(problem)
    print(f"{len(pages)} pages, {len(problems)} problem(s)")
    return 1 if problems else 0


def problems_of(page: Path) -> Iterator[str]:
    """`file:line: what` for every link, file, module and make target on a page that does not exist."""
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = tuple(re.findall(r"cp -r \S+ (\S+)", text))  # what a page tells the reader to make is there from then on
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{page.relative_to(ROOT)}:{number}"
        if FENCE.match(line):
            fenced = not fenced
            continue
        if fenced:
            for target in TARGET.findall(line.split("#")[0]):
                if target not in targets:
                    yield f"{where}: there is no `make {target}`"
        else:
            yield from (
                f"{where}: broken link {link}" for link in LINK.findall(line) if not leads_somewhere(page, link)
            )
        for name in OUR_FILE.findall(line):
            if not (ROOT / name).exists() and not name.startswith(made):
                yield f"{where}: there is no {name}"
        for module in OUR_MODULE.findall(line):
            if not (ROOT / (module.replace(".", "/") + ".py")).exists():
                yield f"{where}: there is no module {module}"


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link is to another site, or to a file and, in Markdown, a heading that are there."""
    if re.match(r"[a-z]+:", link):
        return True
    name, _, heading = link.partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return False
    return not heading or path.suffix != ".md" or heading in anchors(path)


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub turns them into anchors."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("#").strip() for line in lines if re.match(r"#{1,6} ", line)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


if __name__ == "__main__":
    run_cli(main)
