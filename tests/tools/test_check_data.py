"""Tests that check_data finds exactly ten planted faults, none in a clean set, and none after --fix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.conftest import write_video
from tests.helpers.run_tool import run_tool
from tests.utils.transforms.test_complaints import SOUND, zeroed
from tools import check_data
from utils.errors import UserError

CLASSES = ("jump", "run", "sit", "walk")
FRAMES = 6
Plant = Callable[[Path], None]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes 4 classes x (5 training + 2 validation) videos with UCF-101 names and a manifest."""
    out = tmp_path_factory.mktemp("set") / "tiny set"
    lists: dict[str, list[str]] = {"train": [], "val": []}
    manifest = [json.dumps({"kind": "header", "format": 1})]
    for label, name in enumerate(CLASSES):
        for group in range(1, 8):
            video = f"frames/{name}/v_{name}_g{group:02d}_c01"
            write_video(out / video, label, FRAMES)
            lists["train" if group <= 5 else "val"].append(f"{video} {FRAMES} {label}\n")
            manifest.append(json.dumps({"kind": "video", "video": video, "status": "ok", "frames": FRAMES}))
    (out / "lists").mkdir()
    for split, lines in lists.items():
        (out / f"lists/{split}.txt").write_text("".join(lines))
    (out / "lists/classInd.txt").write_text("".join(f"{label} {name}\n" for label, name in enumerate(CLASSES)))
    (out / "manifest.jsonl").write_text("\n".join(manifest) + "\n")
    return out


@pytest.fixture
def dataset(clean: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clean, tmp_path / "tiny set")


def video(root: Path, label: int, group: int) -> Path:
    return root / f"frames/{CLASSES[label]}/v_{CLASSES[label]}_g{group:02d}_c01"


def edit(root: Path, split: str, change: Callable[[list[str]], list[str] | None]) -> None:
    file = root / f"lists/{split}.txt"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(change(lines) or lines))


def replace(root: Path, old: Path | str, new: str, split: str = "train") -> None:
    name = old if isinstance(old, str) else old.relative_to(root).as_posix()

    def change(lines: list[str]) -> list[str]:
        assert sum(name in line for line in lines) == 1
        return [new if name in line else line for line in lines]

    edit(root, split, change)


def rename(folder: Path, template: str, first: int) -> None:
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / ("new_" + template.format(first + number)))
    for file in folder.iterdir():
        file.rename(folder / file.name.removeprefix("new_"))


def line(root: Path, label: int, group: int, *, frames: int = FRAMES, as_label: int | None = None) -> str:
    path = video(root, label, group).relative_to(root).as_posix()
    return f"{path} {frames} {label if as_label is None else as_label}\n"


def base(root: Path) -> None:
    def change(lines: list[str]) -> list[str]:
        return [f"{head} {int(label) + 1}\n" for head, label in (text.rsplit(" ", 1) for text in lines)]

    edit(root, "val", change)


def hole(root: Path) -> None:
    with (root / "lists/classInd.txt").open("a") as file:
        file.write("4 swim\n")


PLANTS: dict[str, Plant] = {
    "label_base": base,
    "template": lambda root: rename(video(root, 0, 1), "{:06d}.jpg", 1),
    "first_number": lambda root: rename(video(root, 0, 2), "img_{:05d}.jpg", 0),
    "count": lambda root: replace(root, video(root, 0, 3), line(root, 0, 3, frames=4)),
    "missing_frame": lambda root: (video(root, 1, 1) / "img_00003.jpg").unlink(),
    "empty_frame": lambda root: (video(root, 1, 2) / "img_00003.jpg").write_bytes(b"") and None,
    "undecodable_frame": lambda root: (video(root, 1, 3) / "img_00003.jpg").write_bytes(b"no picture" * 50) and None,
    "duplicate": lambda root: edit(root, "train", lambda lines: [*lines, line(root, 2, 1)]),
    "overlap": lambda root: edit(root, "train", lambda lines: [*lines, line(root, 2, 6)]),
    "class_hole": hole,
    # more than the ten
    "mixed_frames": lambda root: (
        [(file := video(root, 3, 4) / f"img_0000{n}.jpg").rename(file.with_suffix(".png")) for n in (5, 6)],
        replace(root, video(root, 3, 4), line(root, 3, 4, frames=4)),
    )[-1],
    "group_overlap": lambda root: (
        write_video(video(root, 2, 7).with_name("v_sit_g07_c02"), 2, FRAMES),
        edit(root, "train", lambda lines: [*lines, "frames/sit/v_sit_g07_c02 6 2\n"]),
    )[-1],
    "missing_folder": lambda root: shutil.rmtree(video(root, 2, 2)),
    "no_frames": lambda root: [file.unlink() for file in video(root, 2, 3).iterdir()] and None,
    "manifest": lambda root: (
        (video(root, 2, 4) / "img_00006.jpg").unlink(),
        replace(root, video(root, 2, 4), line(root, 2, 4, frames=5)),
    )[-1],
    "label": lambda root: replace(root, video(root, 3, 1), line(root, 3, 1, as_label=44)),
    "label_folder": lambda root: replace(root, video(root, 3, 2), line(root, 3, 2, as_label=1)),
    "line": lambda root: edit(root, "train", lambda lines: [*lines, "frames/only\n"]),
}
TEN = list(PLANTS)[:10]


def doctor(root: Path, *options: str, code: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert check_data.main([str(root / "lists"), "--json", "--workers", "1", *options]) == code
    return json.loads(capsys.readouterr().out)


def test_a_clean_set_has_none(dataset: Path, capsys: pytest.CaptureFixture[str]):
    found = doctor(dataset, code=0, capsys=capsys)
    assert found["faults"] == [] and found["videos"] == 28
    before = (dataset / "lists/train.txt").read_bytes()
    assert doctor(dataset, "--fix", code=0, capsys=capsys)["changed"] == []
    assert (dataset / "lists/train.txt").read_bytes() == before and len(list((dataset / "lists").iterdir())) == 3


@pytest.mark.alike
@pytest.mark.parametrize("kind", PLANTS)
def test_each_fault_alone_is_one_fault_and_is_fixed(dataset: Path, kind: str, capsys: pytest.CaptureFixture[str]):
    PLANTS[kind](dataset)
    found = doctor(dataset, code=2, capsys=capsys)
    assert [fault["kind"] for fault in found["faults"]] == [kind], found["faults"]
    assert all("\n" not in fault["message"] for fault in found["faults"])
    fixed = doctor(dataset, "--fix", code=0, capsys=capsys)
    assert fixed["changed"] and fixed["remaining"] == []
    assert doctor(dataset, code=0, capsys=capsys)["faults"] == []


def test_ten_planted_faults_give_exactly_those_ten(dataset: Path, capsys: pytest.CaptureFixture[str]):
    originals = {file: file.read_bytes() for file in (dataset / "lists").iterdir()}
    for kind in TEN:
        PLANTS[kind](dataset)
    planted = {file: file.read_bytes() for file in originals}
    found = doctor(dataset, code=2, capsys=capsys)
    assert sorted(fault["kind"] for fault in found["faults"]) == sorted(TEN)
    assert {file: file.read_bytes() for file in planted} == planted, "looking changes nothing"
    fixed = doctor(dataset, "--fix", code=0, capsys=capsys)
    assert len(fixed["faults"]) == 10 and fixed["remaining"] == []
    for file in fixed["changed"]:
        assert Path(file + ".orig").read_bytes() == planted[Path(file)]
    assert doctor(dataset, code=0, capsys=capsys)["faults"] == []
    assert (dataset / "lists/val.txt").read_bytes() == originals[dataset / "lists/val.txt"]
    assert (dataset / "lists/classInd.txt").read_bytes() == originals[dataset / "lists/classInd.txt"]
    kept = (dataset / "lists/train.txt").read_text().splitlines()
    assert len(kept) == 20 - 5 and line(dataset, 0, 3, frames=6).strip() in kept


def test_messages_name_line_and_reason(dataset: Path, capsys: pytest.CaptureFixture[str]):
    for kind in ("count", "empty_frame", "duplicate", "label_folder"):
        PLANTS[kind](dataset)
    assert check_data.main([str(dataset), "--workers", "1"]) == 2
    said = capsys.readouterr().out
    assert "train.txt:3: the list says 4 frames for 'frames/jump/v_jump_g03_c01', but the folder has 6" in said
    assert "train.txt:7: 'frames/run/v_run_g02_c01' has 1 empty frame: img_00003.jpg" in said
    assert "train.txt:21: 'frames/sit/v_sit_g01_c01' is already on line 11" in said
    assert "has label 1 (run), but is in the folder of 3 (walk)" in said
    assert "4 faults in 29 videos: 1 duplicate, 1 label folder, 1 count, 1 empty frame" in said


def test_quick_decodes_nothing(dataset: Path, capsys: pytest.CaptureFixture[str]):
    PLANTS["undecodable_frame"](dataset)
    assert doctor(dataset, "--quick", code=0, capsys=capsys)["faults"] == []


def test_a_class_emptied_by_the_repair_is_taken_out(dataset: Path, capsys: pytest.CaptureFixture[str]):
    for group in range(1, 6):
        shutil.rmtree(video(dataset, 1, group))
    assert doctor(dataset, "--fix", code=0, capsys=capsys)["remaining"] == []
    assert (dataset / "lists/classInd.txt").read_text() == "0 jump\n1 sit\n2 walk\n"
    for split, count in (("train", 15), ("val", 6)):
        lines = (dataset / f"lists/{split}.txt").read_text().splitlines()
        assert len(lines) == count and {text.rsplit(" ", 1)[1] for text in lines} == {"0", "1", "2"}
        assert all(f"/{('jump', 'sit', 'walk')[int(text[-1])]}/" in text for text in lines)


def test_nothing_is_written_when_nothing_would_be_left(dataset: Path):
    shutil.rmtree(dataset / "frames/jump")
    for name in CLASSES[1:]:
        for folder in (dataset / f"frames/{name}").iterdir():
            for file in folder.iterdir():
                file.write_bytes(b"")
    with pytest.raises(UserError, match="no video would be left; nothing was written"):
        check_data.main([str(dataset / "lists"), "--fix", "--root", str(dataset), "--workers", "1"])
    assert not list((dataset / "lists").glob("*.orig"))


def test_it_runs_on_a_config_and_on_a_list(dataset: Path, capsys: pytest.CaptureFixture[str]):
    config = dataset / "config.yaml"
    config.write_text(f"""
common:
    model: {{type: tsn, backbone: resnet18, num_segments: 3, num_class: 5}}
    lr_scheduler: {{type: COSINE, base_lr: 0.1, max_iter: 2}}
    batch_size: 2
    train_root: {dataset}
    train_source: {dataset}/lists/train.txt
    val_root: {dataset}
    val_source: {dataset}/lists/val.txt
""")
    assert check_data.main([str(config), "--json", "--workers", "1"]) == 2
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault["kind"] == "num_class" and "names 4 classes, but model.num_class is 5" in fault["message"]
    train = dataset / "lists/train.txt"
    assert "nothing is wrong" in run_tool("check_data", train, "--workers", "1").stdout
    assert "no such config" in run_tool("check_data", dataset / "none", code=2).stderr


def test_one_list_for_training_and_validation_is_one_fault(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "lists/val.txt").unlink()
    (dataset / "lists/val.txt").symlink_to(dataset / "lists/train.txt")
    [fault] = doctor(dataset, "--quick", code=2, capsys=capsys)["faults"]
    assert fault["kind"] == "same_list" and "train.txt: is the list of train and val" in fault["message"]
    (dataset / "lists/val.txt").unlink()
    shutil.copy(dataset / "lists/train.txt", dataset / "lists/val.txt")
    [fault] = doctor(dataset, "--quick", code=2, capsys=capsys)["faults"]
    assert fault["kind"] == "overlap" and "train.txt: all 20 videos are also in" in fault["message"]


def test_a_list_of_pictures_is_checked_picture_by_picture(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = video(dataset, 0, 1)
    (folder / "img_00002.jpg").write_bytes(zeroed(SOUND))
    (folder / "img_00003.jpg").unlink()
    (folder / "img_00004.jpg").write_bytes(b"")
    paths = [(folder / f"img_0000{number}.jpg").relative_to(dataset) for number in range(1, 6)]
    (dataset / "lists/pictures.txt").write_text("".join(f"{path} 0\n" for path in paths))
    assert check_data.main([str(dataset / "lists/pictures.txt"), "--json", "--workers", "1"]) == 2
    faults = json.loads(capsys.readouterr().out)["faults"]
    kinds = [(fault["kind"], fault["line"]) for fault in faults if fault["line"]]
    assert kinds == [("undecodable_image", 2), ("missing_image", 3), ("undecodable_image", 4)]


@pytest.mark.whole
def test_worker_processes_find_the_same(dataset: Path, capsys: pytest.CaptureFixture[str]):
    PLANTS["undecodable_frame"](dataset)
    assert check_data.main([str(dataset), "--workers", "2"]) == 2
    assert "1 undecodable frame" in capsys.readouterr().out


def test_a_frame_that_is_damaged_inside_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = video(dataset, 1, 3) / "img_00003.jpg"
    frame.write_bytes(zeroed(SOUND))
    [fault] = doctor(dataset, code=2, capsys=capsys)["faults"]
    assert fault["kind"] == "undecodable_frame" and "libjpeg says 'Corrupt JPEG data" in fault["message"]


def test_videos_without_a_label_are_fine_unless_they_are_to_be_learned_from(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (dataset / "lists/val.txt").read_text().splitlines()
    (dataset / "lists/val.txt").write_text("".join(line.rpartition(" ")[0] + " -1\n" for line in lines))
    assert check_data.main([str(dataset), "--quick", "--workers", "1"]) == 0
    edit(dataset, "train", lambda lines: [*lines[:-1], lines[-1].rpartition(" ")[0] + " -1\n"])
    assert check_data.main([str(dataset), "--quick", "--workers", "1"]) == 2
    assert "has the negative label -1" in capsys.readouterr().out
