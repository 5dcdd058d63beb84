"""--dry-run refuses what a run would refuse, with and without the lists."""

from __future__ import annotations

from pathlib import Path

import pytest

import main
from tests.helpers.experiment import make_experiment
from utils.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("common.freeze=[backbone.nothing]", "common.freeze"),
        ("common.lr_by_name={nothing: 0.1}", "common.lr_by_name"),
        ("common.model.kwargs.bn_var_mode=L3", "bn_var_mode"),
        ("common.augmentation.test_resize=16", "test_resize"),
        (
            "common.data.store={type: petrel}",
            "common.data.store.type: 'petrel' is not supported: give an address, such as",
        ),
        ("common.data.store={type: mc}", "common.data.store.type: 'mc' is not supported: .*the store memcached"),
        ("common.data.store={type: dsik}", "common.data.store.type: 'dsik' is unknown; did you mean `disk`"),
        ("common.augmentation.crop=nothing", "line.: common.augmentation.crop: 'nothing'"),
    ],
)
@pytest.mark.parametrize("lists", [True, False])
def test_a_dry_run_finds_what_a_run_would_refuse(tmp_path: Path, override: str, message: str, lists: bool) -> None:
    config = make_experiment(tmp_path)
    if not lists:
        for name in ("train", "val"):
            (tmp_path / "lists" / f"{name}.txt").unlink()
    with pytest.raises(ConfigError, match=message):
        main.main(["--config", str(config), "--dry-run", override])


def test_a_dry_run_looks_up_the_classes_that_mirror(tmp_path: Path) -> None:
    """Only with the lists there: the class names stand beside them."""
    config = make_experiment(tmp_path)
    with pytest.raises(ConfigError, match="flip_labels: 'left' is not a class"):
        main.main(["--config", str(config), "--dry-run", "common.augmentation.flip_labels={left: dark}"])
