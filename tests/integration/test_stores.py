"""Every frame store through main.py: the same weights, and what the store counted in the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.datasets.conftest import Memcached, memcached
from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tests.helpers.requirements import needs_program
from tools import pack_frames

__all__ = ["memcached"]  # a fixture


@pytest.fixture(scope="module")
def from_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_experiment(tmp_path_factory.mktemp("disk"))
    assert run(config) == 0
    return config


@pytest.mark.memcached
@needs_program("memcached", install="apt-get install memcached")
def test_memcached_trains_to_the_weights_of_the_disk_and_counts_its_hits(
    from_disk: Path, tmp_path: Path, memcached: Callable[..., Memcached]
) -> None:
    server = memcached()
    config = make_experiment(tmp_path)
    assert run(config, f"common.data.store={{type: memcached, servers: ['{server.address}']}}", "common.workers=1") == 0
    assert same_weights(weights(config), weights(from_disk))
    said = re.findall(r"store: hit rate (\S+)%, hits (\d+), misses (\d+)", (config.parent / "log.txt").read_text())
    rate, hits, misses = map(float, said[-1])
    assert hits > 0 and misses > 0 and abs(rate - 100 * hits / (hits + misses)) < 0.06
    tags = EventAccumulator(str(config.parent / "events")).Reload().Tags()["scalars"]
    assert {"store/hit_rate", "store/hits", "store/fallbacks"} <= set(tags)


@pytest.mark.memcached
@needs_program("memcached", install="apt-get install memcached")
@pytest.mark.parametrize(
    "model",
    [
        pytest.param({"type": "img", "backbone": "mobilenetv2", "kwargs": {"scale": 0.25}}, marks=pytest.mark.long),
        pytest.param(
            {"type": "tsn", "backbone": "mobilenetv2", "num_segments": 2, "kwargs": {"scale": 0.25}},
            marks=pytest.mark.long,
        ),
        {"type": "classify", "backbone": "mc3_18", "clip_len": 2, "frame_stride": 2},
    ],
    ids=lambda model: model["type"],
)
def test_each_of_the_seeds_data_sets_trains_from_two_servers_as_from_the_disk(
    model: dict[str, object], tmp_path: Path, memcached: Callable[..., Memcached]
) -> None:
    servers = [memcached().address, memcached(port=True).address]
    settings = {"workers": 0, "val_source": None, "augmentation": {"input_size": 32}, "print_freq": 1}
    configs = [
        make_experiment(tmp_path / name, train=4, val=1, model=model | {"num_class": 2}, **settings)
        for name in ("disk", "memcached")
    ]
    stores = ["{type: disk}", f"{{type: memcached, servers: {servers}}}"]
    for config, store in zip(configs, stores, strict=True):
        assert run(config, f"common.data.store={store}", "common.lr_scheduler.max_iter=3") == 0
    assert same_weights(weights(configs[0]), weights(configs[1]))
    found = re.findall(r"hits (\d+), misses (\d+), fallbacks 0", (configs[1].parent / "log.txt").read_text())
    assert int(found[-1][0]) > 0 and int(found[-1][1]) > 0


def test_packed_frames_train_to_the_weights_of_the_disk(from_disk: Path, tmp_path: Path) -> None:
    config = make_experiment(tmp_path)
    lists = [str(tmp_path / "lists" / name) for name in ("train.txt", "val.txt")]
    assert not pack_frames.main([str(tmp_path / "pack"), *lists, "--root", str(tmp_path / "frames")])
    assert (
        run(config, f"common.data.store={{type: packed, folder: {tmp_path / 'pack'}}}", "common.train_root=/gone") == 0
    )
    assert same_weights(weights(config), weights(from_disk))
