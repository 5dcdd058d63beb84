from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.run_tool import run_tool
from tools import fuse
from tools.inference.fuse import search
from utils.errors import UserError
from utils.scoring import fusion
from utils.scoring.fusion import Aligned, align, read_evaluation
from utils.scoring.metrics import topk_accuracy
from utils.scoring.result_files import read_results, write_results

NAMES = ["a", "b", "c"]


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return powers / powers.sum(1, keepdims=True)


def write(folder: Path, scores: np.ndarray, labels: np.ndarray, order: np.ndarray | None = None) -> Path:
    order = np.arange(len(labels)) if order is None else order
    folder.mkdir()
    paths = [f"video {index}" for index in order]
    write_results(folder, paths=paths, labels=labels[order], scores=scores[order], class_names=NAMES, protocol="p")
    return folder


def aligned(*scores: np.ndarray) -> Aligned:
    count = len(scores[0])
    names = [str(index) for index in range(count)]
    return Aligned(["x"] * len(scores), names, np.zeros(count, np.int64), np.stack(scores), None, ["p"] * len(scores))


@pytest.fixture
def pair(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path, np.ndarray, np.ndarray, np.ndarray]:
    """A good and a weak evaluation of 60 videos, the second in another order, whose mistakes are independent."""
    labels = rng.integers(0, 3, 60)
    truth = np.eye(3)[labels]
    one, two = softmax(2 * truth + rng.normal(size=(60, 3))), softmax(truth + rng.normal(size=(60, 3)))
    return (
        write(tmp_path / "one", one, labels),
        write(tmp_path / "two", two, labels, rng.permutation(60)),
        one.astype(np.float32).astype(np.float64),
        two.astype(np.float32).astype(np.float64),
        labels,
    )


def test_scores_are_matched_by_path_and_averaged(pair: tuple, tmp_path: Path) -> None:
    first, second, one, two, labels = pair
    out = tmp_path / "out"
    assert fuse.main([str(first), str(second), "--weights", "1", "1.5", "--out", str(out)]) == 0
    fused = read_results(out)
    assert fused.scores is not None and fused.class_names == NAMES
    np.testing.assert_allclose(fused.scores, (one + 1.5 * two) / 2.5, atol=1e-6)
    np.testing.assert_array_equal(fused.labels, labels)
    assert "1.5 x" in fused.protocol


def test_geometric_mean_is_the_softmax_of_averaged_logs(pair: tuple) -> None:
    _, _, one, two, _ = pair
    found = fusion.fuse(aligned(one, two), [1, 3], logits=True)
    np.testing.assert_allclose(found, softmax((np.log(one) + 3 * np.log(two)) / 4), atol=1e-9)


def test_only_the_ratio_of_weights_counts_and_one_alone_stays(pair: tuple) -> None:
    _, _, one, two, _ = pair
    both = aligned(one, two)
    np.testing.assert_allclose(fusion.fuse(both, [2, 4], logits=False), fusion.fuse(both, [0.5, 1], logits=False))
    np.testing.assert_allclose(fusion.fuse(both, [1, 0], logits=False), one)


def test_the_search_finds_no_less_than_each_alone(pair: tuple) -> None:
    first, second, one, two, labels = pair
    results = align([read_evaluation(first), read_evaluation(second)])
    weights = search(results)
    assert sum(weights) == pytest.approx(1)
    found = topk_accuracy(fusion.fuse(results, weights, logits=False), labels)
    assert found == max(topk_accuracy(share * one + (1 - share) * two, labels) for share in np.arange(21) / 20)
    assert search(align([read_evaluation(first)] * 2)) == [0.5, 0.5]


def test_weights_found_elsewhere_are_used_here(pair: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, _, _, labels = pair
    noise = write(tmp_path / "noise", np.full((60, 3), 1 / 3), labels)
    arguments = [str(first), str(second), "--search-on", str(noise), str(first), "--out", str(tmp_path / "out")]
    assert fuse.main(arguments) == 0
    assert f"found on {noise}" in capsys.readouterr().out
    assert "found on" in read_results(tmp_path / "out").protocol


def test_mistakes_are_one_line(pair: tuple, tmp_path: Path) -> None:
    first, second, _, two, labels = pair
    fewer = write(tmp_path / "fewer", two[:50], labels[:50])
    other = write(tmp_path / "other", two, (labels + 1) % 3)
    text = write(tmp_path / "text", two, labels)
    (text / "reference_scores.npz").unlink()
    for arguments, words in (
        ([first], "at least two"),
        ([first, fewer], "'video 50' is in one of them only"),
        ([first, other], "another true class of 'video 0'"),
        ([first, text], "only whole scores can be fused"),
        ([first, tmp_path / "none"], "no such experiment folder"),
        ([first, second, "--weights", "1"], "give 2 numbers, none below 0"),
        ([first, second, "--weights", "0", "0"], "and one above"),
        ([first, second, "--out", first], "one of the folders to fuse"),
        ([first, second, "--search-on", first], "as many folders"),
    ):
        with pytest.raises(UserError, match=words):
            fuse.main([*map(str, arguments)])


def test_prints_a_table(pair: tuple) -> None:
    done = run_tool("fuse", pair[0], pair[1], "--search")
    assert "fused" in done.stdout and "so the score is too good" in done.stdout
