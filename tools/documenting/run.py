"""Runs a page's blocks as a reader would: in a fresh copy of the project, from top to bottom.

The bash blocks of a page are one bash session under `set -eu -o pipefail`. In its script every command stands on the
line it has on the page, so $LINENO is the page's. The python blocks run in their order, in one other process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.documenting.blocks import SETUPS, Page
from utils.errors import UserError

TAIL = 25  # last lines of output that a failure shows
TIMEOUT = 600.0  # seconds for a page
BETWEEN_LOOKS = 0.05  # seconds
PATIENCE = 10.0  # seconds that a page's processes have to end before they are killed

# sourced by bash before the script; the page's setup is part of the session, so it may export variables
PRELUDE = """\
unset BASH_ENV
set -eu -o pipefail
_python() {{ local answer=; echo "$1" >&{request}; read -r answer <&{answer} || true; [ "$answer" = 0 ]; }}
{setup}
cd {project}
trap 'echo "$LINENO" >{step}' DEBUG
"""


@dataclass(frozen=True)
class Outcome:
    """The result of a page. problem: `line: message` and the end of the output; empty if all went well."""

    page: Page
    seconds: float
    problem: str = ""


def run_page(page: Page, root: Path, *, timeout: float = TIMEOUT, stop: threading.Event | None = None) -> Outcome:
    """Runs all blocks of a page of the project in `root`, in a copy of it, until it is done or `stop` is set."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="docs-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        copy_project(root, place / "project")
        write_scripts(page, place, root)
        problem = _run(page, place, timeout, stop or threading.Event(), page.path.relative_to(root).as_posix())
    return Outcome(page, time.monotonic() - began, problem)


def copy_project(root: Path, target: Path) -> None:
    """Copies the files that git tracks and new ones that it does not ignore. Raises: UserError outside a checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=root, capture_output=True
    )
    if listed.returncode:
        raise UserError(f"{root}: documentation runs in a copy of what git tracks, and this is not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).exists():  # not if it was deleted and that is not committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name, follow_symlinks=False)


def write_scripts(page: Page, place: Path, root: Path) -> None:
    """Writes page.sh and a file for each python block; every command stands on the line it has on the page."""
    script = [""] * (max((block.last for block in page.run), default=0) + 1)
    for block in page.run:
        if block.language == "bash":
            script[block.line - 1 : block.last] = block.code
        else:
            source = place / f"block_{block.line}.py"
            source.write_text("\n" * (block.line - 1) + "\n".join(block.code) + "\n", encoding="utf-8")
            script[block.line - 1] = f"_python {source}"
    script[-1] = f"trap - DEBUG; echo end >{place / 'step'}"
    (place / "page.sh").write_text("\n".join(script) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _interpreter(page: Page, place: Path, log: IO[bytes], name: str) -> Iterator[tuple[int, int]]:
    """Starts the interpreter of the page's python blocks; gives the descriptors for requests and for answers."""
    to_python, request = os.pipe()
    answer, from_python = os.pipe()
    server = None
    try:
        if any(block.language == "python" for block in page.run):
            server = subprocess.Popen(
                [sys.executable, "-m", "tools.documenting.python", name, str(to_python), str(from_python)],
                cwd=place / "project",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(to_python, from_python),
                start_new_session=True,
            )
        os.close(to_python)
        os.close(from_python)
        yield request, answer
    finally:
        os.close(request)
        os.close(answer)
        if server is not None:
            _end(server)


def _run(page: Page, place: Path, timeout: float, stop: threading.Event, name: str) -> str:
    """Runs page.sh; returns what is wrong, or an empty text."""
    step, output = place / "step", place / "output"
    with output.open("ab") as log, _interpreter(page, place, log, name) as (request, answer):
        setup = f". {SETUPS}/{page.setup}.sh" if page.setup else ""
        prelude = PRELUDE.format(request=request, answer=answer, setup=setup, project=place / "project", step=step)
        (place / "prelude.sh").write_text(prelude)
        session = subprocess.Popen(
            ["bash", str(place / "page.sh")],
            cwd=place / "project",
            env=_environment() | {"BASH_ENV": str(place / "prelude.sh")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(request, answer),
            start_new_session=True,
        )
        try:
            end = time.monotonic() + timeout
            while session.poll() is None and time.monotonic() < end and not stop.wait(BETWEEN_LOOKS):
                pass
            how = f"not done after {timeout:.0f} s" if session.returncode is None else f"exit code {session.returncode}"
        finally:
            _end(session)
    reached = step.read_text().strip() if step.exists() else ""
    if reached == "end" and how == "exit code 0":
        return ""
    tail = "".join(f"\n    {line}" for line in output.read_text(errors="replace").splitlines()[-TAIL:])
    if not reached:
        return f"1: the setup {SETUPS}/{page.setup}.sh: {how}{tail}"
    if reached == "end":
        return f"1: the session: {how}{tail}"
    return f"{reached}: {how}: {_command(page, int(reached))}{tail}"


def _command(page: Page, line: int) -> str:
    """Returns the command on a line of the page, with the lines that continue it."""
    for block in page.run:
        if block.line <= line <= block.last:
            if block.language == "python":
                return "the python block"
            rest = "\n".join(block.code[line - block.line :])
            return rest.replace("\\\n", " ").split("\n")[0].strip()
    return "?"


def _environment() -> dict[str, str]:
    """Returns the caller's environment with this interpreter as `python`, and without anything that opens a window."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "BASH_ENV", "PYTHON")}
    return {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **inherited, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and everything that it started and left running."""
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
