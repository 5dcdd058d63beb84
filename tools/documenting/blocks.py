"""Finds the code blocks of documentation pages and decides which of them run. Runs nothing itself.

On the line just above a fence, `<!-- not run: WHY -->` exempts it, and `<!-- run as: COMMANDS -->` says what runs in
its place. A page names what it needs with `<!-- setup: NAME -->`, for tests/docs/setups/NAME.sh.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SETUPS = "tests/docs/setups"  # below the project's root
LANGUAGES = ("bash", "python")
_FENCE = re.compile(r"(\s*)(`{3,}|~{3,})\s*(\w*)")
_MARK = re.compile(r"(not run|run as|setup):\s*(.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"<[A-Za-z][\w -]*>|(?<!\S)\.\.\.(?!\S)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_COMMAND = re.compile(r"(?:\$ )?(?:python3?|pip|make|git|torchrun|srun|sbatch|docker|cd|cp|exps/\S+\.sh|sh|bash) ")


@dataclass(frozen=True)
class Block:
    """One fence in a language that runs.

    line: number of its first line on the page, from 1.
    code: what runs, by lines of the page.
    exempt: why it does not run; empty when it does.
    """

    line: int
    language: str
    code: tuple[str, ...]
    exempt: str = ""

    @property
    def last(self) -> int:
        """Number of its last line on the page."""
        return self.line + len(self.code) - 1


@dataclass(frozen=True)
class Page:
    """The blocks of one page.

    setup: name of the script that the page needs; empty if it needs none.
    problems: (line, message) for marks and blocks that cannot work.
    """

    path: Path
    setup: str
    blocks: tuple[Block, ...]
    problems: tuple[tuple[int, str], ...]

    @property
    def run(self) -> list[Block]:
        """Blocks that run, in order."""
        return [block for block in self.blocks if not block.exempt]

    @property
    def exempt(self) -> list[Block]:
        """Blocks that do not run."""
        return [block for block in self.blocks if block.exempt]


def read_page(path: Path, root: Path) -> Page:
    """Reads a page of the project in `root`."""
    blocks: list[Block] = []
    problems: list[tuple[int, str]] = []
    setup = ""
    for kind, line, language, lines, mark in _pieces(path.read_text(encoding="utf-8").splitlines()):
        match = _MARK.fullmatch(mark[1].strip()) if mark else None
        if match and mark and match[1] == "setup":
            setup, match = match[2].strip(), None
            if not (root / SETUPS / f"{setup}.sh").exists():
                problems.append((mark[0], f"there is no {SETUPS}/{setup}.sh"))
        if kind == "comment":
            if match:
                problems.append((line, f"`{match[1]}` is not on the line above a block"))
            continue
        if language not in LANGUAGES:
            if match:
                problems.append((line, f"`{match[1]}` above a block that never runs"))
            elif not language and lines and _COMMAND.match(lines[0]):
                problems.append((line, "commands in a fence without a language: write ```bash"))
            continue
        block = Block(line, language, tuple(lines))
        if match and match[1] == "not run":
            block = Block(line, language, tuple(lines), exempt=" ".join(match[2].split()) or "no reason given")
            if not match[2].strip():
                problems.append((line, "`not run` without a reason"))
        elif match and mark:
            first = mark[0] + mark[1][: mark[1].index(match[2])].count("\n")
            block = Block(first, language, tuple(match[2].rstrip().split("\n")))
        blocks.append(block)
        problems += [(number, what) for number, what in _faults(block)]
    return Page(path, setup, tuple(blocks), tuple(problems))


def _pieces(lines: list[str]) -> Iterator[tuple[str, int, str, list[str], tuple[int, str] | None]]:
    """Yields (kind, line, language, lines, mark) for every fence, and for every comment that does not mark a fence.

    mark: first line and text of the comment that ends just above the fence; for a comment, the comment itself.
    """
    number = 0
    mark: tuple[int, str] | None = None
    while number < len(lines):
        if fence := _FENCE.match(lines[number]):
            first = number = number + 1
            while number < len(lines) and not re.fullmatch(rf"\s*{fence[2]}\s*", lines[number]):
                number += 1
            indent = len(fence[1])
            inside = [line[:indent].lstrip() + line[indent:] for line in lines[first:number]]
            yield "fence", first + 1, fence[3], inside, mark
            mark = None
        else:
            if mark:
                yield "comment", mark[0], "", [], mark
                mark = None
            if lines[number].lstrip().startswith("<!--"):
                first = number
                while "-->" not in lines[number] and number + 1 < len(lines):
                    number += 1
                text = "\n".join(lines[first : number + 1]).strip()
                mark = first + 1, text.removeprefix("<!--").removesuffix("-->")
        number += 1
    if mark:
        yield "comment", mark[0], "", [], mark


def _faults(block: Block) -> Iterator[tuple[int, str]]:
    """Yields (line, message) for what keeps a block from running, as far as it shows without running it."""
    if block.exempt:
        return
    if block.language == "python":
        try:
            compile("\n".join(block.code), "block", "exec")
        except SyntaxError as error:
            yield block.line + (error.lineno or 1) - 1, f"python: {error.msg}"
        return
    for number, line in enumerate(block.code, start=block.line):
        if found := _PLACEHOLDER.search(_COMMENT.sub("", line)):
            yield (
                number,
                f"the placeholder {found[0]} cannot run: say above the block what runs instead, `<!-- run as: ... -->`",
            )
            return
    checked = subprocess.run(["bash", "-n"], input="\n".join(block.code) + "\n", capture_output=True, text=True)
    if checked.returncode:
        yield block.line, checked.stderr.strip().splitlines()[0]
