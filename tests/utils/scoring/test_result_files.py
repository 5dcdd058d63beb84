"""Result files: what is written is read again, strange names survive, and a set that is not whole is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from utils.errors import UserError
from utils.scoring.result_files import LINES, SCORES, TEXT, read_results, write_results

PATHS = ["a/v 1 with spaces", "b/v,2;\t3", "c/视频 مقطع", os.fsdecode(b"d/latin-\xe9"), "e/ends 0.50 3 1 "]
NAMES = ["run", "<script>alert(1)</script>", "跑步", "a b, c"]


def write(folder: Path, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((5, 4), np.float32)
    values /= values.sum(axis=1, keepdims=True)
    write_results(folder, paths=PATHS, labels=[0, 1, 2, 3, -1], scores=values, class_names=NAMES, protocol="1 x 1")
    return values


def test_results_come_back_as_written(tmp_path: Path) -> None:
    scores = write(tmp_path)
    results = read_results(tmp_path)
    assert results.paths == PATHS and results.class_names == NAMES and results.protocol == "1 x 1"
    assert results.labels.tolist() == [0, 1, 2, 3, -1]
    assert results.scores is not None
    np.testing.assert_array_equal(results.scores, scores)
    np.testing.assert_array_equal(results.predicted, scores.argmax(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([TEXT, LINES, SCORES])


def test_text_file_has_the_seeds_columns_and_one_line_per_video(tmp_path: Path) -> None:
    scores = write(tmp_path)
    lines = (tmp_path / TEXT).read_text(errors="surrogateescape").splitlines()
    assert len(lines) == 5
    best = int(scores[0].argmax())
    assert lines[0] == f"a/v 1 with spaces {scores[0, best]:.2f} {best} 0"


def test_json_lines_have_truth_and_top5_with_probabilities(tmp_path: Path) -> None:
    scores = write(tmp_path)
    records = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert [record["path"] for record in records] == PATHS
    assert records[2]["truth"] == 2 and records[2]["truth_name"] == "跑步" and records[4]["truth"] is None
    assert len(records[0]["top5"]) == 4  # min(5, classes)
    probabilities = [entry["probability"] for entry in records[0]["top5"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] == pytest.approx(scores[0].max(), abs=1e-6)


def test_scores_load_without_pickle(tmp_path: Path) -> None:
    write(tmp_path)
    with np.load(tmp_path / SCORES, allow_pickle=False) as file:
        assert file["scores"].dtype == np.float32
        assert set(file.files) == {"scores", "labels", "paths", "class_names", "protocol"}


def test_text_file_alone_is_enough(tmp_path: Path) -> None:
    scores = write(tmp_path)
    (tmp_path / SCORES).unlink()
    (tmp_path / LINES).unlink()
    results = read_results(tmp_path)
    assert results.paths == PATHS and results.scores is None and results.class_names is None
    np.testing.assert_array_equal(results.predicted, scores.argmax(1))


def test_no_class_names_and_one_class_work(tmp_path: Path) -> None:
    write_results(tmp_path, paths=["v"], labels=[0], scores=[[1.0]], class_names=None, protocol="")
    results = read_results(tmp_path)
    assert results.class_names is None and results.predicted.tolist() == [0]


@pytest.mark.parametrize("name", [TEXT, LINES, SCORES])
@pytest.mark.parametrize("keep", [0, 0.5, 0.98])
def test_half_written_files_are_one_clear_error(tmp_path: Path, name: str, keep: float) -> None:
    write(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match="again") as caught:
        read_results(tmp_path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [TEXT, LINES, SCORES])
def test_files_of_two_evaluations_are_refused(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(tmp_path)
    write(other, seed=2)
    (other / name).replace(tmp_path / name)
    with pytest.raises(UserError, match="not whole"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", [TEXT, LINES])
def test_a_lost_line_is_noticed(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
    (tmp_path / name).write_bytes(b"".join(lines[:-1]))
    with pytest.raises(UserError, match="not whole"):
        read_results(tmp_path)


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_text("v1 0.5 1 1\nv2 nonsense\n")
    with pytest.raises(UserError, match=rf"{TEXT}:2: expected `path score predicted truth`"):
        read_results(tmp_path)


def test_no_results_names_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results yet; make them with python anal_tools/get_reference_results\.py"):
        read_results(tmp_path)
    with pytest.raises(UserError, match="no such experiment folder"):
        read_results(tmp_path / "nowhere")


def test_nan_scores_leave_the_old_results_alone(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="v2: its scores are NaN"):
        write_results(
            tmp_path, paths=["v1", "v2"], labels=[0, 1], scores=[[1, 0], [np.nan, 0]], class_names=None, protocol=""
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nan_in_a_score_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    with np.load(tmp_path / SCORES) as file:
        arrays = dict(file)
    arrays["scores"][3, 0] = np.nan
    np.savez(tmp_path / SCORES, **arrays)
    with pytest.raises(UserError, match="NaN"):
        read_results(tmp_path)


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one row per video"):
        write_results(tmp_path, paths=["v"], labels=[0, 1], scores=[[1.0]], class_names=None, protocol="")
    with pytest.raises(ValueError, match="softmax"):
        write_results(tmp_path, paths=["v"], labels=[0], scores=[[7.0, -1.0]], class_names=None, protocol="")


HOT = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [-1, -1, -1, -1]], np.int8)


def write_sets(folder: Path) -> np.ndarray:
    values = np.random.default_rng(0).random((5, 4), np.float32)
    write_results(folder, paths=PATHS, labels=HOT, scores=values, class_names=NAMES, protocol="1 x 1")
    return values


def test_sets_come_back_as_written_and_the_text_alone_still_tells_them(tmp_path: Path) -> None:
    scores = write_sets(tmp_path)
    results = read_results(tmp_path)
    np.testing.assert_array_equal(results.labels, HOT)
    np.testing.assert_array_equal(results.scores, scores)
    assert [line.rsplit(" ", 1)[1] for line in (tmp_path / TEXT).read_text(errors="replace").splitlines()] == [
        *("0", "1;2", "-", "3", "-1"),
    ]
    (tmp_path / SCORES).unlink()
    alone = read_results(tmp_path)
    np.testing.assert_array_equal(alone.labels, HOT)
    assert alone.scores is None and alone.task is results.task


def test_json_lines_of_sets_tell_an_empty_truth_from_an_unknown_one(tmp_path: Path) -> None:
    write_sets(tmp_path)
    records = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert [record["truth"] for record in records] == [[0], [1, 2], [], [3], None]
    assert [record["truth_name"] for record in records] == [[NAMES[0]], NAMES[1:3], [], [NAMES[3]], None]


def test_a_text_file_with_other_sets_than_the_scores_is_refused(tmp_path: Path) -> None:
    write_sets(tmp_path)
    text = (tmp_path / TEXT).read_bytes().replace(b" 1;2\n", b" 1\n")
    (tmp_path / TEXT).write_bytes(text)
    with pytest.raises(UserError, match=f"{TEXT}:2: does not say the same"):
        read_results(tmp_path)
