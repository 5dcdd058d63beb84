"""What a run that goes on says about its data and its programs: tests/integration/test_resume.py has whole runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from utils.run import resume

FILES = {"sizes": "s", "times": "t", "pixels": "2", "root": "/data"}
LIST = {"source": "l.txt", "videos": 3, "digest": "d", "length": {}, "made": {}}
RUN = {"code": "abc", "device": "cpu", "versions": {"torch": "2.6", "av": "14"}, "launch": ""}


def told(before: dict[str, Any], now: dict[str, Any], was: Any = RUN) -> tuple[list[str], bool]:
    """Returns the notes of a run that goes on, and whether its best score still counts."""
    notes: list[str] = []
    state = SimpleNamespace(best_step=3, best_prec1=50.0, forget_best=lambda: notes.append("forgotten"))
    trainer: Any = SimpleNamespace(resume=lambda saved: [], state=state)
    run: Any = SimpleNamespace(
        note=notes.append, about=RUN, rank=SimpleNamespace(world_size=1), args=SimpleNamespace(fresh=False)
    )
    entries = {"lists": {"val": now}, "teacher": None, "class_names": None, "preprocessing": {"decode": "cpu"}}
    saved = {"step": 4, "lists": {"val": before}, "run": was, "preprocessing": {}}
    resume.restore(run, trainer, saved, entries)
    found = [note.removeprefix("after 4 steps ") for note in notes if "compared" not in note and note != "forgotten"]
    return found, "forgotten" not in notes


@pytest.mark.parametrize(
    ("change", "said", "counts"),
    [
        ({}, None, True),
        ({"sizes": "x", "times": "x"}, "some have another number of bytes", False),
        ({"times": "x"}, "they were written again, with as many bytes each", True),
        ({"times": "x", "root": "/copy"}, None, True),
        ({"sizes": "x", "root": "/copy"}, "some have another number of bytes", False),
        ({"pixels": "3"}, "this version reads other pixels", False),
        ({"contents": "x"}, None, True),  # older versions did not keep it
    ],
)
def test_files_are_compared_by_what_both_know(change: dict[str, str], said: str | None, counts: bool) -> None:
    notes, best = told({**LIST, "files": FILES}, {**LIST, "files": FILES | change})
    start = "the files of the val list are not those of before: "
    assert [note.startswith(start + (said or "")) for note in notes] == [True] * (said is not None)
    assert best == counts
    assert told(LIST, {**LIST, "files": FILES}) == ([], True), "an older version kept nothing of files"


def test_a_rule_that_a_sampler_leaves_unread_is_no_difference_of_protocols() -> None:
    timed = {"sampling": "middle", "video_sampling": {"sampler": "uniform"}, "num_clips": 1}
    assert resume.read_keys(timed) == resume.read_keys({**timed, "sampling": "segments"}) != {}
    plain = {"sampling": "middle", "video_sampling": {}, "num_clips": 1}
    assert resume.read_keys(plain) == plain and resume.read_keys("damaged") == {}


def test_a_default_that_an_older_version_did_not_know_is_no_change_of_the_config() -> None:
    notes: list[str] = []
    about = {"values": {"common.a": 1, "common.new": "default", "common.given": 2}, "set": {"common.given": "file"}}
    common = SimpleNamespace(global_batch=None)
    run: Any = SimpleNamespace(note=notes.append, about=about, common=common)
    resume.tell_changes(run, {"step": 3, "run": {"values": {"common.a": 0}}})
    assert [note.removeprefix("after 3 steps the config has changed: ") for note in notes] == [
        "common.a: 0 -> 1",
        "common.given: (absent) -> 2",
    ]


def test_files_of_other_videos_are_not_compared() -> None:
    notes, best = told({**LIST, "files": FILES}, {**LIST, "digest": "x", "files": FILES | {"sizes": "x"}})
    assert [note.partition(":")[0] for note in notes] == ["the val list has changed"] and not best


@pytest.mark.parametrize(
    ("key", "before", "now", "said"),
    [
        ("names", "a_{:05d}.jpg from 1", "b_{:05d}.jpg from 0", "read: a_{:05d}.jpg from 1 -> b_{:05d}.jpg from 0"),
        ("dumped", "one", "other", "some were dumped again, from another file or in another way"),
        ("first_frames", "one", "other", "some have another number of bytes, so frames were made anew"),
        ("lengths", "one", "other", "some videos have another number of frames"),
        ("contents", "one", "other", "the pack has other frames of some videos"),
    ],
)
def test_frames_that_are_found_or_counted_otherwise_are_said(key: str, before: str, now: str, said: str) -> None:
    notes, best = told({**LIST, "files": {key: before}}, {**LIST, "files": {key: now}})
    assert len(notes) == 1 and notes[0].endswith(said) and not best


def test_other_samples_of_the_same_videos_are_said() -> None:
    notes, best = told({**LIST, "videos": 9}, {**LIST, "files": {}})
    assert notes == ["the val list has changed: 9 -> 3 samples of the same videos"] and not best


def test_other_code_another_device_and_other_libraries_are_said() -> None:
    now = {**LIST, "files": {}}
    assert told(now, now, was={"code": "old", "device": "A100", "versions": {"torch": "2.5"}}) == (
        [
            "another version runs: torch: 2.5 -> 2.6",
            "the device has changed: A100 -> cpu",
            "the code of the project has changed: digest old -> abc",
        ],
        True,
    )
    assert told(now, now, was=None) == ([], True)
