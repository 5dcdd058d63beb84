"""Tests make_lists on folders of empty JPEGs, because it reads only their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasets.lists.class_names import read_class_file
from datasets.lists.parser import parse_list
from tests.helpers.run_tool import run_tool
from tools import make_lists
from utils.errors import UserError


def frames(folder: Path, count: int, *, first: int = 1) -> None:
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        (folder / f"img_{number:05d}.jpg").touch()


def manifest(out: Path, **videos: tuple[str, str, int]) -> None:
    lines = [{"kind": "header", "format": 1}]
    lines += [
        {"kind": "video", "video": f"frames/{name}", "status": status, "label": label, "frames": count}
        for name, (status, label, count) in videos.items()
    ]
    (out / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def make(*arguments: object, code: int = 0) -> None:
    assert make_lists.main([*map(str, arguments)]) == code


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as error:
        make(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_class_folders_become_lists_that_the_framework_reads(tmp_path: Path) -> None:
    for number in range(5):
        frames(tmp_path / "frames" / "long jump" / f"v {number}, x", 3 + number)
        frames(tmp_path / "frames" / "run" / f"w{number}", 4)
    done = run_tool("make_lists", tmp_path)
    assert "4 per class (ratio 0.2, seed 0)" in done.stdout and "next: python main.py" in done.stdout
    train, val = tmp_path / "lists" / "train.txt", tmp_path / "lists" / "val.txt"
    assert len(lines(train)) == 8 and len(lines(val)) == 2
    assert set(lines(train) + lines(val)) == {f"frames/long jump/v {n}, x {3 + n} 0" for n in range(5)} | {
        f"frames/run/w{n} 4 1" for n in range(5)
    }
    assert read_class_file(train.with_name("classInd.txt")) == ["long jump", "run"]
    parsed = parse_list(train)
    names = [bytes(parsed.blob[a:b]).decode() for a, b in zip(parsed.offsets, parsed.offsets[1:], strict=False)]
    assert all((tmp_path / name).is_dir() for name in names)
    again = run_tool("make_lists", tmp_path)
    assert again.stdout.count("unchanged: ") == 3


@pytest.mark.parametrize("path", [' v"1 ', '"q"', ",v", "v,", 'a "b" c', "ünï 视频", "a\tb", "\tq\t", "长　跳"])
def test_any_folder_name_survives_the_list(path: str, tmp_path: Path) -> None:
    for name in (path, "plain"):
        frames(tmp_path / "frames" / name, 2)
    manifest(tmp_path, **dict.fromkeys((path, "plain"), ("ok", "x", 2)))
    make(tmp_path, "--val-ratio", 0.5)
    found = set()
    for name in ("train", "val"):
        parsed = parse_list(tmp_path / "lists" / f"{name}.txt")
        found.add(bytes(parsed.blob).decode())
    assert found == {f"frames/{path}", "frames/plain"}


def test_lists_cannot_be_a_file(tmp_path: Path) -> None:
    for name in ("x", "z"):
        frames(tmp_path / "frames" / "a" / name, 1)
    (tmp_path / "file").write_text("mine")
    assert "cannot be created" in refusal(tmp_path, "--lists", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_with_a_line_break_in_its_name_is_refused(tmp_path: Path) -> None:
    frames(tmp_path / "frames" / "a" / "x\ny", 1)
    frames(tmp_path / "frames" / "a" / "z", 1)
    assert "cannot contain such characters" in refusal(tmp_path)


def test_the_manifest_gives_counts_labels_and_what_to_leave_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("v_run_1", "v_run_2", "v_jump_1", "v_jump_2", "broken"):
        frames(tmp_path / "frames" / name, 2)
    manifest(
        tmp_path,
        v_run_1=("ok", "run", 2), v_run_2=("partial", "run", 2), v_jump_1=("ok", "jump", 2), v_jump_2=("ok", "jump", 2),
        broken=("started", "run", 0), gone=("ok", "run", 9),
    )  # fmt: skip
    make(tmp_path, "--val-ratio", 0.5)
    said = capsys.readouterr().out
    assert "frames/broken: left out, because its dump did not succeed" in said
    assert "1 videos of" in said and "frames/gone" in said
    both = lines(tmp_path / "lists" / "train.txt") + lines(tmp_path / "lists" / "val.txt")
    assert {line.rpartition(" ")[0] for line in both} == {
        f"frames/{name} 2" for name in ("v_run_1", "v_run_2", "v_jump_1", "v_jump_2")
    }


def test_frames_are_counted_without_flow_and_gaps_are_an_error(tmp_path: Path) -> None:
    for name in ("v", "w"):
        frames(tmp_path / "frames" / "a" / name, 5, first=0)
        (tmp_path / "frames" / "a" / name / "flow_x_00001.jpg").touch()
    make(tmp_path, "--val-ratio", 0.5)
    assert lines(tmp_path / "lists" / "train.txt")[0].split()[1] == "5"
    (tmp_path / "frames" / "a" / "w" / "img_00003.jpg").unlink()
    assert "4 frames called img_{:05d}.jpg, but their numbers go from 0 to 4" in refusal(tmp_path)
    for number in (3, 4):
        (tmp_path / "frames" / "a" / "w" / f"img_0000{number}.jpg").unlink(missing_ok=True)
        (tmp_path / "frames" / "a" / "w" / f"img_0000{number}.png").touch()
    assert "has frames called img_{:05d}.jpg and others called img_{:05d}.png" in refusal(tmp_path)
    for number in range(3):
        (tmp_path / "frames" / "a" / "w" / f"img_0000{number}.png").touch()  # now all are there in one format
    make(tmp_path, "--val-ratio", 0.5)
    (tmp_path / "frames" / "a" / "u").mkdir()
    assert "holds no numbered images" in refusal(tmp_path)


def test_ucf_101(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["v_Archery_g01_c01", "v_Archery_g08_c01", "v_Archery_g09_c01"]
    for name in names:
        frames(tmp_path / "frames" / "Archery" / name, 3)
    frames(tmp_path / "frames" / "v_YoYo_g08_c02", 4)  # as --flat makes it
    splits = tmp_path / "splits"
    splits.mkdir()
    (splits / "classInd.txt").write_text("1 YoYo\n2 Archery\n")
    (splits / "trainlist01.txt").write_text("Archery/v_Archery_g08_c01.avi 2\nYoYo/v_YoYo_g08_c02.avi 1\n")
    (splits / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\nYoYo/v_YoYo_g01_c01.avi\n")
    make(tmp_path, "--split", splits, code=1)
    said = capsys.readouterr().out
    assert "1 videos are named but missing, such as YoYo/v_YoYo_g01_c01" in said
    assert "1 of 4 videos are in no list" in said
    assert lines(tmp_path / "lists" / "train.txt") == [
        "frames/v_YoYo_g08_c02 4 0",
        "frames/Archery/v_Archery_g08_c01 3 1",
    ]
    assert lines(tmp_path / "lists" / "val.txt") == ["frames/Archery/v_Archery_g01_c01 3 1"]
    assert lines(tmp_path / "lists" / "classInd.txt") == ["0 YoYo", "1 Archery"]
    (splits / "testlist01.txt").write_text("Archery/v_Archery_g08_c01.avi\n")
    assert "is in both sets" in refusal(tmp_path, "--split", splits)


def test_hmdb_51_where_classes_share_file_names(tmp_path: Path) -> None:
    splits = tmp_path / "splits"
    splits.mkdir()
    for label in ("wave", "turn"):
        (splits / f"{label}_test_split1.txt").write_text("a #1.avi 1 \nb.avi 2 \n")
        frames(tmp_path / "rawframes" / label / "a #1", 2)
        frames(tmp_path / "rawframes" / label / "b", 2)
    make(tmp_path / "rawframes", "--split", splits)  # a folder of frames under another name
    assert lines(tmp_path / "lists" / "train.txt") == ["rawframes/turn/a #1 2 0", "rawframes/wave/a #1 2 1"]
    assert lines(tmp_path / "lists" / "val.txt") == ["rawframes/turn/b 2 0", "rawframes/wave/b 2 1"]


def test_folders_train_and_val_are_the_split(tmp_path: Path) -> None:
    for side, count in (("train", 3), ("val", 2)):
        for number in range(count):
            for label in ("a", "b"):
                frames(tmp_path / "frames" / side / label / f"v{number}", 1)
    make(tmp_path)
    assert len(lines(tmp_path / "lists" / "train.txt")) == 6
    assert lines(tmp_path / "lists" / "val.txt")[0] == "frames/val/a/v0 1 0"


@pytest.mark.parametrize("side", ["", "train/"])
def test_the_outermost_folder_is_the_class_and_the_other_one_can_be_asked_for(
    side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("run", "jump"):
        for session in ("s1", "s2"):
            frames(tmp_path / "frames" / side / label / session / "v", 1)
            if side:
                frames(tmp_path / "frames/val" / label / session / "v", 1)
    arguments = [] if side else ["--val-ratio", 0.5]
    make(tmp_path, *arguments)
    said = capsys.readouterr().out
    assert f"the first folder is the class: 'jump' for {side}jump/s1/v; --class-folder last takes 's1'" in said
    assert lines(tmp_path / "lists/classInd.txt") == ["0 jump", "1 run"]
    make(tmp_path, *arguments, "--class-folder", "last")
    assert "the last folder is the class: 's1' for" in capsys.readouterr().out
    assert lines(tmp_path / "lists/classInd.txt") == ["0 s1", "1 s2"]


def test_a_csv_labels_flat_frames_and_may_split_them(tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        frames(tmp_path / "frames" / name, 2)
    assert "3 videos have no class" in refusal(tmp_path)
    table = tmp_path / "t.csv"
    table.write_text("file,label,split\nx.mp4,jump,train\ny,run,train\nz.mp4,run,val\n")
    make(tmp_path, "--csv", table)
    assert lines(tmp_path / "lists" / "train.txt") == ["frames/x 2 0", "frames/y 2 1"]
    assert lines(tmp_path / "lists" / "val.txt") == ["frames/z 2 1"]
    table.write_text("file,label,split\nx,jump,train\ny,run,holdout\n")
    assert "split 'holdout' is not one of" in refusal(tmp_path, "--csv", table)
    table.write_text("x,jump\nx.mp4,run\n")
    assert "t.csv:2: x.mp4 was already given as 'jump'" in refusal(tmp_path, "--csv", table)
    table.write_text("q,jump\n")
    assert "all of its videos are missing" in refusal(tmp_path, "--csv", table)


def test_each_list_is_said_to_be_of_the_file_that_it_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side in ("train", "val"):
        frames(tmp_path / "frames" / side, 1)
        (tmp_path / f"{side}.csv").write_text(f"{side},x\n")
    make(tmp_path, "--csv", tmp_path / "train.csv", "--csv", tmp_path / "val.csv")
    said = capsys.readouterr().out
    for side in ("train", "val"):
        assert f"lists/{side}.txt: 1 videos, 1 per class (split of {tmp_path / side}.csv)" in said


def test_numbers_stay_the_labels_that_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for label in ("01", "2", "10.0"):
        for number in range(2):
            frames(tmp_path / "frames" / f"v{label}_{number}", 1)
            rows.append(f"v{label}_{number},{label}\n")
    (tmp_path / "t.csv").write_text("".join(rows))
    make(tmp_path, "--csv", tmp_path / "t.csv", "--val-ratio", 0.5)
    assert "kept, though 8 of the classes 0 to 10 have no video; --renumber" in (said := capsys.readouterr().out)
    assert "num_class: 11" in said
    assert lines(tmp_path / "lists" / "classInd.txt") == [f"{number} {number}" for number in range(11)]
    assert {line.split()[-1] for line in lines(tmp_path / "lists" / "val.txt")} == {"1", "2", "10"}
    make(tmp_path, "--csv", tmp_path / "t.csv", "--val-ratio", 0.5, "--renumber")
    assert "--renumber: 1 becomes 0, 10 becomes 2" in capsys.readouterr().out
    assert lines(tmp_path / "lists" / "classInd.txt") == ["0 1", "1 2", "2 10"]
    assert {line.split()[-1] for line in lines(tmp_path / "lists" / "val.txt")} == {"0", "1", "2"}
    (tmp_path / "t.csv").write_text("v01_0,20261128\nv01_1,20261128\n")
    assert "a label is 20261128, but only 1 classes occur" in refusal(tmp_path, "--csv", tmp_path / "t.csv")


def test_numbered_class_folders_keep_their_numbers(tmp_path: Path) -> None:
    for label in (0, 2, 10):
        for number in range(2):
            frames(tmp_path / "frames" / f"{label}" / f"v{number}", 1)
    make(tmp_path, "--val-ratio", 0.5)
    assert {line.split()[-1] for line in lines(tmp_path / "lists" / "val.txt")} == {"0", "2", "10"}


def test_labels_count_as_the_class_file_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        frames(tmp_path / "frames" / f"v{number}", 1)
    names, table = tmp_path / "names.txt", tmp_path / "t.csv"
    names.write_text("1 a\n2 b\n3 c\n")
    for labels, said, written in (("1212", "from 1: 1 is 'a'", {"0", "1"}), ("0101", "from 0: 0 is 'a'", {"0", "1"})):
        table.write_text("".join(f"v{number},{label}\n" for number, label in enumerate(labels)))
        make(tmp_path, "--csv", table, "--class-names", names, "--val-ratio", 0.5)
        assert f"labels are numbers, counted {said}" in capsys.readouterr().out
        assert {line.split()[-1] for line in lines(tmp_path / "lists" / "train.txt")} == written


def test_a_label_that_is_unknown_never_becomes_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        frames(tmp_path / "frames" / f"v{number}", 1)
    (tmp_path / "t.csv").write_text("v0,0.0\nv1,0.0\nv2,-1\nv3,nan\n")
    make(tmp_path, "--csv", tmp_path / "t.csv", "--val-ratio", 0.5)
    assert "2 videos have no label and are left out" in capsys.readouterr().out
    assert lines(tmp_path / "lists" / "classInd.txt") == ["0 0"]


def test_numbers_stand_for_the_names_of_a_class_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "classInd.txt"
    names.write_text("0 a\n1 b\n2 c\n")
    for number in range(4):
        frames(tmp_path / "frames" / f"v{number}", 1)
    for labels, base, written in (((0, 1, 0, 1), 0, {"0", "1"}), ((1, 3, 1, 3), 1, {"0", "2"})):
        table = tmp_path / "t.csv"
        table.write_text("".join(f"v{number},{label}\n" for number, label in enumerate(labels)))
        make(tmp_path, "--csv", table, "--class-names", names, "--val-ratio", 0.5)
        assert f"counted from {base}" in capsys.readouterr().out
        assert {line.split()[-1] for line in lines(tmp_path / "lists" / "train.txt")} == written
        assert len(lines(tmp_path / "lists" / "classInd.txt")) == 3
    table.write_text("v0,0\nv1,3\n")
    assert "has 3 classes, but a label is 3" in refusal(tmp_path, "--csv", table, "--class-names", names)


def test_something_something_from_its_json_files(tmp_path: Path) -> None:
    for number in range(3):
        frames(tmp_path / "frames" / str(number), 2)
    template = {"a": "Pushing [something]", "b": "Opening [something]"}
    for split, videos in (("train", ["0a", "1b"]), ("validation", ["2a", "9b"])):
        content = [{"id": video[0], "label": "x", "template": template[video[1]]} for video in videos]
        (tmp_path / f"something-something-v2-{split}.json").write_text(json.dumps(content))
    labels = tmp_path / "something-something-v2-labels.json"
    labels.write_text('{"Pushing something": "0", "Opening something": "1"}')
    files = [tmp_path / f"something-something-v2-{split}.json" for split in ("train", "validation")]
    make(tmp_path, "--csv", files[0], "--csv", files[1], "--class-names", labels, code=1)  # 9 is missing
    assert lines(tmp_path / "lists" / "train.txt") == ["frames/0 2 0", "frames/1 2 1"]
    assert lines(tmp_path / "lists" / "val.txt") == ["frames/2 2 0"]
    assert lines(tmp_path / "lists" / "classInd.txt") == ["0 Pushing something", "1 Opening something"]
    labels.write_text('{"Pushing something": "0", "Opening something": "2"}')
    assert "indices are not 0..1" in refusal(tmp_path, "--csv", files[0], "--class-names", labels)
    labels.write_text('{"Pushing something": "0", "Opening something": "1", "Pushing something": "2"}')
    assert "'Pushing something' is there twice" in refusal(tmp_path, "--csv", files[0], "--class-names", labels)


def test_groups_stay_together_on_disk_too(tmp_path: Path) -> None:
    for group in range(6):
        for clip in range(3):
            frames(tmp_path / "frames" / "a" / f"v_a_g{group:02d}_c{clip:02d}", 1)
    make(tmp_path, "--val-ratio", 0.34)
    sides = [{line.split("_")[2] for line in lines(tmp_path / "lists" / f"{side}.txt")} for side in ("train", "val")]
    assert len(sides[0]) == 4 and len(sides[1]) == 2 and not sides[0] & sides[1]


def test_class_names_give_the_order(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(2):
            frames(tmp_path / "frames" / label / f"v{number}", 1)
    (tmp_path / "names.txt").write_text("0 b\n1 a\n2 never seen\n")
    make(tmp_path, "--class-names", tmp_path / "names.txt")
    assert lines(tmp_path / "lists" / "train.txt")[0].startswith("frames/b/")
    assert len(lines(tmp_path / "lists" / "classInd.txt")) == 3
    (tmp_path / "names.txt").write_text("0 b\n")
    assert "class 'a' is not in it" in refusal(tmp_path, "--class-names", tmp_path / "names.txt")


def test_wrong_input_writes_nothing(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "x")
    (tmp_path / "frames").mkdir()
    assert "dump the videos" in refusal(tmp_path)
    frames(tmp_path / "frames" / "a" / "only", 1)
    assert "no video is left for val" in refusal(tmp_path)
    for options, said in (
        (("--val-ratio", "1.5"), "between 0 and 1"),
        (("--split", tmp_path, "--csv", "x"), "leave out --csv"),
        (("--seed", "-1"), "--seed"),
        (("--split", tmp_path), "neither trainlist01"),
    ):
        assert said in refusal(tmp_path, *options)
    assert not (tmp_path / "lists").exists()
    done = run_tool("make_lists", tmp_path / "x", code=2)
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_folds_are_pairs_of_lists_with_their_classes(tmp_path: Path) -> None:
    for name in ("jump", "run"):
        for number in range(6):
            frames(tmp_path / "frames" / name / f"v_{name}_g{number // 2:02d}_c{number:02d}", 2)
    said = run_tool("make_lists", tmp_path, "--folds", 3).stdout
    assert f"train_source: {tmp_path / 'lists/fold1/train.txt'}" in said and "(3 folds, seed 0)" in said
    held = []
    for fold in (1, 2, 3):
        folder = tmp_path / "lists" / f"fold{fold}"
        train, val = lines(folder / "train.txt"), lines(folder / "val.txt")
        assert len(val) == 4 and len(train) == 8 and not set(train) & set(val)
        groups = [{line.split("_g")[1][:2] + line[7] for line in part} for part in (train, val)]
        assert not groups[0] & groups[1]
        assert read_class_file(folder / "classInd.txt") == ["jump", "run"]
        held += val
    assert len(set(held)) == 12 and not (tmp_path / "lists/train.txt").exists()


def test_folds_of_videos_that_have_a_split_are_refused(tmp_path: Path) -> None:
    for name in ("train/run/a", "train/jump/b", "val/run/c", "val/jump/d"):
        frames(tmp_path / "frames" / name, 2)
    assert "these videos have their split (folders)" in refusal(tmp_path, "--folds", 2)
    assert "--folds divides the videos itself" in refusal(tmp_path, "--folds", 1)
    assert "leave out --split" in refusal(tmp_path, "--folds", 2, "--split", tmp_path)
    assert not (tmp_path / "lists").exists()
