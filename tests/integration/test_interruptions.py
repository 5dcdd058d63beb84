from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.interruptions import harass

SEED = int(os.environ.get("SEED", "0"))  # another seed, other moments: SEED=7 make test TESTS=tests/integration


@pytest.mark.long
@pytest.mark.interrupt
@pytest.mark.gloo
@pytest.mark.timeout(3600 if os.environ.get("SOAK") else 900)
@pytest.mark.parametrize(("world_size", "kills", "soak"), [(1, 5, 120), (2, 3, 50), (4, 2, 30)])
def test_killed_at_random_moments_a_run_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int, kills: int, soak: int
) -> None:
    if os.environ.get("SOAK"):
        kills = soak
    else:
        monkeypatch.setenv("DIST_TIMEOUT", "12")  # a kill before the processes have met makes the others wait as long
    assert harass(world_size, kills, SEED, tmp_path).kills >= kills
