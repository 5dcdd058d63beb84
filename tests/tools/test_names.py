"""Names of published weights stand wherever a checkpoint does, and each command fetches what it needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.experiment import make_experiment, run
from tests.helpers.file_server import FileServer
from tests.helpers.make_video import make_video
from tests.helpers.publish import publish, use_registry
from tests.helpers.requirements import ROOT
from tests.helpers.run_tool import run_tool
from tests.helpers.trained import UNI, write_checkpoint
from tests.integration.interruptions import finish, start
from tools.inference import load
from utils.errors import CheckpointError, UserError
from utils.published.registry import Published
from utils.run import checkpoint

pytestmark = pytest.mark.whole
NAME = "set/net"
BOUND = f"{NAME}: its licence, CC-BY-NC-4.0, forbids commercial use"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of an experiment that has trained one step."""
    config = make_experiment(tmp_path_factory.mktemp("trained"), train=4, val=2, val_freq=1)
    assert run(config, "common.lr_scheduler.max_iter=2") == 0
    return config


@pytest.fixture
def net(trained: Path, file_server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Published:
    """The checkpoint of `trained`, published under a licence that forbids something."""
    found = publish(trained.parent / checkpoint.BEST, file_server, NAME, licence="CC-BY-NC-4.0", commercial="no")
    use_registry([found], monkeypatch)
    return found


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """Copies the config of `trained` into a folder that has not been trained."""
    (tmp_path / "again").mkdir()
    return Path(shutil.copy(trained, tmp_path / "again" / "config.yaml"))


def test_an_evaluation_by_name_is_that_of_the_file(
    trained: Path, net: Published, file_server: FileServer, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (NAME, str(trained.parent / checkpoint.BEST)):
        assert run(copied, "--evaluate", "--load-path", path) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "Prec@1" in line]
    assert len(lines) == 2 and lines[0].split("Prec@1")[1] == lines[1].split("Prec@1")[1]
    assert len(file_server.asked) == 1


@pytest.mark.parametrize("way", [["--load-path", NAME], [f"common.model.pretrained={NAME}"]], ids=["flag", "config"])
def test_a_training_from_a_name_keeps_what_its_licence_forbids(
    net: Published, copied: Path, way: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(copied, *way, "common.lr_scheduler.max_iter=1") == 0
    assert BOUND in checkpoint.load(copied.parent / checkpoint.NEWEST)["notes"]
    err = capfd.readouterr().err
    assert err.index(BOUND) < err.index(f"{NAME}: downloading {net.url}")
    assert "warning: " + BOUND in (copied.parent / "log.txt").read_text()


def test_a_dry_run_fetches_nothing_and_says_what_a_run_would(
    net: Published, file_server: FileServer, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(copied, "--dry-run", f"common.model.pretrained={NAME}") == 0
    words = f"{net.name} is not here yet: a run begins with its download from {net.url}"
    assert words in capsys.readouterr().out and file_server.asked == []


def test_a_run_that_goes_on_needs_no_weights_to_begin_with(
    net: Published, file_server: FileServer, copied: Path
) -> None:
    command = [f"common.model.pretrained={NAME}", "common.lr_scheduler.max_iter=2"]
    assert run(copied, *command) == 0
    file_server.stop()
    shutil.rmtree(copied.parent.parent / "torch")
    assert run(copied, *command) == 0


@pytest.mark.gloo
def test_of_two_processes_of_a_run_one_fetches(net: Published, file_server: FileServer, copied: Path) -> None:
    codes = finish(start(copied, 2, "--evaluate", "--load-path", NAME))
    printed = [(copied.parent / f"output_{rank}.txt").read_text() for rank in range(2)]
    assert codes == [0, 0], printed
    assert len(file_server.asked) == 1 and sum(text.count("downloading") for text in printed) == 1
    assert file_server.asked[0][0].endswith(net.name)


@pytest.mark.gloo
def test_all_processes_end_where_nothing_can_be_fetched(net: Published, file_server: FileServer, copied: Path) -> None:
    file_server.stop()
    assert finish(start(copied, 2, f"common.model.pretrained={NAME}")) == [2, 2]
    for rank in range(2):
        last = (copied.parent / f"output_{rank}.txt").read_text().splitlines()[-1]
        assert last.startswith("error: ") and "cannot be reached (Connection refused); or put the file here as" in last
    assert not (copied.parent / checkpoint.NEWEST).exists()


def test_pretrained_true_fetches_the_image_weights_of_the_library(
    file_server: FileServer, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from networks.checkpoints import load as loading
    from networks.image.mobilenet import mobilenet_v2

    torch.save(mobilenet_v2(scale=0.25).state_dict(), tmp_path / "image.pth")
    entry = publish(tmp_path / "image.pth", file_server)
    asked: list[str] = []
    monkeypatch.setattr(loading, "image_weights", lambda architecture: asked.append(architecture) or entry)
    assert run(copied, "common.model.pretrained=True", "common.lr_scheduler.max_iter=1") == 0
    log = (copied.parent / "log.txt").read_text()
    assert f"{entry.name} (image network of torchvision or timm): 312 matched, 0 missing" in log
    assert set(asked) == {"mobilenet_v2"} and len(file_server.asked) == 1


def test_a_fusion_of_names_is_one_of_checkpoints(trained: Path, net: Published, copied: Path) -> None:
    assert run(copied, "--evaluate", "--fusion-list", NAME, str(trained.parent / checkpoint.NEWEST)) == 0
    assert f"{NAME}: " in (copied.parent / "log.txt").read_text()


def test_a_wrong_name_ends_a_run_before_it_begins(net: Published, copied: Path) -> None:
    for way in (["--load-path", "set/nett"], ["--evaluate", "--fusion-list", "set/nett", NAME]):
        with pytest.raises(CheckpointError, match=r"set/nett: no published weights .* nearest are set/net"):
            run(copied, *way)
    assert [path.name for path in copied.parent.iterdir()] == ["config.yaml"]


@pytest.mark.long
def test_every_command_for_a_checkpoint_takes_a_name(net: Published, file_server: FileServer, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames=12, fps=10)
    out, err = run_tool("predict", NAME, video)
    assert "dark" in out and f"note: {BOUND}" in err
    run_tool("cam", NAME, video, tmp_path / "seen.png")
    run_tool("export", NAME, tmp_path / "net.pt2")
    run_tool("extract_features", NAME, video, tmp_path / "features")
    assert (
        (tmp_path / "seen.png").exists() and (tmp_path / "net.pt2").exists() and any((tmp_path / "features").iterdir())
    )
    assert len(file_server.asked) == 1


def test_a_stream_takes_a_name(file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_registry([publish(write_checkpoint(tmp_path / "uni", UNI), file_server)], monkeypatch)
    assert "0" in run_tool("stream", NAME, "--check").stdout


def test_the_hub_fills_a_network_by_name(
    file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path / "uni", UNI)
    use_registry([publish(path, file_server)], monkeypatch)
    network = torch.hub.load(str(ROOT), "published", source="local", name=NAME)
    state = checkpoint.load(path)["state_dict"]
    assert all(torch.equal(value, state[f"module.{key}"]) for key, value in network.state_dict().items())
    assert not network.training


def test_weights_of_another_project_are_used_without_a_config(
    file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models.video import mc3_18

    torch.save(mc3_18().state_dict(), tmp_path / "mc3.pth")
    use_registry([publish(tmp_path / "mc3.pth", file_server)], monkeypatch)
    recognizer = load(NAME, device="cpu")
    assert recognizer.class_names is not None and recognizer.class_names[:2] == ["abseiling", "air drumming"]
    assert recognizer.notes[0] == "network as the file shows it, test protocol of torchvision video"
    assert recognizer.protocol.transform.size == (112, 112) and recognizer.protocol.num_clips == 5
    scores = recognizer.scores(np.zeros((20, 120, 160, 3), np.uint8))
    assert scores.shape == (400,) and scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_published_network_with_a_recipe_is_tested_as_the_recipe_says(
    file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models.video import mc3_18

    torch.save(mc3_18().state_dict(), tmp_path / "mc3.pth")
    recipe = "kinetics400/mc3_18_torchvision"
    use_registry([publish(tmp_path / "mc3.pth", file_server, recipe=recipe, relation="published")], monkeypatch)
    recognizer = load(NAME, device="cpu")
    assert recognizer.notes[0] == f"network and test protocol are those of exps/{recipe}"
    assert recognizer.common.train_source == "data/kin400/lists/train.txt"


def test_an_image_network_has_nothing_to_say_about_videos(
    file_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import mobilenet_v2

    torch.save(mobilenet_v2().state_dict(), tmp_path / "image.pth")
    use_registry([publish(tmp_path / "image.pth", file_server)], monkeypatch)
    with pytest.raises(UserError, match="an image network without a video classifier"):
        load(NAME, device="cpu")


def test_answers_name_the_file_that_gave_them(net: Published, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames=12, fps=10)
    told = json.loads(run_tool("predict", NAME, video, "--json", "-").stdout)
    assert told["checkpoint"].endswith(net.name)
