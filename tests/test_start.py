"""How commands start: --help and wrong arguments are answered before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.requirements import ROOT
from tests.helpers.run_tool import ENVIRONMENT
from tools import dump_flow
from utils.transforms import flow

COMMANDS = [
    path.relative_to(ROOT).as_posix()
    for folder in ("tools", "anal_tools")
    for path in sorted((ROOT / folder).glob("[a-z]*.py"))
    if "__main__" in path.read_text()
]
HEAVY = {"torch", "cv2", "torchvision", "av", "matplotlib", "timm", "numpy", "pydantic", "rich"}

# starts every command in a fork of an interpreter that has imported nothing of ours, and prints how each ended
DRIVER = """
import argparse, collections.abc, dataclasses, json, os, pathlib, runpy, sys, tempfile, typing
root, heavy = sys.argv[1], set(json.loads(sys.argv[3]))

def start(command, way, arguments, out):
    os.dup2(out.fileno(), 1), os.dup2(out.fileno(), 2)
    os.chdir(root)
    sys.argv = [command, *arguments]
    code = 0
    try:
        if way == "file":
            sys.path[0] = os.path.dirname(os.path.join(root, command))
            runpy.run_path(command, run_name="__main__")
        else:
            sys.path[0] = root
            runpy.run_module(command.removesuffix(".py").replace("/", "."), run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
    sys.stdout.flush(), sys.stderr.flush()
    print(json.dumps(sorted(heavy & sys.modules.keys())), flush=True)
    os._exit(code)

for command, way, arguments in json.loads(sys.argv[2]):
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if not child:
            start(command, way, arguments, out)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        *printed, imported = out.read().decode().strip().split("\\n")
        print(json.dumps([code, "\\n".join(printed), imported]))
"""


def starts(cases: list[tuple[str, str, list[str]]]) -> list[tuple[int, str, set[str]]]:
    """Exit code, output and heavy modules of each (command, file or module, arguments)."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(ROOT), json.dumps(cases), json.dumps(sorted(HEAVY))],
        cwd=ROOT / "docs",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(cases)
    return [(code, printed, set(json.loads(imported))) for code, printed, imported in rows]


HELP, WRONG = ["--help"], ["--no-such-option"]


def check_light(commands: list[str]) -> None:
    """Each command answers --help in both ways of starting it, and a wrong option in one line, without HEAVY."""
    cases = [(command, *how) for command in commands for how in (("file", HELP), ("module", HELP), ("module", WRONG))]
    for (command, _, arguments), (code, printed, imported) in zip(cases, starts(cases), strict=True):
        assert not imported, f"{command} {arguments} imports {sorted(imported)} before it has read its arguments"
        if arguments == HELP:
            assert code == 0 and printed.startswith("usage: "), f"{command}: {printed}"
        else:
            assert code == 2, f"{command}: {printed}"
            one_line = printed.startswith("error: ") and "\n" not in printed
            assert one_line or command == "tools/local_launch.py", f"{command}: {printed}"


def test_help_and_a_wrong_option_are_answered_without_heavy_imports() -> None:
    assert len(COMMANDS) > 25
    check_light(COMMANDS)


@pytest.mark.xfail(strict=True, reason="main.py imports everything first")
def test_main_answers_help_and_a_wrong_option_without_heavy_imports() -> None:
    check_light(["main.py"])


def test_the_driver_sees_a_heavy_import_and_a_crash(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("import numpy\nprint('usage: x')\n")
    (tmp_path / "broken.py").write_text("raise SystemExit(7)\n")
    cases = [(str(tmp_path / name), "file", []) for name in ("heavy.py", "broken.py")]
    (code, printed, imported), (broken, _, nothing) = starts(cases)
    assert (code, printed, imported) == (0, "usage: x", {"numpy"})
    assert (broken, nothing) == (7, set())


def test_choices_that_parsers_write_out_are_those_of_the_code() -> None:
    assert tuple(flow.ALGORITHMS) == dump_flow.ALGORITHMS
    assert flow.BOUND == dump_flow.BOUND
