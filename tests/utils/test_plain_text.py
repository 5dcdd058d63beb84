"""Text of strangers stays text: on a terminal, in a log and in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.table import Table

from anal_tools.tables import write_csv, write_lines
from tests.helpers.source import PLACES, python_files
from utils.cli import Progress, run_cli
from utils.console import TextConsole
from utils.errors import UserError
from utils.files import ROOT
from utils.plain_text import TextOnly, one_line, printable, write_rows
from utils.run.folder import RunFolder

EVIL = "a\x1b]0;title\x07\x1b[2Jb\rc\x9b31m\u202ed\u2028e"
HARMLESS = r"a\u001b]0;title\u0007\u001b[2Jb\u000dc\u009b31m\u202ed\u2028e"
# what lists and labels hold is read back by the project, so it stays as it is
ROWS_THAT_ARE_DATA = {
    "datasets/spans/format.py",
    "tools/checking/fix.py",
    "tools/dumping/video_lists.py",
    "tools/listing/list_files.py",
}


def run_and_read(main: object, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit):
        run_cli(main, [])  # type: ignore[arg-type]
    assert [sys.stdout, sys.stderr] == streams
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return out, err


def test_controls_are_escaped_and_everything_else_stays() -> None:
    assert printable(EVIL) == HARMLESS
    for harmless in ("jump, then fall\t3\n", "跑步", "يمشي", "naïve 👍🏽", r"C:\x", os_path := "caf\udce9"):
        assert printable(harmless) == harmless
    assert one_line("a\nerror: b\tc") == r"a\u000aerror: b\u0009c" and one_line(os_path) == os_path
    assert printable(printable(EVIL)) == HARMLESS
    assert json.loads(printable(json.dumps(EVIL, ensure_ascii=False))) == EVIL


def test_a_command_prints_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(argv: object) -> None:
        sys.stdout.write(f"name: {EVIL}\n")
        sys.stderr.write(f"{EVIL}\n")
        sys.stdout.writelines([EVIL])
        raise UserError(f"{EVIL}\nx")

    out, err = run_and_read(main, monkeypatch)
    assert out == f"name: {HARMLESS}\n{HARMLESS}"
    assert err.startswith(f"{HARMLESS}\nerror: ") and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", err)
    assert err.count("\n") == 2


def test_a_command_can_start_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda argv: None, [])
    assert ended.value.code == 0


def test_tables_and_bars_keep_their_own_codes_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", TextOnly(stream))
    table = Table("[link=x]head")
    table.add_row(f"[red]{EVIL}")
    TextConsole(force_terminal=True, width=200, color_system="standard").print(table)
    assert "\x1b[1m" in stream.getvalue() and "[link=x]head" in stream.getvalue()
    assert f"[red]{HARMLESS}" in stream.getvalue()

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", TextOnly(shown))
    with Progress(3, unit="videos") as progress:
        progress.note(EVIL)
        progress.advance(1, f"[red]{EVIL}")
    assert "\x1b[2K" in shown.getvalue()  # the bar erases its own line
    assert HARMLESS in shown.getvalue() and "\x1b]" not in shown.getvalue() and "\x9b" not in shown.getvalue()


def test_a_log_holds_text_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(tmp_path) as folder:
        folder.warn(f"class {EVIL!s}".replace("\r", "").replace("\u2028", ""))
        folder.show("shown \x1b[2J")
    written = (tmp_path / "log.txt").read_text() + capsys.readouterr().out
    assert written.count(r"\u001b[2J") == 3 and "\x1b" not in written


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("+1+cmd", "'+1+cmd"),
        ("-x.mp4", "'-x.mp4"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("\t=1", r"\u0009=1"),
        ("a\r=1\n=2", r"a\u000d=1\u000a=2"),
        ("-3.25", "-3.25"),
        ("+1e-05", "+1e-05"),
        (-3.25, "-3.25"),
        (None, ""),
        ("a - b = c", "a - b = c"),
        ("", ""),
    ],
)
def test_a_cell_is_never_a_formula(cell: object, written: str) -> None:
    file = io.StringIO()
    write_rows(file, [[cell, "x"]])
    assert list(csv.reader(io.StringIO(file.getvalue()))) == [[written, "x"]]


def test_the_files_of_an_analysis_hold_text_only(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["=head"], [[EVIL], ["@x"]])
    assert (tmp_path / "a.csv").read_text().splitlines() == ["'=head", HARMLESS, "'@x"]
    write_lines(tmp_path / "a.txt", [f"a\t{EVIL}"])
    assert (tmp_path / "a.txt").read_text() == f"a\t{HARMLESS}\n"


def test_nothing_else_writes_tables_or_draws_on_the_terminal() -> None:
    found = {
        str(path.relative_to(ROOT))
        for place in PLACES
        for path in python_files(place)
        if re.search(r"csv\.(writer|DictWriter)|rich\.console|__stdout__|__stderr__", path.read_text(encoding="utf-8"))
    }
    assert found == ROWS_THAT_ARE_DATA | {"utils/plain_text.py", "utils/console.py"}
