"""Which blocks of a page run, and what is wrong with those that cannot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT
from tools.check_docs import pages_with_blocks
from tools.documenting.blocks import Page, read_page

# Pages with blocks that CI does not run, and how many. A new one needs a reason that holds.
EXEMPT = {
    "CONTRIBUTING.md": 6,
    "README.md": 2,
    "docs/adapters.md": 1,
    "docs/container.md": 1,
    "docs/predict.md": 4,
    "docs/weights.md": 3,
}
EXEMPT |= {f"docs/from_{other}.md": 1 for other in ("mit_tsm", "mmaction2", "pyslowfast", "torchvision", "vmz")}
EXEMPT |= {"docs/temporal.md": 2, "docs/first_day.md": 1}


def page(folder: Path, text: str) -> Page:
    (folder / "page.md").write_text(text)
    return read_page(folder / "page.md", folder)


def test_the_exempt_blocks_of_the_documentation_are_counted() -> None:
    counts = {path.relative_to(ROOT).as_posix(): len(read_page(path, ROOT).exempt) for path in pages_with_blocks()}
    assert {name: count for name, count in counts.items() if count} == EXEMPT


def test_a_block_runs_from_its_own_line(tmp_path: Path) -> None:
    blocks = page(tmp_path, "# A\n\n```bash\ncd docs\n\nls\n```\n\n```text\nls\n```\n\n```python\nx = 1\n```\n").blocks
    assert [(block.language, block.line, block.code) for block in blocks] == [
        ("bash", 4, ("cd docs", "", "ls")),
        ("python", 14, ("x = 1",)),
    ]


def test_a_block_in_a_list_loses_the_indentation_of_its_fence(tmp_path: Path) -> None:
    (block,) = page(tmp_path, "* so:\n\n  ```python\n  if True:\n      x = 1\n  ```\n").blocks
    assert block.code == ("if True:", "    x = 1")


def test_not_run_exempts_a_block_and_keeps_the_reason(tmp_path: Path) -> None:
    read = page(tmp_path, "<!-- not run: no\ncamera -->\n```bash\nshow <camera>\n```\n")
    assert [block.exempt for block in read.exempt] == ["no camera"]
    assert not read.run and not read.problems


def test_run_as_replaces_what_runs_and_keeps_its_lines(tmp_path: Path) -> None:
    read = page(tmp_path, "# A\n<!-- run as:\none --two\nthree\n-->\n```bash\none <number>\n```\n")
    assert [(block.line, block.code) for block in read.run] == [(3, ("one --two", "three"))]
    (block,) = page(tmp_path, "# A\n<!-- run as: one --two -->\n```bash\none <number>\n```\n").run
    assert (block.line, block.code) == (2, ("one --two",))


def test_a_setup_may_stand_anywhere_also_above_a_block(tmp_path: Path) -> None:
    (tmp_path / "tests/docs/setups").mkdir(parents=True)
    (tmp_path / "tests/docs/setups/mini.sh").touch()
    for gap in ("", "\n"):
        read = page(tmp_path, f"<!-- setup: mini -->\n{gap}```bash\nls\n```\n")
        assert read.setup == "mini" and len(read.run) == 1 and not read.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```bash\ntrain.sh <Slurm partition> 8\n```\n", (2, "placeholder <Slurm partition>")),
        ("```bash\ngit clone ... && ls\n```\n", (2, r"placeholder \.\.\.")),
        ("```bash\necho 'a\n```\n", (2, "unexpected EOF")),
        ("```python\nx = 1\nx =\n```\n", (3, "python: invalid syntax")),
        ("```\nmake test\n```\n", (2, "without a language")),
        ("<!-- not run: -->\n```bash\nls\n```\n", (3, "without a reason")),
        ("<!-- not run: why -->\n\n```bash\nls\n```\n", (1, "not on the line above")),
        ("<!-- not run: why -->\n```text\nls\n```\n", (3, "never runs")),
        ("<!-- setup: nothing -->\n", (1, r"there is no tests/docs/setups/nothing\.sh")),
    ],
)
def test_what_cannot_work_is_told_with_its_line(tmp_path: Path, text: str, problem: tuple[int, str]) -> None:
    ((line, what),) = page(tmp_path, text).problems
    assert line == problem[0]
    assert re.search(problem[1], what)


def test_redirections_and_comments_are_no_placeholders(tmp_path: Path) -> None:
    text = "```bash\nsort <in.txt >out.txt  # or <another file>\ndiff <(ls a) <(ls b)\n```\n"
    assert not page(tmp_path, text).problems
