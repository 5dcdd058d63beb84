"""Implements TSM: TSN whose image network moves channels along time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from methods.tsn import TSN
from networks.temporal.insert import insert_non_local, insert_pool, insert_temporal
from networks.temporal.module import Direction
from networks.temporal.non_local import Instantiation
from networks.temporal.shift import Place, TemporalShift
from utils.config.build import checked

NON_LOCAL: dict[str, Instantiation] = {
    "embedded_gaussian": "softmax",
    "dot_product": "dot_product",
    "gaussian": "gaussian",
}


class TSM(TSN):
    """Runs the Temporal Shift Module (Lin et al. 2019, arXiv 1811.08383) in any image network that TSN takes.

    The shift runs over the T frames of the clip at hand; training uses `num_segments`. Further arguments are TSN's.

    shift_div: 1/shift_div of the channels move each way; 0 moves no channel, which is TSN.
    shift_place: what is shifted: `blockres`, the input of the residual branch; `block`, the input of the whole block.
    shift: `bi`, or `uni` to read only from the past, so that a trained network can run frame by frame (`tools.stream`).
    temporal_pool: True: halves the frame rate in front of layer2 (ResNets).
    non_local: kind of the non-local blocks in layer2 and layer3 (ResNets), False: none; True or
        `embedded_gaussian`, `dot_product`, `gaussian`.
    """

    traced = True  # the places of the shift are found in its graph

    @checked
    def __init__(
        self,
        *,
        backbone: str,
        num_segments: PositiveInt = 8,
        shift_div: NonNegativeInt = 8,
        shift_place: Place = "blockres",
        shift: Direction = "bi",
        temporal_pool: bool = False,
        non_local: bool | Literal["embedded_gaussian", "dot_product", "gaussian"] = False,
        **tsn: Any,
    ) -> None:
        if tsn.get("temporal") is not None:
            raise ValueError("temporal: tsm has a module already, the shift; use type: tsn with another one")
        super().__init__(backbone=backbone, num_segments=num_segments, **tsn)
        self.name = f"tsm_{backbone}"
        if shift_div == 1 and shift == "bi":
            raise ValueError("shift_div: should be 0 (no shift) or at least 2, but is 1")
        if shift_div:
            arguments: dict[str, Any] = {"shift_div": shift_div, "shift_place": shift_place, "shift": shift}
            insert_temporal(self.backbone, backbone, TemporalShift, num_frames=num_segments, **arguments)
        if non_local:
            variant = "embedded_gaussian" if non_local is True else non_local
            insert_non_local(self.backbone, backbone, instantiation=NON_LOCAL[variant])
        if temporal_pool:
            insert_pool(self.backbone, backbone)
        self._find_parts()

    def settings_for(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings; non-local blocks have one name for each kind."""
        found = super().settings_for(given)
        return found | {"non_local": "embedded_gaussian" if found["non_local"] is True else found["non_local"]}
