"""main.py --evaluate --fusion-list: several checkpoints and results as one evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.experiment import CLASSES, make_experiment, run
from tests.helpers.trained import CLIP, TSN, write_checkpoint
from tests.integration.interruptions import finish, start
from utils.errors import UserError
from utils.scoring.evaluation import Evaluation
from utils.scoring.result_files import SCORES, read_results


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A config, and two checkpoints of other architectures than its own."""
    root = tmp_path_factory.mktemp("fusion")
    config = make_experiment(root, train=2, val=5)
    about = {"num_class": 2, "class_names": CLASSES}
    return config, write_checkpoint(root / "tsn", TSN, **about), write_checkpoint(root / "clip", CLIP, **about)


def evaluated(config: Path, *arguments: str | Path) -> Evaluation:
    assert run(config, "--evaluate", *map(str, arguments)) == 0
    results = read_results(config.parent)
    assert results.scores is not None
    return results


def test_logits_or_scores_of_checkpoints_and_results_are_averaged(networks: tuple[Path, Path, Path]) -> None:
    config, one, two = networks
    fuse = ["--fusion-list", one, two]
    alone = [evaluated(config, *fuse, "--fuse-prob", "--fuse-weights", *weights) for weights in ("10", "01")]
    first, second = (results.scores.astype(np.float64) for results in alone)
    assert abs(first - second).max() > 0.01 and alone[0].class_names == CLASSES
    np.testing.assert_allclose(evaluated(config, *fuse, "--fuse-prob").scores, (first + second) / 2, atol=1e-6)
    powers = np.sqrt(first * second)
    both = evaluated(config, *fuse, "common.batch_size=2")  # an override behind the list is none of its files
    np.testing.assert_allclose(both.scores, powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert f"mean of logits: 1 x {one} (" in both.protocol and f"1 x {two} (" in both.protocol

    kept = config.parent.parent / "kept.npz"
    (config.parent / SCORES).rename(kept)
    again = evaluated(config, "--fusion-list", kept, one, "--fuse-weights", "2", "1")
    powers = np.cbrt(both.scores.astype(np.float64) ** 2 * first)
    np.testing.assert_allclose(again.scores, powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert again.paths == both.paths and (again.labels == both.labels).all()


@pytest.mark.long
@pytest.mark.gloo
def test_two_processes_fuse_to_the_same(networks: tuple[Path, Path, Path]) -> None:
    config, one, two = networks
    alike = "common.batch_size=1"  # the same batches in both, so the same arithmetic
    expected = evaluated(config, "--fusion-list", one, two, alike)
    codes = finish(start(config, 2, "--evaluate", "--fusion-list", str(one), str(two), alike))
    assert codes == [0, 0], (config.parent / "output_0.txt").read_text()
    found = read_results(config.parent)
    assert found.paths == expected.paths
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_what_cannot_be_fused_is_one_line(networks: tuple[Path, Path, Path], tmp_path: Path) -> None:
    config, one, _ = networks
    wide = write_checkpoint(tmp_path / "wide", TSN, num_class=3)
    named = write_checkpoint(tmp_path / "named", TSN, num_class=2, class_names=["bright", "dark"])
    sets = write_checkpoint(tmp_path / "sets", TSN, num_class=2, multi_label=True)
    before = {path: path.read_bytes() for path in config.parent.glob("reference_*")}
    for arguments, words in (
        (["--fusion-list", one, one], "needs --evaluate"),
        (["--evaluate", "--fuse-prob"], "at least two"),
        (["--evaluate", "--fusion-list", one], "at least two"),
        (["--evaluate", "--fusion-list", one, one, "--load-path", one], "give one of them"),
        (["--evaluate", "--fusion-list", one, one, "--fuse-weights", "1"], "2 numbers from 0 on"),
        (["--evaluate", "--fusion-list", one, wide], "num_class 3 and multi_label False, this one 2 and False"),
        (["--evaluate", "--fusion-list", one, sets], "multi_label True"),
        (["--evaluate", "--fusion-list", one, named], "class"),
        (["--evaluate", "--fusion-list", one, tmp_path / "none.pth"], "none.pth: no such checkpoint"),
        (["--evaluate", "--fusion-list", one, tmp_path], "no results yet"),
    ):
        with pytest.raises(UserError, match=words):
            run(config, *map(str, arguments))
    assert before == {path: path.read_bytes() for path in config.parent.glob("reference_*")}
