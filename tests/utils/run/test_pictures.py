from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from tests.helpers.experiment import make_experiment, run, same_weights, weights
from tests.helpers.grey import ALONE, CPU, GreyList, config
from utils.config.schema import Common
from utils.plots.contact_sheet import CAPTION, GAP
from utils.run.folder import RunFolder
from utils.run.pictures import HIGHEST, MOST_CLASSES, MOST_FRAMES, MOST_VALUES, EventPictures
from utils.scoring.evaluation import Evaluation
from utils.training.batch import Batch
from utils.training.mixup import Mix
from utils.training.precision import Precision
from utils.training.trainer import Step, Trainer
from utils.transforms.augment import Augment

AUGMENT = Augment(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "events"), size_guidance={"images": 0, "histograms": 0}).Reload()


def pictures(folder: Path, tag: str) -> list[tuple[int, np.ndarray]]:
    found = events(folder).Images(tag)
    return [(one.step, np.asarray(Image.open(io.BytesIO(one.encoded_image_string)))) for one in found]


class Normalised(GreyList):
    """A list whose batches `AUGMENT` normalises."""

    def __init__(self, common: Common) -> None:
        super().__init__(common, 9)
        self.protocol.augment = AUGMENT


def event_pictures(folder: RunFolder, model: nn.Module, num_class: int = 3, **watch: object) -> EventPictures:
    common = config(model={"type": "tsn", "backbone": "resnet18", "num_class": num_class}, watch=watch)
    trainer = Trainer(model, common, Normalised(common), rank=ALONE, precision=Precision("off", CPU))
    return EventPictures(folder, trainer, None)


def a_batch(clips: Tensor) -> Batch:
    return Batch(clips, torch.arange(len(clips)), torch.arange(len(clips)), {}, [""] * len(clips))


def test_the_batch_is_shown_as_the_network_gets_it_but_denormalised(tmp_path: Path) -> None:
    raw = torch.randint(0, 256, (3, 1, 3, 4, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clips = AUGMENT.apply(raw)
    before = clips.clone()
    with RunFolder(tmp_path) as folder:
        event_pictures(folder, nn.Linear(1, 1), clips=2).draw(Step(4, lr=0.1, clips=clips, batch=a_batch(raw)))
        event_pictures(folder, nn.Linear(1, 1), clips=2).draw(Step(5, lr=0.1))
    assert torch.equal(clips, before)
    ((number, sheet),) = pictures(tmp_path, "pictures/batch")
    assert number == 4
    assert sheet.shape == (2 * (20 + CAPTION + GAP), 4 * (24 + GAP), 3)
    for row in range(2):
        for column in range(4):
            top, left = row * (20 + CAPTION + GAP) + CAPTION, column * (24 + GAP)
            expected = raw[row, 0, :, column].permute(1, 2, 0).numpy()
            assert np.array_equal(sheet[top : top + 20, left : left + 24], expected)


def test_a_picture_of_a_batch_is_bounded_and_says_how_clips_are_mixed(tmp_path: Path) -> None:
    clips = torch.zeros(2, 3, 64, 400, 400)
    with RunFolder(tmp_path) as folder:
        drawn = event_pictures(folder, nn.Linear(1, 1), clips=100)
        batch, mix = a_batch(clips[:, None]), Mix(0.75, torch.tensor([1, 0]))
        step = Step(0, lr=0.1, clips=clips, batch=batch, mix=mix)
        drawn.draw(step)
        assert drawn._captions(step) == ["75% 0, 25% 1", "75% 1, 25% 0"]
        step.mix = None
        step.batch = Batch(clips[:, None], torch.tensor([[1, 0, 1], [0, 1, 0]]), torch.arange(2), {}, ["", ""])
        assert drawn._captions(step) == ["0; 2", "1"]
        batch.faults[1] = "gone.jpg"
        step.batch = batch
        assert drawn._captions(step) == ["0", "unreadable: gone.jpg"]
    (_, sheet), *_ = pictures(tmp_path, "pictures/batch")
    assert sheet.shape[0] <= 2 * (HIGHEST + CAPTION + GAP) and sheet.shape[1] <= MOST_FRAMES * (HIGHEST + GAP)


@pytest.mark.whole
def test_a_confusion_matrix_is_drawn_for_many_classes_and_not_without_labels(tmp_path: Path) -> None:
    def scored(labels: np.ndarray, num_class: int) -> Evaluation:
        scores = np.random.default_rng(0).random((len(labels), num_class), dtype=np.float32)
        return Evaluation("val", [str(place) for place in range(len(labels))], labels, scores)

    with RunFolder(tmp_path) as folder:
        event_pictures(folder, nn.Linear(1, 1)).confusion(Step(3, lr=0.1), scored(np.full(4, -1), 3))
        event_pictures(folder, nn.Linear(1, 1)).confusion(
            Step(4, lr=0.1), scored(np.array([0, 1, -1, 1]), 3)
        )  # a class never seen
        event_pictures(folder, nn.Linear(1, 1), MOST_CLASSES * 3).confusion(
            Step(5, lr=0.1), scored(np.arange(99), MOST_CLASSES * 3)
        )
        event_pictures(folder, nn.Linear(1, 1)).confusion(
            Step(6, lr=0.1), scored(np.eye(3, dtype=np.int8), 3)
        )  # sets of classes
        event_pictures(folder, nn.Linear(1, 1), confusion=False).confusion(Step(6, lr=0.1), scored(np.arange(3), 3))
    shown = pictures(tmp_path, "pictures/confusion")
    assert [step for step, _ in shown] == [4, 5]
    assert all(max(picture.shape) < 2000 for _, picture in shown)


def test_histograms_hold_finite_values_of_weights_and_gradients_in_bounded_number(tmp_path: Path) -> None:
    model = nn.Linear(300, 100)
    model(torch.ones(1, 300)).sum().backward()
    assert model.bias.grad is not None
    model.bias.grad[:] = torch.nan
    with RunFolder(tmp_path) as folder:
        drawn = event_pictures(folder, model, histograms=2)
        for number in range(5):
            drawn.draw(Step(number, lr=0.1, skipped=number == 4))
    found = events(tmp_path)
    assert set(found.Tags()["histograms"]) == {"weights/weight", "weights/bias", "gradients/weight"}
    assert [event.step for event in found.Histograms("weights/weight")] == [0, 2]
    assert MOST_VALUES / 2 < found.Histograms("weights/weight")[0].histogram_value.num <= MOST_VALUES


@pytest.mark.whole
def test_a_run_that_is_watched_is_the_same_run(tmp_path: Path) -> None:
    everything = {"clips": 3, "confusion": True, "histograms": 1}
    nothing = {"clips": 0, "confusion": False, "histograms": 0}
    configs = []
    for name, wanted in (("all", everything), ("none", nothing)):
        configs.append(make_experiment(tmp_path / name, watch=wanted))
        assert run(configs[-1], "common.lr_scheduler.max_iter=5") == 0
    assert same_weights(*map(weights, configs))
    tags = [events(config.parent).Tags() for config in configs]
    assert tags[0]["scalars"] == tags[1]["scalars"]
    assert set(tags[0]["images"]) == {"pictures/batch", "pictures/confusion"} and tags[0]["histograms"]
    assert not tags[1]["images"] and not tags[1]["histograms"]
