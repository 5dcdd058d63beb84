"""Tests invariants of all sampling rules that a config can name, and our own two rules."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.sampling.rules import SAMPLING, get_rule, segments_test, segments_train
from utils.clip_spec import ClipSpec
from utils.errors import ConfigError

LENGTHS = [1, 2, 3, 5, 7, 8, 9, 31, 32, 33, 64, 65, 100, 300]


@pytest.mark.parametrize("name", sorted(SAMPLING))
def test_every_rule_stays_inside_every_video(name: str, rng: np.random.Generator):
    rule = SAMPLING[name]
    for num_frames in LENGTHS:
        for clip_len in (1, 3, 8, 16):
            for stride in (1, 2, 8) if rule.uses_stride else (1,):
                train = rule.train(num_frames, clip_len, stride, rng)
                test = rule.test(num_frames, clip_len, stride, rule.num_clips)
                assert train.shape == (clip_len,) and test.shape == (rule.num_clips, clip_len)
                for indices in (train, test):
                    assert indices.dtype == np.int64
                    assert indices.min() >= 0 and indices.max() < num_frames, (num_frames, clip_len, stride)


@pytest.mark.parametrize("name", sorted(SAMPLING))
def test_training_depends_on_nothing_but_its_generator(name: str):
    rule = SAMPLING[name]
    draws = [rule.train(300, 8, 1, np.random.default_rng(7)) for _ in range(2)]
    assert draws[0].tolist() == draws[1].tolist()
    others = [rule.train(300, 8, 1, np.random.default_rng(seed)).tolist() for seed in range(9)]
    assert any(other != draws[0].tolist() for other in others) == (not name.startswith("middle"))


@pytest.mark.parametrize("name", ["middle", "middle_clip"])
def test_the_middle_is_in_training_what_the_test_shows(name: str, rng: np.random.Generator):
    rule = SAMPLING[name]
    assert rule.train(30, 4, 1, rng).tolist() == rule.test(30, 4, 1, 1)[0].tolist()


@pytest.mark.parametrize("name", sorted(name for name in SAMPLING if not SAMPLING[name].fixed_num_clips))
def test_one_test_clip_is_as_good_as_ten(name: str):
    rule = SAMPLING[name]
    assert rule.test(300, 8, 1, 1).shape == (1, 8)
    assert len(np.unique(rule.test(300, 8, 1, 10), axis=0)) == 10


def test_segment_centres_of_the_seed():
    assert segments_test(100, 3, 1).tolist() == [[16, 50, 83]]
    assert segments_test(5, 8, 1).tolist() == [[0, 0, 1, 2, 2, 3, 4, 4]]
    assert segments_test(8, 8, 1).tolist() == [list(range(8))]


@pytest.mark.parametrize("num_frames", [8, 9, 23, 100, 101])
def test_every_frame_has_its_turn_and_its_own_segment(num_frames: int):
    draws = np.stack([segments_train(num_frames, 8, np.random.default_rng(seed)) for seed in range(400)])
    assert set(draws.ravel().tolist()) == set(range(num_frames))
    assert (np.diff(draws, axis=1) > 0).all()
    borders = [i * num_frames // 8 for i in range(9)]
    for segment in range(8):
        assert borders[segment] <= draws[:, segment].min() and draws[:, segment].max() < borders[segment + 1]


def test_short_videos_repeat_frames_in_order(rng: np.random.Generator):
    assert segments_train(1, 3, rng).tolist() == [0, 0, 0]
    draws = segments_train(3, 8, rng)
    assert (np.diff(draws) >= 0).all() and set(draws.tolist()) == {0, 1, 2}
    assert SAMPLING["clip"].test(3, 5, 1, 1).tolist() == [[0, 1, 2, 2, 2]]


def test_clip_rule_reaches_first_and_last_frame():
    views = SAMPLING["clip"].test(100, 8, 4, 10)
    assert views[0, 0] == 0 and views[-1, -1] == 99
    starts = {int(SAMPLING["clip"].train(31, 8, 4, np.random.default_rng(seed))[0]) for seed in range(60)}
    assert starts == {0, 1, 2}


def test_dense_starts_of_tsm():
    assert (SAMPLING["dense"].test(300, 8, 1, 10)[:, 0] + 1).tolist() == [1, 27, 53, 79, 105, 132, 158, 184, 210, 237]
    assert (SAMPLING["dense"].test(40, 8, 1, 10)[0] + 1).tolist() == [1, 9, 17, 25, 33, 1, 9, 17]


def test_a_rule_refuses_what_it_cannot_honour():
    with pytest.raises(ConfigError, match="'segmnts' is not one of segments, middle, clip"):
        get_rule("segmnts")
    with pytest.raises(ConfigError, match="frame_stride must be 1, not 4"):
        get_rule("segments").check("segments", ClipSpec(8, 4), 1)
    with pytest.raises(ConfigError, match="'twice' gives 2 clips per video, not 10"):
        get_rule("twice").check("twice", ClipSpec(8), 10)
    with pytest.raises(
        ConfigError, match=r"'tsn' takes single frames, and a clip .* 2 windows .*; take one of clip, mi"
    ):
        get_rule("tsn").check("tsn", ClipSpec(8, segments=2), 1)
    get_rule("clip").check("clip", ClipSpec(8, 4, segments=2), 10)


def test_a_clip_of_several_windows_has_one_from_each_part_of_the_video(rng: np.random.Generator):
    clip = ClipSpec(12, 2, segments=3)  # three windows of 7 frames, of which they take 4
    for name in sorted(name for name, rule in SAMPLING.items() if rule.uses_stride):
        for _ in range(20):
            windows = SAMPLING[name].draw(90, clip, rng).reshape(3, 4)
            assert (windows // 30 == [[0], [1], [2]]).all(), name
        picked = SAMPLING[name].pick(90, clip, 1)
        assert picked.shape == (1, 12) and np.array_equal(picked.reshape(3, 4), SAMPLING[name].test(90, 4, 2, 3))
        views = SAMPLING[name].pick(90, clip, 2).reshape(2, 3, 4)
        assert np.array_equal(views.transpose(1, 0, 2).reshape(6, 4), SAMPLING[name].test(90, 4, 2, 6))


def test_windows_overlap_in_a_short_video_and_are_one_where_it_is_shorter_than_they_are(rng: np.random.Generator):
    clip = ClipSpec(12, 2, segments=3)
    windows = SAMPLING["clip"].draw(12, clip, rng).reshape(3, 4)
    assert (windows[:, 0] - [0, 2, 4] >= 0).all() and (windows[:, -1] < [8, 10, 12]).all()
    assert SAMPLING["clip"].draw(5, clip, rng).tolist() == [0, 2, 4, 4] * 3
