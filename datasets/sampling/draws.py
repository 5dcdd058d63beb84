"""Draws NumPy generators from torch's generator, where a caller in Python seeds only that one."""

from __future__ import annotations

import numpy as np
import torch


def from_torch() -> np.random.Generator:
    """Returns a generator of NumPy whose seed torch's generator draws, so `torch.manual_seed` decides what follows."""
    return np.random.default_rng(int(torch.randint(2**63 - 1, ())))
