"""How commands start: --help and wrong arguments are answered before anything heavy is imported."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import traceback
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


@pytest.mark.whole
def test_help_and_a_wrong_option_are_answered_without_heavy_imports() -> None:
    assert len(COMMANDS) > 25
    check_light(COMMANDS)


def test_main_answers_help_and_a_wrong_option_without_heavy_imports() -> None:
    check_light(["main.py"])


def test_published_weights_are_listed_without_heavy_imports() -> None:
    cases = [("tools/weights.py", "module", words) for words in (["tsm", "kinetics400"], ["show", "no/such"])]
    (listed, printed, imported), (unknown, _, nothing) = starts(cases)
    assert (listed, imported) == (0, set()) and "kinetics400/tsm_r50_8f_mmaction2" in printed
    assert (unknown, nothing) == (2, set())


def test_the_driver_sees_a_heavy_import_and_a_crash(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text("import numpy\nprint('usage: x')\n")
    (tmp_path / "broken.py").write_text("raise SystemExit(7)\n")
    cases = [(str(tmp_path / name), "file", []) for name in ("heavy.py", "broken.py")]
    (code, printed, imported), (broken, _, nothing) = starts(cases)
    assert (code, printed, imported) == (0, "usage: x", {"numpy"})
    assert (broken, nothing) == (7, set())


POSIX_MODULES = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog")
POSIX_NAMES = {
    os: "fork forkpty sched_getaffinity fchmod chown getuid geteuid getgid uname killpg setsid register_at_fork mkfifo "
    "statvfs nice getloadavg O_DIRECTORY",
    signal: "SIGUSR1 SIGUSR2 SIGCHLD SIGKILL SIGHUP SIGALRM SIGPIPE alarm setitimer pause",
    socket: "AF_UNIX",
}


def test_main_and_every_command_start_without_what_only_posix_has(tmp_path: Path) -> None:
    """As far as Linux can show it, this is how Windows sees them."""
    # a fork: of third-party packages it needs to import only what the tests have not imported yet
    child = multiprocessing.get_context("fork").Process(target=_start_as_on_windows, args=(tmp_path / "out",))
    child.start()
    child.join(240)
    assert child.exitcode == 0, (tmp_path / "out").read_text()
    assert (tmp_path / "out").read_text().count("usage: ") == len(COMMANDS) + 1


def _start_as_on_windows(output: Path) -> None:
    places = {"main", "utils", "networks", "datasets", "methods", "tools", "anal_tools", "vmz", "hubconf"}
    for name in [name for name in sys.modules if name.split(".")[0] in places]:
        del sys.modules[name]
    with output.open("w") as file:
        sys.stdout = sys.stderr = file
        try:
            for name in POSIX_MODULES:
                sys.modules[name] = None  # type: ignore[assignment]
            for module, names in POSIX_NAMES.items():
                for name in names.split():
                    delattr(module, name)
            files = [path for place in places for path in (ROOT / f"{place}.py", *(ROOT / place).rglob("*.py"))]
            for path in sorted(path.relative_to(ROOT) for path in files if path.exists()):
                importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
            for command in ("main.py", *COMMANDS):
                with pytest.raises(SystemExit, match=r"^0$"):
                    sys.modules[command.removesuffix(".py").replace("/", ".")].main(["--help"])
            code = 0
        except BaseException:
            traceback.print_exc(file=file)
            code = 1
    os._exit(code)


def test_choices_that_parsers_write_out_are_those_of_the_code() -> None:
    assert tuple(flow.ALGORITHMS) == dump_flow.ALGORITHMS
    assert flow.BOUND == dump_flow.BOUND
