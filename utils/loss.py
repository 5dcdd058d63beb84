"""Keeps the original project's import `utils.loss`; the losses are in `utils.scoring.losses`."""

from utils.scoring.losses import BinaryCrossEntropy as BinaryCrossEntropy
from utils.scoring.losses import LabelSmoothCrossEntropy as LabelSmoothCrossEntropy
