"""A network over the features of whole videos learns when something happens, from a list of spans to the answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml

from anal_tools import report
from tests.helpers.experiment import run
from tests.helpers.make_video import damage, encoder
from tests.helpers.run_tool import run_tool
from tests.helpers.transformers import VIDEO
from tests.integration.interruptions import finish, losses, start
from tools import score_segments, segment
from tools.inference import load
from utils.errors import ConfigError, ListError, UserError
from utils.run import checkpoint

FPS, SECONDS = 10, 12
LEVELS = {"bright": 220, "grey": 90}
SPANS = {
    "film_0": [("bright", 2.0, 5.0), ("grey", 8.0, 10.0)],
    "film 1": [("grey", 0.0, 3.0), ("bright", 6.0, 12.0)],
    "film_2": [("grey", 1.0, 4.0), ("bright", 4.0, 8.0)],
}
BACKBONE = {"backbone": "resnet18", "num_segments": 1, "window": 0.4, "step": 0.2}
CLOSE = {"mstcn": 0.3, "actionformer": 1.0}  # seconds by which borders may be wrong after so few steps
SIZES = {"mstcn": {"stages": 2, "layers": 4, "channels": 16}, "actionformer": {"levels": 3, "channels": 32}}


def make_film(path: Path, spans: list[tuple[str, float, float]]) -> None:
    """A film that is bright or grey in the spans and dark elsewhere."""
    with encoder(path, "libx264", rate=FPS, size=(64, 48), pix_fmt="yuv420p", container=None) as (output, stream):
        for index in range(FPS * SECONDS):
            level = max([LEVELS[label] for label, start, end in spans if start <= index / FPS < end], default=0)
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films")
    for name, spans in SPANS.items():
        make_film(root / f"{name}.mp4", spans)
    for part, names in {"train": ["film_0", "film 1"], "val": ["film_2"]}.items():
        rows = [f"{name}.mp4,{label},{start},{end}\n" for name in names for label, start, end in SPANS[name]]
        (root / f"{part}.csv").write_text("path,label,start,end\n" + "".join(rows))
    (root / "classInd.txt").write_text("0 bright\n1 grey\n")
    return root


def experiment(films: Path, folder: Path, *, head: str = "mstcn", **common: Any) -> Path:
    config = {
        "model": {"type": "segment", "head": head, "num_class": 2, **BACKBONE, **SIZES[head]},
        "augmentation": {"input_size": 32, "crop": "test", "flip": False},
        "data": {"store": {"type": "video", "cache": str(films / "index")}, "feature_cache": str(films / "features")},
        "optimizer": "ADAMW",
        "batch_size": 2,
        "lr_scheduler": {"base_lr": 0.01, "max_iter": 100},
        "val_freq": 50,
        "watch": {"clips": 0},
        "train_root": str(films),
        "train_source": str(films / "train.csv"),
        "val_root": str(films),
        "val_source": str(films / "val.csv"),
    } | common
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"common": config}))
    return path


@pytest.mark.whole
@pytest.mark.parametrize("head", SIZES)
def test_a_network_over_whole_videos_learns_when_a_film_is_bright_or_grey(
    films: Path, tmp_path: Path, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = experiment(films, tmp_path / head, head=head)
    assert run(config, "--dry-run") == 0
    assert "2 videos" in capsys.readouterr().out
    assert run(config) == 0
    entries = [json.loads(line) for line in (config.parent / "metrics.jsonl").read_text().splitlines()]
    best = max(entry["mAP"] for entry in entries if entry["kind"] == "val")
    assert best == pytest.approx(100.0)

    assert run(config, "--evaluate") == 0
    results = [str(config.parent / f"reference_{name}.json") for name in ("truth", "segments")]
    with pytest.raises(UserError, match=re.escape(f"python -m tools.score_segments {' '.join(results)} --page")):
        report.main(["-e", str(config.parent)])
    page = str(tmp_path / "page.html")
    assert (
        score_segments.main([*results, "--tiou", "0.5", "--json", str(tmp_path / "scores.json"), "--page", page]) == 0
    )
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["scores"]["mAP@0.5"]["value"] == pytest.approx(best)
    assert scores["borders"]["both"] <= CLOSE[head]

    saved = config.parent / checkpoint.BEST
    assert segment.main([str(saved), str(films / "film_2.mp4"), "--out", str(tmp_path / "answer.json")]) == 0
    found = json.loads((tmp_path / "answer.json").read_text())["results"]["film_2.mp4"]
    assert [one["label"] for one in found] == ["grey", "bright"]
    assert np.abs(np.array([one["segment"] for one in found]) - [(1.0, 4.0), (4.0, 8.0)]).max() <= CLOSE[head]

    with pytest.raises(
        UserError, match=r"window: .* was trained with 0\.4 s and can use nothing else; leave the option out"
    ):
        load(saved).timeline(films / "film_2.mp4", window=1.0)
    with pytest.raises(UserError, match=r"gives no class to a clip; use tools\.segment"):
        load(saved).predict(films / "film_2.mp4")
    assert "gives no class to a clip" in run_tool("litmus", saved, tmp_path / "any.txt", code=2).stderr


@pytest.mark.long
@pytest.mark.parametrize("name", VIDEO)
def test_what_a_video_transformer_sees_of_windows_is_enough_to_find_them(
    films: Path, tmp_path: Path, name: str
) -> None:
    backbone = {key: value for key, value in VIDEO[name].items() if key != "type"} | {"window": 0.4, "step": 0.2}
    model = {"type": "segment", "head": "mstcn", "num_class": 2, **SIZES["mstcn"], **backbone}
    config = experiment(films, tmp_path / name, model=model, data={
        "store": {"type": "video", "cache": str(films / "index")}, "feature_cache": str(tmp_path / "features")
    })  # fmt: skip
    assert run(config) == 0
    entries = [json.loads(line) for line in (config.parent / "metrics.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in entries if entry["kind"] == "train"]
    assert losses[-1] < 0.7 * losses[0]
    answers = [str(config.parent / checkpoint.BEST), str(films / "film_2.mp4"), "--out", str(tmp_path / "answer.json")]
    assert segment.main(answers) == 0
    found = json.loads((tmp_path / "answer.json").read_text())["results"]["film_2.mp4"]
    assert {one["label"] for one in found} == {"grey", "bright"}


def test_a_damaged_video_ends_the_run_before_the_first_step_with_its_name(films: Path, tmp_path: Path) -> None:
    make_film(tmp_path / "film_2.mp4", SPANS["film_2"])
    damage(tmp_path / "film_2.mp4")
    config = experiment(films, tmp_path / "run", val_root=str(tmp_path))
    with pytest.raises(ListError, match=r"val\.csv:2: .*film_2\.mp4: .*bad_frame_budget is 0"):
        run(config)
    assert not (tmp_path / "run" / checkpoint.NEWEST).exists()


@pytest.mark.parametrize(
    ("common", "message"),
    [
        ({"data": {"context": 0.5, "store": {"type": "video", "sampler": "random"}}}, "type: segment sees the features "
         "of whole videos; set data.context: leave it out; data.store.sampler: leave it out; "
         "data.feature_cache: a folder"),
        ({"label_smooth": 0.1, "test": {"num_crops": 3}}, "set label_smooth: leave it out; test.num_crops: 1"),
        ({"model": {"type": "segment", "num_class": 2, **BACKBONE, "levels": 3}}, "levels: is for the other head, and "
         "head is mstcn"),
    ],
)  # fmt: skip
def test_a_config_with_what_whole_videos_have_no_use_for_is_refused(
    films: Path, tmp_path: Path, common: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        run(experiment(films, tmp_path, **common), "--dry-run")


def test_clips_of_whole_videos_cannot_be_drawn(films: Path, tmp_path: Path) -> None:
    assert "no clips that could be drawn" in run_tool("browse_data", experiment(films, tmp_path), code=2).stderr


@pytest.mark.gloo
@pytest.mark.parametrize("head", SIZES)
def test_two_processes_learn_and_score_as_one_does(films: Path, tmp_path: Path, head: str) -> None:
    configs = {}
    for world_size in (1, 2):
        features = {"store": {"type": "video"}, "feature_cache": str(tmp_path / f"features {world_size}")}
        configs[world_size] = experiment(
            films,
            tmp_path / str(world_size),
            head=head,
            data=features,
            batch_size=2 // world_size,
            lr_scheduler={"base_lr": 0.01, "max_iter": 8},
            val_freq=4,
            print_freq=1,
            val_source=str(films / "train.csv"),
            test={"batch_size": 1},  # sums of a batch of two differ in their last bits
        )
        codes = finish(start(configs[world_size], world_size))
        assert codes == [0] * world_size, (configs[world_size].parent / "output_0.txt").read_text()
        assert len([*(tmp_path / f"features {world_size}").iterdir()]) == 2
    alone, together = map(losses, configs.values())
    assert len(alone) > 8
    for (step, kind, loss), (other_step, other_kind, other) in zip(alone, together, strict=True):
        assert (step, kind) == (other_step, other_kind)
        assert loss == pytest.approx(other, rel=1e-3)
    answers = []
    for world_size in (1, 2):  # of the same network
        assert finish(start(configs[1], world_size, "--evaluate")) == [0] * world_size
        answers.append(json.loads((configs[1].parent / "reference_segments.json").read_text())["results"])
    assert len(answers[0]) == 2 and answers[0] == answers[1]
