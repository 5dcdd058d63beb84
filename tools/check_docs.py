"""Checks README and docs/: every relative link and picture, and every file that a command names, must exist.

With --run it also runs every bash and python block of README.md, CONTRIBUTING.md, exps/README.md and docs/, each page
in a copy of the project (tools/documenting/blocks.py explains the marks that a page can set). Prints one line per
problem as `file:line: what`, for a block with the end of its output, and lists the blocks that are exempt with their
reasons. Exit code 1 when there are any problems.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if not __package__:  # started as `python tools/check_docs.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tools.documenting.blocks import SETUPS, read_page
from tools.documenting.run import TIMEOUT, run_page
from utils.cli import Parser, positive_float, positive_int, run_cli
from utils.errors import UserError
from utils.files import ROOT
from utils.system import cores

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*```(\w*)")
OUR_FILE = re.compile(r"(?<![\w./-])((?:tools|anal_tools|benchmarks|exps|examples|tests)/[\w./-]+\.(?:py|sh|yaml))")
OUR_MODULE = re.compile(r"-m ((?:tools|anal_tools|benchmarks)\.\w+)")
TARGET = re.compile(r"(?:^|[\s;&])make ([a-z]+)")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the problems; returns 1 when there are any."""
    parser = Parser(prog="check_docs.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the code blocks too")
    parser.add_argument(
        "--page", type=Path, action="append", metavar="FILE", help="check only this page; may be repeated"
    )
    parser.add_argument(
        "--jobs", type=positive_int, default=min(cores(), 4), help="pages at a time (default: one per core, at most 4)"
    )
    parser.add_argument(
        "--timeout",
        type=positive_float,
        default=TIMEOUT,
        help="time limit in seconds for one page (default %(default)g)",
    )
    args = parser.parse_args(argv)
    pages = sorted({*ROOT.glob("*.md"), *(ROOT / "tests").glob("*.md"), *pages_with_blocks()})
    if args.page:
        pages = [page.resolve() for page in args.page]
        for page in pages:
            if not page.is_file() or not page.is_relative_to(ROOT):
                raise UserError(f"--page {page}: no such page in the project")
    problems = [problem for page in pages for problem in problems_of(page)]
    for problem in problems:
        print(problem)
    if args.run and not hasattr(os, "killpg"):
        raise UserError("--run: pages run in bash and in process groups, which this system lacks; links can be checked")
    failed = run_blocks([page for page in pages if page in pages_with_blocks()], args) if args.run else 0
    print(f"{len(pages)} pages, {len(problems) + failed} problem(s)")
    return 1 if problems or failed else 0


def pages_with_blocks() -> list[Path]:
    """Returns the pages whose commands and code run."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "exps" / "README.md"]
    return [*pages, *sorted((ROOT / "docs").rglob("*.md"))]


def run_blocks(paths: Sequence[Path], args: argparse.Namespace) -> int:
    """Runs the pages, args.jobs at a time, and prints how each went; returns how many failed."""
    pages = [read_page(path, ROOT) for path in paths]
    stop = threading.Event()
    with ThreadPoolExecutor(args.jobs) as pool, ended(stop):  # the pages run in sessions of bash; the threads only wait
        outcomes = pool.map(
            lambda page: run_page(page, ROOT, timeout=args.timeout, stop=stop),
            [page for page in pages if page.run and not page.problems],
        )
        failed = 0
        for outcome in outcomes:
            name = outcome.page.path.relative_to(ROOT)
            print(f"{name}: {len(outcome.page.run)} blocks, {outcome.seconds:.0f} s", flush=True)
            if outcome.problem:
                print(f"{name}:{outcome.problem}", flush=True)
                failed += 1
    exempt = [(page, block) for page in pages for block in page.exempt]
    for page, block in exempt:
        print(f"{page.path.relative_to(ROOT)}:{block.line}: not run: {block.exempt}")
    print(f"{sum(len(page.run) for page in pages)} blocks run, {len(exempt)} exempt")
    return failed


@contextlib.contextmanager
def ended(stop: threading.Event) -> Iterator[None]:
    """Sets `stop` at the end, also after Ctrl-C, which the sessions of the pages do not see."""
    try:
        yield
    finally:
        stop.set()


def problems_of(page: Path) -> Iterator[str]:
    """Yields `file:line: what` for every link, file, module and make target on a page that does not exist."""
    if page in pages_with_blocks():
        yield from (f"{page.relative_to(ROOT)}:{line}: {what}" for line, what in read_page(page, ROOT).problems)
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # what a page, or its setup, creates may be named afterwards
    made = tuple(
        re.findall(r"(?:(?:cp -r|convert_checkpoint) \S+|tools\.start \S+ --out) (\S+)", setup_of(text) + text)
    )
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


def setup_of(text: str) -> str:
    """Returns the script of the setup that a page names, "" if it names no setup."""
    named = re.search(r"<!-- setup: (\w+) -->", text)
    script = ROOT / SETUPS / f"{named[1]}.sh" if named else None
    return script.read_text(encoding="utf-8") if script and script.exists() else ""


def leads_somewhere(page: Path, link: str) -> bool:
    """Returns True for a link to another site, or to an existing file and, in Markdown, an existing heading."""
    if re.match(r"[a-z]+:", link):
        return True
    name, _, heading = link.partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return False
    return not heading or path.suffix != ".md" or heading in anchors(path)


def anchors(page: Path) -> set[str]:
    """Returns the headings of a page as the anchors that GitHub makes of them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("#").strip() for line in lines if re.match(r"#{1,6} ", line)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


if __name__ == "__main__":
    run_cli(main)
