"""Kills a run that packs videos: what lies in whole tars stays, and the next run packs the rest."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.dumping import entries
from tests.helpers.numbered import write_numbers
from tests.helpers.run_tool import fork_tool, run_tool


@pytest.mark.long
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_the_next_run_packs_the_rest(signal_number: int, tmp_path: Path) -> None:
    out, videos = tmp_path / "out", tmp_path / "videos"
    names = [f"c/{number:02d}.mp4" for number in range(24)]
    (videos / "c").mkdir(parents=True)
    first = write_numbers(videos / names[0], "libx264", count=100)
    for name in names[1:]:
        (videos / name).write_bytes(first.read_bytes())
    (videos / "val.txt").write_text("".join(f"{name} 0\n" for name in names))
    given = (videos / "val.txt", "--root", videos, "--workers", 2, "--shard-mb", 0.02)
    process = fork_tool("pack_videos", out, *given)
    while not (out / "videos-00002.times").exists():
        assert process.is_alive()
        time.sleep(0.002)
    os.kill(process.pid, signal_number)
    process.join()
    assert process.exitcode == (-9 if signal_number == signal.SIGKILL else 130)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.times")}
    assert not (out / "lists").exists()
    done = run_tool("pack_videos", out, *given)
    packed = int(done.stdout.split(" of them now")[0].split()[-1])
    assert 0 < packed <= len(names) - 4, "what lies in whole tars is not packed again"
    now = {path.name: path.stat().st_mtime_ns for path in out.glob("*.times")}
    assert {line["tar"] for line in entries(out).values()} == {name.replace(".times", ".tar") for name in now}
    known = [name for name in kept if now[name] == kept[name]]
    assert len(known) >= 2, "only a tar that the manifest does not know is written again"
    assert sorted(path.name for path in out.iterdir() if "tmp" in path.name) == []
    lines = (out / "lists/val.txt").read_text().splitlines()
    assert [line.partition("/")[2] for line in lines] == [f"{name} 0" for name in names]
    assert "0 damaged" in run_tool("pack_videos", out, "--verify").stdout
