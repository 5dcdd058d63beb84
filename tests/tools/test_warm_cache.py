"""The cache is filled ahead of training, by the same keys that training asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from datasets import MemcachedStore
from tests.datasets.conftest import Memcached, memcached, tiny_frames  # noqa: F401 - fixtures
from tests.helpers.requirements import needs_program
from tests.helpers.run_tool import run_tool
from tools import warm_cache

pytestmark = [pytest.mark.memcached, needs_program("memcached", install="apt-get install memcached")]


def write_config(folder: Path, source: Path, store: str) -> Path:
    root = source.parent.parent / "frames"
    config = folder / "config.yaml"
    config.write_text(f"""
common:
    model: {{type: tsn, backbone: resnet18, num_segments: 3, num_class: 2}}
    augmentation: {{input_size: 32}}
    batch_size: 2
    lr_scheduler: {{type: COSINE, base_lr: 0.1, max_iter: 2}}
    train_root: {root}
    train_source: {source}
    val_root: {root}
    val_source: {source}
    data: {{store: {store}}}
""")
    return config


def test_after_warming_everything_is_a_hit(
    tiny_frames: Callable[..., Path],  # noqa: F811
    memcached: Callable[..., Memcached],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    source, server = tiny_frames(40, 3), memcached()
    config = write_config(tmp_path, source, f"{{type: memcached, servers: ['{server.address}']}}")
    assert warm_cache.main([str(config), "--split", "train", "--workers", "2"]) == 0
    said = capsys.readouterr().out
    assert "train: 2 videos" in said and "43 frames stored, 0 larger" in said and "of 64 MiB used" in said
    store = MemcachedStore(tmp_path / "frames", servers=[server.address])
    store.get_many("v0", range(40))
    assert store.stats()["hits"] == 40
    (tmp_path / "frames/v1/img_00003.jpg").write_bytes(b"")
    assert warm_cache.main([str(config), "--workers", "1"]) == 1
    assert "img_00003.jpg: the file is empty" in capsys.readouterr().err


def test_wrong_input_is_one_line(tiny_frames: Callable[..., Path], tmp_path: Path):  # noqa: F811
    source = tiny_frames(2, 2)
    config = write_config(tmp_path, source, "{type: memcached, servers: ['127.0.0.1:1']}")
    assert "127.0.0.1:1: cannot be reached" in run_tool("warm_cache", config, code=2).stderr
    config = write_config(tmp_path, source, "{type: disk}")
    done = run_tool("warm_cache", config, code=2)
    assert "only a memcached store" in done.stderr and done.stderr.count("\n") == 1
    (tmp_path / "frames").rename(tmp_path / "no frames")
    config = write_config(tmp_path, source, "{type: video}")
    assert "common.data.store.type: video: only a memcached store" in run_tool("warm_cache", config, code=2).stderr
