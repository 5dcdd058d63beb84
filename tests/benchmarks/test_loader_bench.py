from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import _page
from benchmarks import loader as bench
from benchmarks._pairs import Times
from benchmarks._readers import BareDecode, MITReader, Ours, OursFull, PillowFull, PillowReader
from benchmarks._stages import ADVICE, WORKER_STAGES, Stages
from benchmarks._workload import BYTES, Workload, make_frames, open_frames
from utils.errors import UserError


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    root = tmp_path_factory.mktemp("frames")
    return open_frames(make_frames(root), root, segments=4, input_size=64, batch_size=2)


def times(**cpu: float) -> Times:
    names = {"ours": bench.OURS, "bare": bench.BARE, "pil": bench.MIT, "peer": bench.PEER}
    seconds = {names[name]: np.array([value, value * 2, value * 3]) for name, value in cpu.items()}
    return Times(seconds, seconds, 64)


@pytest.mark.whole
def test_made_up_frames_weigh_what_real_ones_do(workload: Workload) -> None:
    sizes = [len(data) for data in workload.store.get_many(workload.records.path(3), range(8))]
    assert np.mean(sizes) == pytest.approx(BYTES, rel=0.25)
    assert "frames 340x256 of 1" in workload.describe()


@pytest.mark.whole
def test_all_readers_make_the_batch_they_claim(workload: Workload) -> None:
    keys = workload.batch(1)
    assert keys == [(0, 2), (0, 3)] and workload.batch(16) == [(1, 0), (1, 1)]
    assert Ours(workload, workload.store).read(keys).clips.shape == (2, 1, 3, 4, 64, 64)
    assert OursFull(workload, workload.store).read(keys).shape == (2, 3, 4, 64, 64)
    assert PillowReader(workload).read(keys).shape == (2, 4, 64, 64, 3)
    assert MITReader(workload).read(keys).shape == (2, 12, 64, 64)
    assert PillowFull(workload).read(keys).shape == (2, 4, 3, 64, 64)
    bare = BareDecode(workload)
    bare.prepare(keys)
    assert [len(bare.known[key]) for key in keys] == [4, 4]


def test_below_the_gate_fails_and_says_so() -> None:
    good, slow = times(bare=0.6, ours=1.0, pil=3.0), times(bare=0.59, ours=1.0, pil=3.0)
    assert bench._passed(good) and not bench._passed(slow)
    assert not bench._passed(times(bare=0.7, ours=1.0, peer=0.9, pil=3.0))
    full = Times({name: np.ones(3) for name in (bench.FULL, bench.PILLOW_FULL)}, {}, 64)
    full = Times(full.wall, full.wall, 64)
    assert "BELOW THE GATE" in bench._verdicts(slow, full)[0]
    assert "goal reached" in bench._verdicts(times(bare=0.75, ours=1.0, pil=3.0), full)[0]
    assert "gate passed" in bench._verdicts(good, full)[0]


@pytest.mark.parametrize("slowest", [*WORKER_STAGES, "augment"])
def test_the_bottleneck_names_a_stage_and_a_setting(slowest: str) -> None:
    milliseconds = dict.fromkeys((*WORKER_STAGES, "augment", "wait"), 1.0) | {slowest: 50.0}
    stage, advice = Stages(milliseconds, 2, 64, 1000.0).bottleneck()
    assert stage == slowest and advice == ADVICE[slowest]


def test_a_section_of_the_page_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    for title, body in (("One", "first"), ("Two", "second"), ("One", "third")):
        _page.write_section(title, "python -m x", body, page)
    text = page.read_text()
    assert "first" not in text and text.index("third") < text.index("second") and text.count("## One") == 1


def test_quick_and_peer_exclude_each_other() -> None:
    with pytest.raises(UserError, match="--quick leaves the peer out"):
        bench.main(["--quick", "--peer"])


@pytest.mark.whole
def test_one_round_of_everything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = bench.main(["--quick", "--rounds", "2", "--workers", "1", "--input-size", "64", "--segments", "2"])
    printed = capsys.readouterr().out
    assert code in (0, 1)
    for row in (
        "bare cv2.imdecode",
        "ours, disk",
        "ours, packed",
        "PIL + torchvision",
        "decode",
        "wait",
        "Bottleneck:",
    ):
        assert row in printed
