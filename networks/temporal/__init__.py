"""Holds what connects the frames of a clip inside an image network.

The table names the modules of the config's `temporal`. A new module is one file and one line here.
"""

from __future__ import annotations

from networks.temporal.action import Action
from networks.temporal.adapters import AIM, STAdapter
from networks.temporal.gate_shift import GSF, GSM
from networks.temporal.module import TemporalModule
from networks.temporal.mvf import MVF
from networks.temporal.shift import TemporalShift
from networks.temporal.tam import TAM
from networks.temporal.tdn import TDN
from networks.temporal.tea import TEA
from networks.temporal.tin import TIN

TEMPORAL_MODULES: dict[str, type[TemporalModule]] = {
    "tsm": TemporalShift,
    "tam": TAM,
    "gsm": GSM,
    "gsf": GSF,
    "mvf": MVF,
    "action": Action,
    "tin": TIN,
    "tdn": TDN,
    "tea": TEA,
    "st_adapter": STAdapter,
    "aim": AIM,
}
