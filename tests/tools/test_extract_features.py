from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.helpers.make_video import damage, make_video
from tests.helpers.requirements import needs_package
from tests.helpers.run_tool import run_tool
from tests.helpers.trained import CLIP, TSN, write_checkpoint
from tools import extract_features
from tools.inference import load
from utils.errors import ConfigError, UserError

T = TSN["num_segments"]


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tsn"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "a.mp4", frames=40, fps=10)
    make_video(folder / "b" / "c d.mp4", frames=25, fps=10)
    return folder


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as file:
        return file["features"], file["times"]


@pytest.mark.whole
def test_the_default_layer_is_what_predict_scores(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    assert extract_features.main([str(ckpt), str(videos), str(tmp_path)]) == 0
    recognizer = load(ckpt, device="cpu")
    for name in ("a.mp4", "b/c d.mp4"):
        logits, times = read(tmp_path / f"{name}.npz")
        prediction = recognizer.predict(videos / name)
        powers = np.exp(logits[0] - logits[0].max())
        scores = powers / powers.sum()
        np.testing.assert_allclose(prediction.scores, scores, atol=1e-5)
        assert times.tolist() == [[0, pytest.approx(prediction.seconds - 0.1)]]


@pytest.mark.whole
def test_features_times_the_classifier_are_the_logits(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    windows = ("--window", "2", "--step", "1")
    for layer in ("backbone", ""):
        extract_features.main(
            [str(ckpt), str(videos / "a.mp4"), str(tmp_path / f"-{layer}"), "--layer", layer, *windows]
        )
    features, times = read(tmp_path / "-backbone" / "a.mp4.npz")
    logits, _ = read(tmp_path / "-" / "a.mp4.npz")
    head = load(ckpt, device="cpu").method.head
    expected = features.mean(2) @ head.weight.numpy().T + head.bias.numpy()  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(times, [[0, 1.9], [1, 2.9], [2, 3.9]])


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    "model, layer, pool, shape",
    [
        (TSN, "backbone.features.18", "none", (320, T, 1, 1)),
        (TSN, "backbone.features.18", "space", (320, T)),
        (TSN, "backbone.features.18", "all", (320,)),
        (CLIP, "network.layer2", "none", (128, 4, 8, 8)),
        (CLIP, "network.layer2", "space", (128, 4)),
        (CLIP, "network.layer2", "all", (128,)),
    ],
)
def test_shapes(model: dict, layer: str, pool: str, shape: tuple, videos: Path, tmp_path: Path) -> None:
    ckpt, out = write_checkpoint(tmp_path / "ckpt", model), tmp_path / "out"
    extract_features.main([str(ckpt), str(videos / "a.mp4"), str(out), "--layer", layer, "--pool", pool])
    features, _ = read(out / "a.mp4.npz")
    assert features.shape[0] == 1 and features.shape[2:] == shape[1:] and features.dtype == np.float32


@pytest.mark.whole
def test_a_second_run_only_adds_what_is_missing(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    arguments = [str(ckpt), str(videos), str(tmp_path)]
    extract_features.main(arguments)
    kept, lost = tmp_path / "a.mp4.npz", tmp_path / "b" / "c d.mp4.npz"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    extract_features.main(arguments)
    assert kept.stat().st_mtime_ns == before and lost.is_file()
    with pytest.raises(UserError, match="made with layer ''"):
        extract_features.main([*arguments, "--layer", "backbone"])


@pytest.mark.whole
@needs_package("h5py")
@pytest.mark.parametrize("out", ["npz", "features.h5"])
def test_another_video_of_the_same_name_is_not_taken_for_the_one_before(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    for folder, frames in (("one", 40), ("other", 20), ("expected", 20)):
        make_video(tmp_path / folder / "a.mp4", frames=frames, fps=10)

    def times(folder: str, name: str) -> list[list[float]]:
        assert extract_features.main([str(ckpt), str(tmp_path / folder), str(tmp_path / name), "--window", "1"]) == 0
        if name.endswith(".h5"):
            import h5py

            with h5py.File(tmp_path / name) as file:
                return file["a.mp4"]["times"][:].tolist()
        return read(tmp_path / name / "a.mp4.npz")[1].tolist()

    expected = times("expected", f"expected_{out}")
    assert len(times("one", out)) > len(expected)
    assert "again" not in capsys.readouterr().out
    assert times("other", out) == expected
    assert "1 of 1 videos; 1 of them again, because they are not the videos that they were" in capsys.readouterr().out


@pytest.mark.whole
def test_frames_at_another_rate_or_of_another_protocol_are_not_mixed(ckpt: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(20):
        cv2.imwrite(str(frames / f"img_{number:05d}.jpg"), np.full((40, 40, 3), number, np.uint8))
    given = [str(ckpt), str(frames), str(tmp_path / "out"), "--window", "1"]
    for rate in (10, 5):
        assert extract_features.main([*given, "--fps", str(rate)]) == 0
        (made,) = (tmp_path / "out").rglob("*.npz")
        assert read(made)[1][-1, 1] == pytest.approx(19 / rate)
    other = write_checkpoint(tmp_path / "other", test={"num_crops": 3}).with_name("config.yaml")
    other.write_text(yaml.safe_dump({"common": load(other.with_name("ckpt.pth.tar")).common.model_dump(mode="json")}))
    with pytest.raises(UserError, match="made with num_crops '1', not '3'"):
        extract_features.main([*given, "--config", str(other)])


@pytest.mark.whole
@pytest.mark.parametrize("out", ["npz", "features.h5"])
def test_a_damaged_video_gets_no_features_and_is_named(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    make_video(tmp_path / "videos/good.mp4", frames=48)
    damage(make_video(tmp_path / "videos/bad.mp4", frames=48))
    (tmp_path / "videos/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    given = [str(ckpt), str(tmp_path / "videos"), str(tmp_path / out)]
    assert extract_features.main(given) == 1 and extract_features.main(given) == 1, "it stays missing"
    said = capsys.readouterr()
    assert "1 of 3 videos" in said.out and said.err.count("bad.mp4: ") == 2
    assert said.err.count("gone.mp4: No such file or directory") == 2
    assert load(ckpt, device="cpu").features(tmp_path / "videos/bad.mp4").warnings
    if out == "npz":
        assert [file.name for file in (tmp_path / out).iterdir()] == ["good.mp4.npz"]


@pytest.mark.whole
@needs_package("h5py")
def test_hdf5_holds_the_same_and_goes_on(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    import h5py

    extract_features.main([str(ckpt), str(videos), str(tmp_path / "npz")])
    target = tmp_path / "features.h5"
    arguments = [str(ckpt), str(videos), str(target)]
    extract_features.main(arguments)
    with h5py.File(target, "a") as file:
        del file["a.mp4"].attrs["whole"]  # as if killed while it was written
    extract_features.main(arguments)
    with h5py.File(target) as file:
        for name in ("a.mp4", "b/c d.mp4"):
            features, times = read(tmp_path / "npz" / f"{name}.npz")
            np.testing.assert_array_equal(file[name]["features"], features)
            np.testing.assert_array_equal(file[name]["times"], times)
    with pytest.raises(UserError, match="made with layer"):
        extract_features.main([*arguments, "--layer", "backbone"])


@pytest.mark.whole
def test_another_rule_takes_other_frames(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    arguments = [str(ckpt), str(videos / "a.mp4")]
    extract_features.main([*arguments, str(tmp_path / "1"), "--layer", "backbone"])
    more = ["--layer", "backbone", "--sampling", "tsn_val", "--num-frames", "5"]
    extract_features.main([*arguments, str(tmp_path / "2"), *more])
    assert read(tmp_path / "1" / "a.mp4.npz")[0].shape[2] == T
    assert read(tmp_path / "2" / "a.mp4.npz")[0].shape[2] == 5


@pytest.mark.whole
def test_mistakes_are_one_line(ckpt: Path, videos: Path, tmp_path: Path) -> None:
    arguments = [str(ckpt), str(videos), str(tmp_path / "out")]
    with pytest.raises(UserError, match=r"has no such layer; similar names are .*backbone"):
        extract_features.main([*arguments, "--layer", "backbon"])
    with pytest.raises(ConfigError, match="sampling 'x' is not one of"):
        extract_features.main([*arguments, "--sampling", "x"])
    several = [str(videos / "a.mp4"), str(videos / "b"), str(tmp_path / "several")]
    assert extract_features.main([str(ckpt), *several]) == 0
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == ["a.mp4.npz", "c d.mp4.npz"]
    with pytest.raises(UserError, match="name the videos"):
        extract_features.main([str(ckpt)])


def test_lists_layers_from_any_folder(ckpt: Path, tmp_path: Path) -> None:
    assert "backbone.features.0" in run_tool("extract_features", ckpt, "--list-layers", cwd=tmp_path).stdout.split()
