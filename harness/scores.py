"""The table of scores: what is measured, how it is called, which way is which, and from where on it protects.

Boards, checks, `tune`, figures, verdicts and the page read this table and list no score themselves. To add a score that
boards show, add an entry here and the evaluator or metric that measures it to registry.yaml.

A judged distance has variants, named by a prefix: `any_dssim` (to the nearest source), `every_dssim` (mean over the
sources), `attacked_dssim` (of an attack's best candidate) and `attacked_any_dssim`.

Thresholds: the stricter of t_acc and cut-off over both data sets, Raynal et al. 2020, Tables 2 and 3, on unattacked
releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ANY, EVERY, ATTACKED = "any_", "every_", "attacked_"


@dataclass(frozen=True)
class Score:
    """One number per image that records hold and boards show.

    name        its key in a record, for the per-image array and the summary
    label       how boards, figures and messages write it
    kind        distance (two images, larger is less alike), hit_rate (share of images about which something was found
                out, in [0, 1]) or accuracy (of a trained model, in [0, 1])
    evaluators  registry entries that measure it (a metric, and what scores an attack's guess)
    judged      a distance that is also measured against every source and of reconstructions, and enters the worst case
    threshold   people no longer recognise images from here on; None where nobody measured it
    ceiling     the largest value that two images can have; None where there is none
    tolerance   change of a release's mean that `harness check` lets pass; None: 2 % of what it was
    attacked_tolerance  the same after an attack, and of hit rates and accuracy
    compared    whether `harness check` compares it; not where it follows another score
    board       shown as a column of every board
    """

    name: str
    label: str
    kind: Literal["distance", "hit_rate", "accuracy"]
    evaluators: tuple[str, ...] = ()
    judged: bool = False
    threshold: float | None = None
    ceiling: float | None = None
    tolerance: float | None = None
    attacked_tolerance: float = 0.05
    compared: bool = True
    board: bool = False

    @property
    def farther(self) -> bool:
        """Whether a larger value means that less is seen."""
        return self.kind == "distance"


_IDENTITY = ("identity", "reidentification")

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("dssim", "dSSIM", "distance", ("dssim", "reconstruction"), True, 0.66, 2.0, 0.005, 0.02, board=True),
        Score("dhaar", "dHaar", "distance", ("dhaar", "reconstruction"), True, 0.62, 1.0, 0.005, 0.02, board=True),
        Score("mse", "MSE", "distance", ("mse",)),
        Score("phash", "pHash", "distance", ("phash",), ceiling=1.0, tolerance=0.005),
        Score("fid", "FID", "distance", ("fid",)),
        Score("reid_rank1", "re-identified (rank 1)", "hit_rate", _IDENTITY, tolerance=0.02, board=True),
        Score("reid_rank5", "re-identified (rank 5)", "hit_rate", _IDENTITY, compared=False),
        Score("top1", "recognised (top 1)", "hit_rate", ("recognition",), board=True),
        Score("any_source", "any source recognised", "hit_rate", ("recognition",), compared=False),
        Score("released", "public label recognised", "hit_rate", ("recognition",), compared=False),
        Score("attribute", "attribute", "hit_rate", ("attribute",), board=True),
        Score("utility", "utility", "accuracy", ("utility",), board=True),
    )
}
"""By name, in the order of the boards."""


def base(name: str) -> str:
    """`dssim` of `attacked_any_dssim`: the score that a variant is of."""
    for prefix in (ATTACKED, ANY, EVERY):
        shorter = name.removeprefix(prefix)
        if shorter != name and base(shorter) in SCORES and SCORES[base(shorter)].judged:
            return base(shorter)
    return name


def label(name: str) -> str:
    """How a score or a variant of one is written; a name that is not in the table stands for itself."""
    score = SCORES.get(base(name))
    if score is None:
        return name
    return f"any source: {score.label}" if name.removeprefix(ATTACKED).startswith(ANY) and score.judged else score.label


def judged() -> tuple[str, ...]:
    """The distances that the worst case is made of."""
    return tuple(name for name, score in SCORES.items() if score.judged)


def judged_variants() -> tuple[str, ...]:
    """The judged distances to the dominant original, then to whichever source is nearest."""
    return (*judged(), *(ANY + name for name in judged()))


def hit_rates() -> tuple[str, ...]:
    """Shares of releases about which an attack found something out, each read beside its chance."""
    return tuple(name for name, score in SCORES.items() if score.kind == "hit_rate")


def thresholds() -> dict[str, float]:
    """The judged distances that have a threshold, with it."""
    return {name: SCORES[name].threshold or 0.0 for name in judged() if SCORES[name].threshold is not None}


def threshold(name: str) -> float | None:
    """Of a judged distance or a variant of one."""
    score = SCORES.get(base(name))
    return score.threshold if score else None


def ceilings() -> dict[str, float]:
    """The judged distances and their variants to the nearest source, with the largest value they can have."""
    return {name: ceiling for name in judged_variants() if (ceiling := SCORES[base(name)].ceiling) is not None}
