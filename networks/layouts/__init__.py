"""How published checkpoints name their weights: one file per source, recognised by content, translated by rule.

`LAYOUTS` is tried in order and the first that recognises a file translates it. Reading files and filling models:
networks/weights.py. A new source is one file and one line here.
"""

from __future__ import annotations

from networks.layouts.base import Layout

LAYOUTS: tuple[Layout, ...] = ()
