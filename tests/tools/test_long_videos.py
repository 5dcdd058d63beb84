"""Three hours of video need no more memory than three minutes, in every tool that looks at videos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.make_video import make_video
from tests.helpers.requirements import ROOT
from tests.helpers.run_tool import ENVIRONMENT
from tests.helpers.trained import TSN, UNI, write_checkpoint

FRAMES = {"three minutes": 180, "three hours": 3 * 3600}  # one a second: what could pile up is per frame or per window
PEAK = """
import importlib, sys
from utils.system import peak_memory
assert importlib.import_module(sys.argv[1]).main(sys.argv[2:]) == 0
print("peak", peak_memory() // 1024**2)
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [make_video(folder / f"{name}.mp4", "mpeg4", frames=frames, fps=1) for name, frames in FRAMES.items()]


def peak(tool: str, *arguments: object) -> int:
    """Megabytes that a process of its own needed at most."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, tool, *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.whole
@pytest.mark.parametrize(
    ("tool", "output"),
    [
        pytest.param("tools.predict", [], marks=pytest.mark.long),
        pytest.param("tools.segment", ["--out", "out.json"], marks=pytest.mark.slow),
        pytest.param("tools.predict", ["--annotate", "out.mp4"], marks=pytest.mark.slow),
        pytest.param("tools.extract_features", ["out.npz", "--window", "60"], marks=pytest.mark.slow),
        pytest.param("tools.cam", ["out.mp4", "--window", "60"], marks=pytest.mark.slow),
        pytest.param("tools.stream", ["--every", "10"], marks=pytest.mark.slow),
    ],
)
def test_peaks_are_within_50_megabytes(tool: str, output: list[str], videos: list[Path], tmp_path: Path) -> None:
    ckpt = write_checkpoint(tmp_path, UNI if tool == "tools.stream" else TSN)
    targets = [[str(tmp_path / f"{place} {word}") if word.startswith("out.") else word for word in output]
               for place in range(2)]  # fmt: skip
    short, long = (peak(tool, ckpt, video, *target) for video, target in zip(videos, targets, strict=True))
    assert long - short < 50
