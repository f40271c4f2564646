"""Which numbers of a record are compared, which way is which, and how much of a change is nobody's business."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.check.series import Series

FARTHER = ("dssim", "dhaar", "mse", "phash", "fid", "attacked_dssim", "attacked_dhaar")
"""Larger: less is seen."""
NEARER = ("reid_rank1", "top1", "attribute")
"""Larger: more is seen."""
_JUDGES = {
    "attacked_dssim": ("reconstruction",),
    "attacked_dhaar": ("reconstruction",),
    "reid_rank1": ("identity", "reidentification"),
    "top1": ("recognition",),
}
_BESIDE = ("any_", "every_", "attacked_any_")
_LEFT_OUT = ("any_source", "released", "reid_rank5")
"""Beside a figure that is compared: they follow it, and every comparison more makes each of them blunter."""

_RELEASED = {"dssim": 0.005, "dhaar": 0.005, "phash": 0.005, "reid_rank1": 0.02}
_LEFT = {"attacked_dssim": 0.02, "attacked_dhaar": 0.02}
_SHARE = 0.05
_RELATIVE = 0.02


def compared(arrays: Iterable[str]) -> list[str]:
    """The scores among the arrays of a record, a metric of somebody's own among them."""
    return sorted(name for name in arrays if not name.startswith(_BESIDE) and name not in _LEFT_OUT)


def tolerance_of(kind: str, score: str, before: float, given: Mapping[str, float]) -> float:
    """What may pass: .005 of a release's distance, .02 of one that an attack leaves, .05 of a share of hits.

    A release is a function of its seed, so that little is left for machines to differ in. Distances without a scale of
    their own (mse, fid, other people's metrics) may move by 2 % of what they were.
    """
    if score in given:
        return given[score]
    if kind == "release":
        return _RELEASED.get(score, _RELATIVE * abs(before))
    return _LEFT.get(score, _SHARE)


def measured_by(series: Series, score: str) -> dict[str, Mapping[str, Any]]:
    """The entries that make this score, by name: its metric, and the judges of an attack."""
    entries = [*series.inputs.get("metrics", []), *series.inputs.get("judges", [])]
    names = {score.removeprefix("attacked_"), *_JUDGES.get(score, ())}
    return {entry["name"]: entry for entry in entries if entry["name"] in names}
