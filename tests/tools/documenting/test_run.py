"""A page's blocks run as a reader would run them, and a failure says where."""

from __future__ import annotations

import subprocess
import textwrap
import threading
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT
from tools.documenting.blocks import read_page
from tools.documenting.run import run_page
from utils.errors import UserError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with the interpreter of python blocks, one file, and one that git ignores."""
    for name in ("tools/__init__.py", "tools/documenting/python.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "here").write_text("tracked\n")
    (tmp_path / "ignored").touch()
    (tmp_path / ".gitignore").write_text("ignored\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def problem_of(project: Path, text: str, *, timeout: float = 60, setup: str = "") -> str:
    if setup:
        (project / "tests/docs/setups").mkdir(parents=True)
        (project / "tests/docs/setups/mini.sh").write_text(setup)
    page = project / "page.md"
    page.write_text(textwrap.dedent(text))
    read = read_page(page, project)
    assert not read.problems
    return run_page(read, project, timeout=timeout).problem


def test_bash_blocks_are_one_session_in_a_copy_of_what_git_tracks(project: Path) -> None:
    text = """\
        ```bash
        mkdir inner && cd inner
        name=made
        test ! -e ../ignored
        ```
        ```bash
        test "$(cat ../here)" = tracked
        touch "$name"; test -e ../inner/made
        ```
        """
    assert problem_of(project, text) == ""
    assert not (project / "inner").exists()


def test_python_blocks_are_one_interpreter_and_run_between_the_others(project: Path) -> None:
    text = """\
        ```bash
        echo 41 >number
        ```
        ```python
        number = int(open("number").read()) + 1
        ```
        ```bash
        rm number
        ```
        ```python
        from pathlib import Path

        assert number == 42 and not Path("number").exists()
        ```
        """
    assert problem_of(project, text) == ""


def test_what_a_python_block_defines_can_be_pickled(project: Path) -> None:
    text = """\
        ```python
        class Words(list):
            pass
        ```
        ```python
        import pickle

        assert type(pickle.loads(pickle.dumps(Words()))) is Words
        ```
        """
    assert problem_of(project, text) == ""


def test_a_failing_command_is_named_with_its_line_and_the_end_of_its_output(project: Path) -> None:
    text = """\
        # Title

        ```bash
        true
        ls here \\
            nowhere
        touch never
        ```
        """
    problem = problem_of(project, text)
    assert problem.startswith("5: exit code 2: ls here")
    assert "nowhere" in problem.splitlines()[0]
    assert "No such file" in problem


def test_a_failing_python_block_shows_a_traceback_with_the_lines_of_the_page(project: Path) -> None:
    problem = problem_of(project, "# Title\n```python\na = 1\n\na / 0\n```\n")
    assert problem.startswith("3: exit code 1: the python block")
    assert 'File "page.md", line 5' in problem
    assert "ZeroDivisionError" in problem


def test_a_failure_in_a_pipe_and_an_unset_variable_are_failures(project: Path) -> None:
    assert problem_of(project, "```bash\nls nowhere | cat\n```\n").startswith("2: exit code 2")
    assert problem_of(project, "```bash\necho $nowhere\n```\n").startswith("2: exit code")


def test_a_page_that_ends_early_has_not_run(project: Path) -> None:
    assert problem_of(project, "```bash\nexit 0\n```\n```bash\ntrue\n```\n").startswith("2: exit code 0: exit 0")


@pytest.mark.whole
def test_a_page_that_hangs_is_ended_with_all_that_it_started(project: Path) -> None:
    problem = problem_of(project, "```bash\nsleep 1000 &\nsleep 2000\n```\n", timeout=1)
    assert problem.startswith("3: not done after 1 s: sleep 2000")


def test_a_page_is_ended_when_told_to_stop(project: Path) -> None:
    (project / "page.md").write_text("```bash\nsleep 2000\n```\n")
    stop = threading.Event()
    stop.set()
    assert run_page(read_page(project / "page.md", project), project, stop=stop).problem


def test_a_setup_exports_into_the_session_and_its_failure_is_the_pages(project: Path) -> None:
    text = '<!-- setup: mini -->\n```bash\ntest "$GREETING" = hello\n```\n'
    assert problem_of(project, text, setup="export GREETING=hello; mkdir sub; cd sub") == ""
    (project / "tests/docs/setups/mini.sh").write_text("echo cannot; false")
    problem = problem_of(project, text)
    assert problem.startswith("1: the setup tests/docs/setups/mini.sh: exit code 1")
    assert "cannot" in problem


def test_outside_of_a_checkout_there_is_nothing_to_copy(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\ntrue\n```\n")
    with pytest.raises(UserError, match="not a git checkout"):
        run_page(read_page(page, tmp_path), tmp_path)
