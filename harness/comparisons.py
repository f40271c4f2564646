"""A board compares every attack with looking and with smoothing: so many comparisons are corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence

from harness.rows import Row
from harness.statistics import holm


def correct(rows: Sequence[Row]) -> None:
    """Holm over every comparison of the rows' attacks, controls apart: each attack is told its corrected p-values."""
    attacks = [attack for row in rows for attack in row.attacks if not attack.group.control]
    asked = [(attack, name, p) for attack in attacks for name, p in attack.p_values().items()]
    corrected = holm([p for *_, p in asked])
    for (attack, name, _), p in zip(asked, corrected.tolist(), strict=True):
        attack.holm[name] = (p, len(asked))
