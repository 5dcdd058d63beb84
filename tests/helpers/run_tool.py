"""Runs a tool as users do: in a process of its own, in both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.requirements import ROOT

ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def command(tool: str, *arguments: object, as_module: bool = False) -> list[str]:
    """The command line of tools/<tool>.py; `as_module` must be started in the project's folder."""
    start = ["-m", f"tools.{tool}"] if as_module else [str(ROOT / "tools" / f"{tool}.py")]
    return [sys.executable, *start, *map(str, arguments)]


def run_tool(
    tool: str, *arguments: object, as_module: bool = False, cwd: Path = ROOT, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs to the end and expects that exit code."""
    done = subprocess.run(
        command(tool, *arguments, as_module=as_module), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done
