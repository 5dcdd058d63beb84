"""Keeps the import `utils.loss` of the original project; the losses are in `utils.scoring.losses`."""

from utils.scoring.losses import BinaryCrossEntropy as BinaryCrossEntropy
from utils.scoring.losses import LabelSmoothCrossEntropy as LabelSmoothCrossEntropy
