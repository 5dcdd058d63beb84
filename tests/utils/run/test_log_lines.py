"""A terminal shows each line of a training in one row; log.txt has the original project's fields."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tests.helpers.grey import ALONE, GreyList, Mean, config
from utils.run.log_lines import end_line, train_line, train_row, validation_row
from utils.run.stop import StopEarly
from utils.scoring.evaluation import Evaluation
from utils.training.precision import Precision
from utils.training.trainer import Step, Trainer

CLOCK = "[23:59:59] "


def trainer_of(num_class: int, steps: int, **keys: object) -> Trainer:
    model = {"type": "tsn", "backbone": "resnet18", "num_segments": 2, "num_class": num_class}
    common = config(model=model, steps=steps, val_source="val.txt", **keys)
    precision = Precision("off", torch.device("cpu"))
    trainer = Trainer(Mean(), common, GreyList(common, 9), rank=ALONE, precision=precision)
    for name, values in {"time": (1.5, 0.5), "data": (0.2, 0.1), "loss": (5.0, 4.5), "acc1": (50, 100)}.items():
        for value in values:
            trainer.state.meters[name].update(value)
    trainer.state.meters["acc5"].update(100)
    return trainer


def evaluation(num_class: int) -> Evaluation:
    scores = np.full((4, num_class), 1 / num_class, np.float32)
    protocol = "1 clip x 1 crop, 8 x 224 x 224, segments sampling, scores averaged, 4 videos"
    return Evaluation("x", list("abcd"), np.zeros(4, np.int64), scores, protocol=protocol)


@pytest.mark.parametrize(("num_class", "five"), [(5, ""), (6, " Prec@5 100.0")])
def test_a_row_has_the_means_and_no_share_among_all_classes(num_class: int, five: str) -> None:
    trainer, step = trainer_of(num_class, 100), Step(10, lr=0.04)
    row = train_row(trainer, step)
    assert row == f"Iter: [10/100] Time 1.000 Data 0.150 Loss 4.750 Prec@1 75.0{five} LR 0.040000"
    line = r"\tLoss 4\.5000 \(4\.7500\)\tPrec@1 .*\tPrec@5 100\.000 \(100\.000\)\tLR 0\.040000$"
    assert re.search(line, train_line(trainer, step))


def test_rows_of_a_long_run_with_many_classes_fit_into_100_characters() -> None:
    assert len(CLOCK + train_row(trainer_of(400, 15010), Step(15000, lr=0.04))) <= 100
    assert len(CLOCK + f"step 15000 {validation_row(evaluation(400))}") <= 100


def test_a_validation_shows_no_share_among_all_classes() -> None:
    assert "Prec@5" in validation_row(evaluation(6))
    assert re.fullmatch(r"validation: Prec@1 \S+ mean class \S+ Loss 1\.3863", validation_row(evaluation(4)))


def test_the_end_names_the_best_step_as_its_validation_did() -> None:
    trainer = trainer_of(5, 9)
    trainer.state.step = 9
    assert "best" not in end_line(trainer, StopEarly(None), validated=True)  # an end was asked for in its last step
    trainer.state.step = 5  # steps done, so the last one was step 4
    trainer.state.note_best(50.0, 1.0)
    trainer.state.step = 9
    assert end_line(trainer, StopEarly(None), validated=True).endswith("best Prec@1 50.000 at step 4")
