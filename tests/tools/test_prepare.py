"""Tests that small copies of the official archives become lists, frames and class names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.helpers import archives
from tests.helpers.dumping import entries
from tools import prepare
from tools.listing.archives import ARCHIVES, mirror_pairs
from utils.errors import UserError
from utils.files import ROOT

HMDB, CUT = "_wave_h_nm_np1_ba_goo_0.avi", "_000010_000020"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def prepared(name: str, folder: Path, *options: object, code: int = 0) -> Path:
    """Prepares the small archive of NAME and returns its dataset."""
    archives.MAKERS[name](folder / "archive")
    out = folder / "data"
    assert prepare.main([name, str(folder / "archive"), str(out), *map(str, options)]) == code
    return out


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_every_data_set_has_a_miniature_and_a_page() -> None:
    assert set(archives.MAKERS) == set(ARCHIVES) - {"kinetics600", "kinetics700"}
    assert all((ROOT / "docs" / "datasets" / f"{archive.page}.md").is_file() for archive in ARCHIVES.values())
    used = {path.parent.name for path in ROOT.glob("exps/*/*/config.yaml")}
    assert used  # data/<folder> is where the recipes look
    text = "".join(path.read_text() for path in ROOT.glob("exps/*/*/config.yaml"))
    for name in ("kinetics400", "ucf101", "hmdb51", "something_v1", "something_v2"):
        assert f"train_root: data/{ARCHIVES[name].folder}\n" in text


@pytest.mark.parametrize(
    ("name", "train", "val", "code"),
    [
        ("ucf101", "Archery/v_Archery_g02_c01.avi,Archery", "Archery/v_Archery_g01_c01.avi,Archery", 0),
        ("hmdb51", f"wave/wave_clip_0{HMDB},wave", f"wave/wave_clip_2{HMDB},wave", 0),
        ("kinetics400", f"train/abse-train1{CUT}.mp4,abseiling,,", "val/zumb-val0___000000_000010.mp4,zumba", 1),
        ("activitynet", "videos/v_train0-----.mp4,Surfing,0.25,0.75", "videos/v_valid1-----.mp4,Knitting,0.5,2.0", 2),
        ("something_v2", "1003.webm,Pushing something from right to left", "1006.webm,Holding something", 0),
    ],
)  # fmt: skip
def test_encoded_videos_are_listed_where_they_are(name: str, train: str, val: str, code: int, tmp_path: Path) -> None:
    lists = prepared(name, tmp_path, "--videos", "--workers", 1, code=code) / "lists"
    assert train in lines(lists / "train.csv") and val in lines(lists / "val.csv")
    assert not (tmp_path / "data" / "frames").exists()


def test_split_codes_and_class_order(tmp_path: Path) -> None:
    lists = prepared("hmdb51", tmp_path, "--videos", "--split-number", 2, "--workers", 1) / "lists"
    assert len(lines(lists / "train.csv")) == 5 and len(lines(lists / "val.csv")) == 3  # a header; code 0 is in neither
    assert lines(lists / "classInd.txt") == ["0 brush_hair", "1 wave"]


@pytest.mark.parametrize("name", ["something_v1", "jester"])
def test_frames_of_the_archive_are_used_as_they_are(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepared(name, tmp_path, "--unlabelled")
    assert "every frame decoded: nothing is wrong" in capsys.readouterr().out
    classes = sorted(archives.V1_CLASSES if name == "something_v1" else archives.JESTER_CLASSES)
    assert lines(out / "lists" / "classInd.txt") == [f"{index} {label}" for index, label in enumerate(classes)]
    first = (archives.V1_CLASSES if name == "something_v1" else archives.JESTER_CLASSES)[0]
    assert f"frames/1 6 {classes.index(first)}" in lines(out / "lists" / "train.txt")
    (test,) = lines(out / "lists" / "test.txt")
    assert test.endswith(" -1")
    flips = yaml.safe_load((out / "lists" / "flip_labels.yaml").read_text())["flip_labels"]
    assert all(flips[flips[label]] == label for label in flips) and set(flips) == {n for n in classes if mirror(n)}
    assert prepare.main([name, str(tmp_path / "archive"), str(out), "--unlabelled"]) == 0  # again
    assert "already" not in capsys.readouterr().err
    with pytest.raises(UserError, match="exists and is not"):
        shutil.copytree(tmp_path / "archive", tmp_path / "other")
        prepare.main([name, str(tmp_path / "other"), str(out)])


def mirror(name: str) -> bool:
    return any(word in name for word in ("left", "right", "Left", "Right", "lockwise"))


def test_classes_mirror_by_the_words_of_their_names() -> None:
    classes = [
        "Swiping Left",
        "Swiping Right",
        "Rolling left",
        "Turning Hand Clockwise",
        "Turning Hand Counterclockwise",
    ]
    classes += ["Pushing something from left to right", "Pushing something from right to left", "Leftover"]
    pairs = mirror_pairs(classes)
    assert (
        pairs["Swiping Left"] == "Swiping Right" and pairs["Turning Hand Counterclockwise"] == "Turning Hand Clockwise"
    )
    assert pairs["Pushing something from left to right"] == "Pushing something from right to left"
    assert not {"Rolling left", "Leftover"} & set(pairs)


@pytest.mark.whole
def test_untrimmed_videos_are_cut_to_exact_numbers_of_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepared("activitynet", tmp_path, "--unlabelled", "--workers", 1, code=1)
    counts = {video: entry["frames"] for video, entry in entries(out).items()}
    assert counts["frames/Surfing/v_train0-----_0.25_0.75"] == counts["frames/Surfing/v_train0-----_1_1.5"] == 12
    assert counts["frames/Knitting/v_train1-----_0.5_2"] == 36 and counts["frames/v_testi0-----"] == 48
    failed = entries(out)["frames/Knitting/v_train1-----_5_6"]
    assert (
        failed["status"] == "failed" and "no frame from 5.0 to 6.0 s; the video ends at 2.00 s" in failed["errors"][0]
    )
    assert lines(out / "lists" / "missing.txt") == ["train1-----_5_6"]
    assert lines(out / "lists" / "test.txt") == ["frames/v_testi0----- 48 -1"]
    assert "8 videos, names and sizes looked at: nothing is wrong" in capsys.readouterr().out


def test_videos_that_vanished_are_reported_and_renumber_nothing(tmp_path: Path) -> None:
    archives.kinetics400(tmp_path / "archive")
    for video in (tmp_path / "archive").glob("*/abse*"):
        video.unlink()  # a whole class but one
    table = tmp_path / "archive" / "annotations" / "train.csv"
    table.write_text(table.read_text() + "aaa first class,gone_______,0,10,train\n")
    out = tmp_path / "data"
    # 2: the doctor says that the first class has no training video
    assert prepare.main(["kinetics400", str(tmp_path / "archive"), str(out), "--videos", "--workers", "1"]) == 2
    assert lines(out / "lists" / "classInd.txt") == ["0 aaa first class", "1 abseiling", "2 zumba"]
    assert len(lines(out / "lists" / "missing.txt")) == 6
    assert "train/uncut______.mp4,abseiling,0.0,1.0" in lines(out / "lists" / "train.csv")


def test_an_estimate_multiplies_what_a_sample_took_and_keeps_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepared("ucf101", tmp_path, "--estimate", 2, "--workers", 1)
    said = capsys.readouterr().out
    assert "2 of 8 videos measured" in said and "all 13320 published" in said
    rows = {line.split("  ")[1]: line for line in said.splitlines() if " frames " in line}
    assert [int(row.split(" frames")[0].split()[-1].replace(",", "")) for row in rows.values()] == [24, 192, 319680]
    out2 = prepared("jester", tmp_path / "j", "--estimate", 3)
    assert "3 of 16 videos measured" in capsys.readouterr().out
    assert not out.exists() and not out2.exists() and {p.name for p in tmp_path.iterdir()} == {"archive", "j"}


def test_what_the_archive_lacks_is_named(tmp_path: Path) -> None:
    archives.jester(tmp_path / "archive")
    (tmp_path / "archive" / "jester-v1-validation.csv").unlink()
    with pytest.raises(UserError, match=r"needs jester-v1-validation\.csv, which is neither.*docs/datasets/jester\.md"):
        prepare.main(["jester", str(tmp_path / "archive"), str(tmp_path / "data")])
    with pytest.raises(UserError, match="no such folder"):
        prepare.main(["ucf101", str(tmp_path / "nothing")])
    with pytest.raises(UserError, match="invalid choice: 'ucf102'"):
        prepare.main(["ucf102", str(tmp_path)])
    assert not (tmp_path / "data").exists()
