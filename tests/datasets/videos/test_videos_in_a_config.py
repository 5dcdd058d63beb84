"""Tests configs with `data.store.type: video`, which train from a folder of encoded videos."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

import main
from datasets.open import open_list
from datasets.protocol import ClipProtocol, clip_protocol
from datasets.split import Split, missing, open_split
from tests.helpers.make_video import make_video
from utils.clip_spec import ClipSpec
from utils.config.file import load_config
from utils.config.schema import Common
from utils.errors import ConfigError, ListError

CONFIG = """
common:
    model: {{type: tsn, backbone: resnet18, num_segments: 2, num_class: 2, pretrained: False}}
    augmentation: {{input_size: 32, test_resize: 36}}
    batch_size: 2
    workers: 0
    lr_scheduler: {{type: COSINE, base_lr: 0.01, max_iter: 3}}
    val_freq: 2
    device: cpu
    train_source: {folder}
    val_source: {folder}
    data: {{store: {{type: video, cache: {cache}, {extra}}}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("run/a.mp4", "run/b.mp4", "jump/c.mp4"):
        make_video(tmp_path / "videos" / name)
    return write(tmp_path)


def write(folder: Path, extra: str = "fps: 12") -> Path:
    (folder / "exp").mkdir(exist_ok=True)
    path = folder / "exp/config.yaml"
    path.write_text(CONFIG.format(folder=folder / "videos", cache=folder / "cache", extra=extra))
    return path


@pytest.mark.whole
def test_a_run_from_videos(config: Path):
    assert main.main(["--config", str(config), "common.data.decode=auto"]) == 0
    log = (config.parent / "log.txt").read_text()
    assert log.count("data.decode: auto chooses cpu: this run has no GPU") == 1, "once for both lists"
    assert "encoded videos, 3 scanned, 0 of them unreadable" in log
    assert log.count("scanning 3 videos, once; 0 are known") == 1, "both lists name them, and the log says it"
    assert (
        main.main(["--config", str(config), "--evaluate", "--load-path", str(config.parent / "ckpt_best.pth.tar")]) == 0
    )
    lines = (config.parent / "reference_result.txt").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == ["jump/c.mp4", "run/a.mp4", "run/b.mp4"]


def train_protocol(common: Common) -> ClipProtocol:
    return clip_protocol(common, ClipSpec(2), train=True)


def open_train(common: Common) -> Split:
    return open_split(common, "train", train_protocol(common))


def test_wrong_settings_are_named(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    common = load_config(write(tmp_path, "smpler: random")).common
    with pytest.raises(ConfigError, match=r"common\.data\.store\.smpler: video does not take it.*sampler"):
        open_train(common)
    common = load_config(write(tmp_path, "fps: 12"), ["common.model.num_class=3"]).common
    with pytest.raises(ListError, match=r"names 2 classes, but model\.num_class is 3"):
        open_train(common)
    lacks: list[str] = [""]
    monkeypatch.setattr("datasets.split.lacks_torchcodec", lambda: lacks[-1])
    for store in ("type: disk", "type: video"):
        common = load_config(config, ["common.data.decode=cuda", f"common.data.store={{{store}}}"]).common
        train_protocol(common)  # a dry run may be on a machine without a GPU
        with pytest.raises(ConfigError, match=r"common\.data\.decode: cuda needs a GPU, and this run has none"):
            open_train(common)
    lacks.append("it is not installed")
    with pytest.raises(ConfigError, match=r"data\.decode: cuda needs torchcodec for videos, .* not installed; use cpu"):
        open_train(common)
    common = load_config(config).common
    assert missing(common, "train", train_protocol(common))[1] == 3
    assert open_train(common).about()["length"] == {"frames": 24.0, "seconds": pytest.approx(1)}


def test_the_classes_of_the_training_list_are_those_of_the_validation_list(config: Path, tmp_path: Path):
    (tmp_path / "train.csv").write_text("path,label\nrun/a.mp4,run\njump/c.mp4,jump\n")
    (tmp_path / "val.csv").write_text("path,label\nrun/b.mp4,run\n")
    given = [f"common.{name}_{key}={tmp_path}/{value}" for name in ("train", "val")
             for key, value in (("source", f"{name}.csv"), ("root", "videos"))]  # fmt: skip
    records, names = open_list(load_config(config, given).common, "val")
    assert names == ["jump", "run"] and records.labels.tolist() == [1]


def test_names_in_the_validation_list_need_names_in_the_training_list(config: Path, tmp_path: Path):
    train, val = tmp_path / "train.csv", tmp_path / "val.csv"
    train.write_text("path,label\nrun/a.mp4,1\njump/c.mp4,0\n")
    val.write_text("path,label\nrun/b.mp4,run\njump/c.mp4,jump\n")
    given = [f"common.{name}_{key}={value}" for name in ("train", "val")
             for key, value in (("source", tmp_path / f"{name}.csv"), ("root", "videos"))]  # fmt: skip
    for source in (val, tmp_path / "videos"):
        common = load_config(config, [*given, f"common.val_source={source}"]).common
        with pytest.raises(ListError, match=r"class '(run|jump)' has no number: the training list has numbers"):
            open_list(common, "val")
    (tmp_path / "classInd.txt").write_text("0 jump\n1 run\n")
    assert open_list(load_config(config, given).common, "val")[0].labels.tolist() == [1, 0]


def test_labels_that_count_from_1_like_the_class_file_are_an_error(config: Path, tmp_path: Path):
    (tmp_path / "train.csv").write_text("path,label\nrun/a.mp4,1\nrun/b.mp4,1\n")
    (tmp_path / "classInd.txt").write_text("1 run\n2 jump\n")
    common = load_config(config, [f"common.train_source={tmp_path}/train.csv", "common.val_source=null"]).common
    with pytest.raises(ListError, match=r"train.csv: no video has label 0, and .*classInd.txt counts from 1"):
        open_list(common, "train")
    (tmp_path / "classInd.txt").write_text("0 run\n1 jump\n")
    assert open_list(common, "train")[0].labels.tolist() == [1, 1]


def test_broken_videos_are_named_before_any_is_trained_on(config: Path, tmp_path: Path):
    for name in ("run/d.mp4", "run/e.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"no video" * 50)
    common = load_config(config).common
    with pytest.raises(ListError, match=r"run/d.mp4: cannot be read.*, and 1 others .*bad_frame_budget is 0"):
        open_train(common)
    assert len(open_train(load_config(config, ["common.bad_frame_budget=2"]).common)) == 5


def lists_in(folder: Path, train: str, val: str, classes: Path | None = None) -> Common:
    """Returns a config with these two lists in place of the folder of classes."""
    path = write(folder, "")
    text = path.read_text().replace(f"train_source: {folder}/videos", f"train_source: {train}")
    path.write_text(text.replace(f"val_source: {folder}/videos", f"val_source: {val}"))
    if classes is not None:
        path.write_text(path.read_text().replace("data: {", f"data: {{class_names: {classes}, "))
    return load_config(path).common


@pytest.mark.parametrize(
    "train", ["gone.csv", "gone-{0..1}.tar", "http://127.0.0.1:9/gone.csv", "memory://gone/g-0.tar"]
)
def test_a_missing_training_list_is_only_needed_for_class_names(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: str
):
    monkeypatch.setenv("DATA_TIMEOUT", "0.2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    train = train if "://" in train else str(tmp_path / train)
    val = tmp_path / "val.csv"
    val.write_text("path,label\na.mp4,1\nb.mp4,0\n")
    records, names = open_list(lists_in(tmp_path, train, str(val)), "val")
    assert records.labels.tolist() == [1, 0] and names is None
    val.write_text("path,label\na.mp4,run\nb.mp4,jump\n")
    with pytest.raises(
        ListError, match=r"val.csv: has class names, which the training list numbers.*gone.*data.class_n"
    ):
        open_list(lists_in(tmp_path, train, str(val)), "val")
    (tmp_path / "names.txt").write_text("jump\nrun\n")
    records, names = open_list(lists_in(tmp_path, train, str(val), tmp_path / "names.txt"), "val")
    assert records.labels.tolist() == [1, 0] and names == ["jump", "run"]


@pytest.mark.parametrize("text", ["path,label\na.mp4,0\nb.mp4,7\n", "path,label\na.mp4\n", "path,class\nx,1.5\n"])
@pytest.mark.usefixtures("afar")
def test_messages_about_a_list_at_an_address_name_the_address(config: Path, tmp_path: Path, text: str):
    fsspec.filesystem("memory").pipe("/lists/t.csv", text.encode())
    with pytest.raises(ListError) as caught:
        open_list(lists_in(tmp_path, "memory://lists/t.csv", "memory://lists/t.csv"), "train")
    assert str(caught.value).startswith("memory://lists/t.csv:") and str(tmp_path) not in str(caught.value)


def test_a_dry_run_refuses_windows_of_lists_that_are_no_tars(config: Path, tmp_path: Path):
    text = config.read_text().replace("data: {", "data: {shuffle_window: 2, ")
    config.write_text(text)
    common = load_config(config).common
    with pytest.raises(ListError, match=r"data.shuffle_window: is for lists of tars, and 'jump/c.mp4' lies in none"):
        missing(common, "train", train_protocol(common))
