"""The films of motion8 show what their table of spans says, at the frames that it says."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from datasets.spans.files import read_spans
from datasets.videos.video import Video
from tools import make_motion8
from tools.dumping.make_films import BACKGROUND, Film, draw, shots, spans
from tools.dumping.make_motion8 import CLASSES, FPS, NUM_FRAMES
from utils.errors import UserError

FILMS = [Film(number, "train", 750, seed=0) for number in range(40)]


def test_shots_fill_the_film_and_no_two_actions_of_a_class_touch() -> None:
    for film in FILMS:
        found = shots(film)
        assert sum(shot.frames for shot in found) == film.frames
        assert not any(one.label == other.label != "" for one, other in itertools.pairwise(found))
        assert all(shot.frames % NUM_FRAMES == 0 for shot in found if shot.label)
        assert all(BACKGROUND[0] <= shot.frames for shot in found[:-1] if not shot.label)
    labels = [label for film in FILMS for label, _, _ in spans(film)]
    assert {*labels} == {*CLASSES} and len(labels) > 5 * len(FILMS)


def test_background_stands_still_or_comes_in_a_random_order_and_actions_move_steadily() -> None:
    film = Film(3, "val", 250, seed=1)
    frames, first = draw(film).astype(np.float32), 0
    assert frames.shape[0] == film.frames and draw(film).tobytes() == draw(film).tobytes()
    for shot in shots(film):
        part = frames[first : first + min(shot.frames, NUM_FRAMES)]
        steps = np.abs(np.diff(part, axis=0)).mean((1, 2, 3))
        if not shot.label and not shot.shuffled:
            assert steps.max() == 0
        elif shot.label:
            assert 0 < steps.max() < 3 * np.median(steps)
        first += shot.frames


@pytest.mark.whole
def test_the_table_of_spans_fits_the_films(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "films"), "--films", "--train", "2", "--val", "1", "--seconds", "8", "--workers", "1"]
    assert make_motion8.main(arguments) == 0
    table = read_spans([tmp_path / "films" / "spans.csv"])
    assert [video.name for video in table.videos] == ["train/film_000.mp4", "train/film_001.mp4", "val/film_002.mp4"]
    assert [video.subset for video in table.videos] == ["train", "train", "val"]
    for number, video in enumerate(table.videos):
        assert len(Video(tmp_path / "films" / video.name).info.times) == 8 * FPS
        expected = [*spans(Film(number, video.subset, 8 * FPS, seed=0))]
        assert [(span.label, span.start, span.end) for span in video.spans] == expected
    before = (tmp_path / "films" / "spans.csv").stat().st_mtime_ns
    assert make_motion8.main(arguments) == 0
    assert (tmp_path / "films" / "spans.csv").stat().st_mtime_ns == before


def test_a_length_without_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seconds is the length of --films"):
        make_motion8.main([str(tmp_path / "x"), "--seconds", "9"])
