"""Features for other projects lie where the code of these projects looks for them, computed here in its words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.helpers.make_video import damage, make_video
from tests.helpers.trained import TSN, write_checkpoint
from tools import extract_features
from utils.errors import UserError

FPS, FRAMES, LENGTH, STRIDE = 10, 48, 8, 3  # frames; the last window ends with the video, off the grid
ROWS = 1 + (FRAMES - LENGTH) // STRIDE
SPANS = {"a.mp4": [("run", 0.5, 2.0), ("long jump", 1.5, 1.9)], "b/c d.mp4": [("run", 1.0, 3.0)]}


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tsn"), TSN)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in SPANS:
        make_video(folder / name, frames=FRAMES, fps=FPS)
    rows = [f"{name},{label},{start},{end}" for name, spans in SPANS.items() for label, start, end in spans]
    subsets = [f"{row},{'train' if row.startswith('a') else 'val'}" for row in rows]
    (folder / "labels.csv").write_text("\n".join(["video,label,start,end,subset", *subsets]) + "\n")
    return folder


def extract(ckpt: Path, videos: Path, out: Path, project: str, **changes: Any) -> int:
    given = {"for": project, "layer": "backbone", "labels": videos / "labels.csv", "window": LENGTH / FPS}
    given |= {"step": STRIDE / FPS} | changes
    options = [str(text) for key, value in given.items() for text in (f"--{key}", value)]
    return extract_features.main([str(ckpt), str(videos), str(out), *options])


@pytest.fixture(scope="module")
def plain(ckpt: Path, videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The rows of `a.mp4` on the grid, as the command writes them for this project, and the times of their ends."""
    out = tmp_path_factory.mktemp("plain")
    windows = ("--window", str(LENGTH / FPS), "--step", str(STRIDE / FPS))
    extract_features.main([str(ckpt), str(videos), str(out), "--layer", "backbone", "--pool", "all", *windows])
    with np.load(out / "a.mp4.npz") as file:
        assert len(file["features"]) == ROWS + 1
        return {name: file[name][:ROWS] for name in ("features", "times")}


@pytest.mark.whole
def test_actionformer_finds_each_row_at_its_stride(
    ckpt: Path, videos: Path, tmp_path: Path, plain: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(ckpt, videos, tmp_path, "actionformer") == 0
    assert f"feat_stride {STRIDE}, num_frames {LENGTH}" in capsys.readouterr().out
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    dataset = config["dataset"]
    with np.load(Path(dataset["feat_folder"]) / f"a{dataset['file_ext']}") as file:
        rows = file["feats"]
    assert rows.shape == (ROWS, dataset["input_dim"])
    np.testing.assert_array_equal(rows, plain["features"])
    database = json.loads(Path(dataset["json_file"]).read_text())["database"]
    video = database["a"]
    assert video["subset"] in config["train_split"] and database["b_c_d"]["subset"] in config["val_split"]
    assert {act["label"]: act["label_id"] for act in video["annotations"]} == {"run": 1, "long jump": 0}
    # its loader puts second t at row (t * fps - num_frames / 2) / stride, which is where the middle of that row is
    middles = plain["times"].mean(1) + 0.5 / FPS
    grid = (middles * video["fps"] - 0.5 * dataset["num_frames"]) / dataset["feat_stride"]
    np.testing.assert_allclose(grid, np.arange(ROWS), atol=1e-6)


@pytest.mark.whole
def test_opentad_finds_each_row_at_its_stride_and_offset(
    ckpt: Path, videos: Path, tmp_path: Path, plain: dict[str, np.ndarray]
) -> None:
    assert extract(ckpt, videos, tmp_path, "opentad") == 0
    names: dict[str, Any] = {}
    exec((tmp_path / "dataset.py").read_text(), names)
    settings = names["settings"]
    np.testing.assert_array_equal(np.load(Path(settings["data_path"]) / "a.npy"), plain["features"])
    video = json.loads(Path(settings["ann_file"]).read_text())["database"]["a"]
    frames = (plain["times"].mean(1) + 0.5 / FPS) / video["duration"] * video["frame"]
    np.testing.assert_allclose((frames - settings["offset_frames"]) / settings["feature_stride"], np.arange(ROWS))
    assert Path(settings["class_map"]).read_text().splitlines() == ["long jump", "run"]


@pytest.mark.whole
def test_mstcn_reads_a_label_for_each_column_of_features(
    ckpt: Path, videos: Path, tmp_path: Path, plain: dict[str, np.ndarray]
) -> None:
    assert extract(ckpt, videos, tmp_path, "mstcn") == 0
    actions = [line.split() for line in (tmp_path / "mapping.txt").read_text().split("\n")[:-1]]
    assert actions == [["0", "background"], ["1", "long_jump"], ["2", "run"]]
    (name,) = (tmp_path / "splits" / "train.split1.bundle").read_text().split("\n")[:-1]
    assert (tmp_path / "splits" / "test.split1.bundle").read_text() == "b_c_d.txt\n"
    columns = np.load(tmp_path / "features" / (name.split(".")[0] + ".npy"))
    content = (tmp_path / "groundTruth" / name).read_text().split("\n")[:-1]
    np.testing.assert_array_equal(columns, plain["features"].T)
    middles = (np.arange(ROWS) * STRIDE + LENGTH / 2) / FPS
    expected = ["long_jump" if 1.5 <= t < 1.9 else "run" if 0.5 <= t < 2 else "background" for t in middles]
    assert content == expected and len({*content}) == 3


@pytest.mark.whole
def test_a_second_run_computes_nothing_and_another_layer_is_refused(
    ckpt: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(ckpt, videos, tmp_path, "opentad")
    monkeypatch.setattr(
        "tools.inference.recognizer.Recognizer.features", lambda *_, **__: pytest.fail("computed again")
    )
    assert extract(ckpt, videos, tmp_path, "opentad") == 0
    with pytest.raises(UserError, match="made with layer 'backbone', not 'head'; choose another output"):
        extract(ckpt, videos, tmp_path, "opentad", layer="head")


@pytest.mark.whole
def test_a_video_of_another_rate_is_refused(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "in" / "a.mp4", frames=FRAMES, fps=FPS)
    make_video(tmp_path / "in" / "b.mp4", frames=FRAMES, fps=3 * FPS)
    (tmp_path / "in" / "labels.csv").write_text("video,label,start,end\na.mp4,run,0,1\nb.mp4,run,0,1\n")
    with pytest.raises(UserError, match="its windows have 24 frames every 9, and those of other videos 8 every 3"):
        extract(ckpt, tmp_path / "in", tmp_path / "out", "opentad")


@pytest.mark.whole
def test_a_damaged_video_gets_no_features_and_is_named(
    ckpt: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(videos, tmp_path / "in"))
    damage(folder / "a.mp4")
    assert extract(ckpt, folder, tmp_path / "out", "opentad") == 1
    assert f"error: {folder / 'a.mp4'}: " in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out" / "features").iterdir()] == ["b_c_d.npy"]
    assert list(json.loads((tmp_path / "out" / "annotations.json").read_text())["database"]) == ["b_c_d"]


@pytest.mark.whole
def test_the_features_of_a_video_that_was_replaced_are_computed_again(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(videos, tmp_path / "in"))
    extract(ckpt, folder, tmp_path / "out", "opentad")
    files = [tmp_path / "out" / "features" / f"{name}.npy" for name in ("a", "b_c_d")]
    before = [(np.load(file), file.stat().st_mtime_ns) for file in files]
    make_video(folder / "a.mp4", frames=2 * FRAMES, fps=FPS)
    extract(ckpt, folder, tmp_path / "out", "opentad")
    assert len(np.load(files[0])) > len(before[0][0]) and files[1].stat().st_mtime_ns == before[1][1]


def test_the_files_of_a_project_need_labels_a_layer_and_windows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--for needs --labels, --layer, --window and --step"):
        extract_features.main(["ckpt.pth.tar", str(tmp_path), str(tmp_path / "out"), "--for", "mstcn"])
