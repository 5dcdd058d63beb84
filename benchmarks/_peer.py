"""Runs mmaction2's reader in an environment of its own, and times it through a pipe in turn with ours.

The environment uses our torch, numpy and OpenCV (one build for both sides) and takes the peer from the package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks._readers import Reader
from benchmarks._workload import Key, Workload
from utils.errors import UserError

# the peer and what its transforms import, without their dependencies, which would replace OpenCV
PACKAGES = (
    "mmaction2==1.2.0",
    "mmengine",
    "mmcv-lite<2.2",
    "addict",
    "yapf",
    "platformdirs",
    "termcolor",
    "scipy",
    "simplejpeg",
)
_DRIVER = Path(__file__).with_name("_peer_mmaction2.py")


def make_environment(folder: Path, packages: Sequence[str] = PACKAGES) -> Path:
    """Makes the environment with these packages, unless it exists already; returns its interpreter."""
    python = folder / "bin" / "python"
    if (folder / ".installed").exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    (Path(site.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *packages]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise UserError(f"pip could not install the peer into {folder}; without --peer the rest still runs")
    (folder / ".installed").touch()
    return python


class Peer:
    """The process in the other environment. Leaving its `with` block ends the process."""

    def __init__(self, python: Path, workload: Workload) -> None:
        self.workload = workload
        self._process = subprocess.Popen(
            [str(python), str(_DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        records, store = workload.records, workload.store
        self._say(
            {
                "root": str(Path(store.root).resolve()),
                "videos": [[records.path(index), int(records.num_frames[index])] for index in range(len(records))],
                "template": store.template,
                "first_frame": store.first_frame,
                "segments": workload.segments,
                "input_size": workload.input_size,
                "batch_size": workload.batch_size,
            }
        )
        if self._hear() != "ready":
            raise UserError(f"the peer in {python} does not start; its own message is above")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def ask(self, name: str, keys: Sequence[Key]) -> tuple[float, float]:
        """Lets the reader `name` make one batch, or its workers many; returns wall and CPU seconds by its clocks."""
        self._say([name, [index for _, index in keys]])
        answer = self._hear()
        if not answer:
            raise UserError(f"the peer's {name} died; its own message is above")
        wall, cpu = json.loads(answer)
        return wall, cpu

    def _say(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class PeerReader(Reader):
    """One of the peer's readers, with the interface of ours."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer, self.name = peer, name

    def seconds(self, keys: Sequence[Key]) -> tuple[float, float]:
        """Returns wall and CPU seconds in the peer's process."""
        return self.peer.ask(self.name, keys)
