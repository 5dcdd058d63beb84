"""A damaged file of any kind is read or refused in one line, in bounded time and memory, and does nothing else."""

from __future__ import annotations

import ctypes
import io
import os
import random
import signal
import socket
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import forks
from tests.fuzz.__main__ import PAGE, TABLE, table
from tests.fuzz.campaign import Campaign, Tried
from tests.fuzz.forks import Outcome, prepare_to_fork, read_in_fork
from tests.fuzz.kinds import KINDS
from tests.fuzz.mutate import damaged
from utils.errors import UserError

INPUTS = 10  # of each kind
HOUR = float(os.environ.get("FUZZ_SECONDS", 3600))
# their examples are parts of networks, which no method has
PARTS = {name for name in KINDS if name.startswith("checkpoint, ")}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.whole
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, campaign: Campaign) -> None:
    whole = campaign.once(name, None)
    assert whole.code == (2 if name in PARTS else 0) and not whole.problem, whole.printed
    for seed in range(INPUTS):
        outcome = campaign.once(name, seed)
        assert not outcome.problem, (
            f"{outcome.problem}: python -m tests.fuzz --kind {name!r} --seed {seed}\n{outcome.printed[-3000:]}"
        )


@pytest.mark.slow
def test_an_hour_of_damaged_files(campaign: Campaign) -> None:
    for name, seed, outcome in campaign.run(HOUR, first=1000):
        assert not outcome.problem, f"{name}, seed {seed}: {outcome.problem}\n{outcome.printed[-3000:]}"


def test_a_seed_damages_always_alike_and_seeds_differ(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    copies = []
    for seed in (*range(6), *range(6)):
        work = campaign.copy("list, CSV, class file", seed)
        copies.append([path.read_bytes() for path in sorted(work.iterdir())])
    assert copies[:6] == copies[6:] and len({repr(copy) for copy in copies}) == 6


def test_damage_reaches_the_inside_of_archives_with_right_sums() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"0123456789" * 20)
    contents = set()
    for seed in range(60):
        try:
            with zipfile.ZipFile(io.BytesIO(damaged(file.getvalue(), random.Random(seed)))) as archive:
                contents.add(archive.read("a"))
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, NotImplementedError):
            continue
    assert len(contents) > 15


# --- what would be noticed


def _loop() -> None:
    while True:
        pass


def _hoard() -> None:
    # every page; what this process has in common with its parent is not counted twice
    kept = bytearray(1200 << 20)
    kept[:: 1 << 12] = b"x" * (len(kept) >> 12)


def _fail() -> None:
    raise KeyError("x")


def _print_traceback() -> None:
    try:
        _fail()
    except KeyError:
        traceback.print_exc()


def _connect() -> None:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", 1))


def _refuse() -> None:
    raise UserError("x: is damaged")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (_loop, "takes too long"),
        (_hoard, "MiB"),
        (_fail, "ends with code 1"),
        (_print_traceback, "prints a traceback"),
        (lambda: sys.exit(2), "ends with code 2 without an error"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "killed by SIGSEGV"),
        (lambda: ctypes.string_at(8), "killed by SIGSEGV"),
        (lambda: os.write(1, b"\x1b[2J"), "prints control characters"),
        (lambda: os.system("true"), "does what no file may do"),
        (lambda: subprocess.run(["true"]), "does what no file may do"),
        (_connect, "does what no file may do"),
        (lambda: Path("/tmp/../tmp/elsewhere").write_text("x"), "does what no file may do"),
        (lambda: Path("here").write_text("x"), ""),
        (_refuse, ""),
        (lambda: None, ""),
    ],
)
def test_what_a_file_must_not_do_is_noticed(
    read: Callable[[], object], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "SECONDS", forks.SECONDS if read is _hoard else 1)
    prepare_to_fork()
    found = read_in_fork(read, tmp_path)
    assert (problem in found.problem) if problem else not found.problem, found


def test_the_page_has_the_table_that_the_command_prints() -> None:
    tried = {name: Tried() for name in KINDS}
    for one in tried.values():
        one.add(0, Outcome(0, 0.1, 1.0, "", ""))
    (shown,) = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    heads = [line.split("|")[1] for line in table(tried).splitlines()]
    assert [line.split("|")[1] for line in shown.splitlines()] == heads
