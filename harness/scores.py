"""The table of scores: what is measured, how it is called, whether larger is better, and from which value it protects.

Boards, verdicts, figures, the page, `check` and `tune` read this table and list no score themselves. To add a score
that boards show, add an entry here and the metric or evaluator that measures it to registry.yaml. What the functions
below return is not to be computed when a module is imported: the table may have grown since.

A judged distance has variants, named by a prefix: `any_dssim` (to the nearest source), `every_dssim` (mean over the
sources), `attacked_dssim` (of an attack's best candidate), `attacked_any_dssim` and `first_dssim` (of its first
candidate alone). Over everything that was released or answered stand, per original, `dssim_all` (the smallest),
`worst_dssim` (the smallest by the metric that the worst case is made of) and `null_dssim` (the same of
what answers another original), each also to the nearest source: `worst_any_dssim`; `unseen_dssim` is what images come
to that cannot show it, whatever was released. `any_reid_rank1` is of every
original that anything holds, as whichever source, by one image alone.

Thresholds: the stricter of t_acc and cut-off over both data sets, Raynal et al. 2020, Tables 2 and 3, on unattacked
releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

ANY, EVERY, ATTACKED, FIRST = "any_", "every_", "attacked_", "first_"
WORST, NULL, UNSEEN, ALL = "worst_", "null_", "unseen_", "_all"
INDEXES = ("units", "originals", "held")
"""The arrays of a record that say which original the numbers of the others are of (`index_array`)."""


@dataclass(frozen=True)
class Score:
    """One number per image that records hold and boards show.

    name          its key in a record, for the per-image array and the summary
    label         how boards, figures and messages write it
    kind          distance (two images, larger is less alike), hit_rate (share of images about which something was
                  found out, in [0, 1]) or accuracy (of a trained model, in [0, 1])
    evaluators    registry entries that measure it (a metric, and what scores an attack's guess)
    attack_kinds  kinds of attack whose guesses have it
    of_release    measured of the release as is, before any attack; every distance is
    judged        a distance that is also measured against every source and of reconstructions, and enters the worst
                  case
    threshold     people no longer recognise images from here on; None where it was not measured
    ceiling       the largest value that two images can have; None where there is none
    tolerance     change of a release's mean that `harness check` lets pass; None: 2 % of what it was
    attacked_tolerance  the same after an attack, and of hit rates and accuracy
    follows       the hit rate beside which it is reported, of the same attack; `harness check` does not compare it
    answer        the grant that gives this hit rate away: an attack with it counts where no other was run
    board         shown as a column of every board
    terminal      shown on the terminal too, which is narrow
    attack_column the CSV column that names the strongest attack by this hit rate; NAME_attack by default
    features      of a re-identification at rank 1, by which a row is judged: the features in words
    worst_metric  of a judged distance, the metric that its worst case is made of; the distance itself by default
    """

    name: str
    label: str
    kind: Literal["distance", "hit_rate", "accuracy"]
    evaluators: tuple[str, ...] = ()
    attack_kinds: tuple[str, ...] = ()
    of_release: bool = False
    judged: bool = False
    threshold: float | None = None
    ceiling: float | None = None
    tolerance: float | None = None
    attacked_tolerance: float = 0.05
    follows: str | None = None
    answer: str | None = None
    board: bool = False
    terminal: bool = True
    attack_column: str | None = None
    features: str | None = None
    worst_metric: str | None = None

    @property
    def farther(self) -> bool:
        """Whether a larger value means that less is seen."""
        return self.kind == "distance"


_IDENTITY = ("identity", "reidentification")

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score(
            "dssim", "dSSIM", "distance", ("dssim", "reconstruction"), ("reconstruction",), judged=True,
            threshold=0.66, ceiling=2.0, tolerance=0.005, attacked_tolerance=0.02, board=True,
            worst_metric="aligned_dssim",
        ),
        Score(
            "dhaar", "dHaar", "distance", ("dhaar", "reconstruction"), ("reconstruction",), judged=True,
            threshold=0.62, ceiling=1.0, tolerance=0.005, attacked_tolerance=0.02, board=True,
        ),
        Score(
            "aligned_dssim", "aligned dSSIM", "distance", ("aligned_dssim",), ceiling=2.0, tolerance=0.005,
        ),
        Score("mse", "MSE", "distance", ("mse",)),
        Score("phash", "pHash", "distance", ("phash",), ceiling=1.0, tolerance=0.005),
        Score("fid", "Inception feature distance", "distance", ("fid",)),
        Score("lpips", "LPIPS", "distance", ("lpips",)),
        Score("dists", "DISTS", "distance", ("dists",)),
        Score(
            "top1", "recognised (top 1)", "hit_rate", ("recognition",), ("recognition",),
            answer="labels", board=True, attack_column="recogniser",
        ),
        Score("any_source", "any source recognised", "hit_rate", ("recognition",), ("recognition",), follows="top1"),
        Score("released", "public label recognised", "hit_rate", ("recognition",), ("recognition",), follows="top1"),
        Score(
            "reid_rank1", "re-identified (rank 1)", "hit_rate", _IDENTITY, ("reconstruction", "reidentification"),
            of_release=True, tolerance=0.02, board=True, terminal=False, attack_column="reidentifier",
            features="thumbnails",
        ),
        Score(
            "reid_rank5", "re-identified (rank 5)", "hit_rate", _IDENTITY, ("reconstruction", "reidentification"),
            of_release=True, follows="reid_rank1",
        ),
        Score(
            "reid_invariant_rank1", "re-identified in spite of shifts, poses and colours", "hit_rate",
            ("identity_invariant", "reidentification"), ("reconstruction",), of_release=True, tolerance=0.02,
            follows="reid_rank1", features="invariant features",
        ),
        Score(
            "reid_histogram_rank1", "re-identified by colours", "hit_rate",
            ("identity_histogram", "reidentification"), ("reconstruction",), of_release=True, tolerance=0.02,
            follows="reid_rank1", features="histogram",
        ),
        Score(
            "reid_local_rank1", "re-identified by local features", "hit_rate",
            ("identity_local", "reidentification"), ("reconstruction",), of_release=True, tolerance=0.02,
            follows="reid_rank1", features="local features",
        ),
        Score(
            "attribute", "attribute", "hit_rate", ("attribute",), ("attribute",),
            board=True, terminal=False, attack_column="attribute_reader",
        ),
        Score("utility", "utility", "accuracy", ("utility",), board=True),
    )
}  # fmt: skip
"""By name, in the order of the boards."""


@lru_cache(maxsize=10_000)
def base(name: str) -> str:
    """`dssim` of `attacked_any_dssim` or `worst_dssim`: the score that a variant is of."""
    shorter = name.removesuffix(ALL)
    if shorter != name and base(shorter) in SCORES and SCORES[base(shorter)].judged:
        return base(shorter)
    for prefix in (ATTACKED, FIRST, WORST, NULL, UNSEEN, ANY, EVERY):
        shorter = name.removeprefix(prefix)
        if shorter != name and base(shorter) in SCORES and SCORES[base(shorter)].judged:
            return base(shorter)
    as_any = name.removeprefix(ANY)
    return as_any if as_any in SCORES and SCORES[as_any].features else name


def label(name: str) -> str:
    """How a score or a variant of one is written; a name that is not in the table is its own label."""
    score = SCORES.get(base(name))
    if score is None:
        return name
    to_nearest = score.judged and name.removeprefix(ATTACKED).startswith(ANY)
    return f"{score.label} to the nearest source" if to_nearest else score.label


def judged() -> tuple[str, ...]:
    """The distances that the worst case is made of; rows are ranked by the first."""
    return tuple(name for name, score in SCORES.items() if score.judged)


def worst_metric(name: str) -> str:
    """The metric that the worst case by this judged distance is made of."""
    return SCORES[name].worst_metric or name


def index_array(name: str) -> str:
    """The array of a record that says which original each number of this array is of.

    units      one number for every scored release of epoch 0, or for every row of a guess
    originals  one for every target that dominates a release
    held       one for every target that a release holds
    """
    if not (name.startswith((WORST, NULL, UNSEEN, "reid_", f"{ANY}reid_")) or name.endswith(ALL)):
        return "units"
    return "held" if ANY in name or name.startswith(UNSEEN) else "originals"


def reidentifications() -> dict[str, str]:
    """The hit rates that a row is judged by as re-identified, with their features in words."""
    return {name: score.features for name, score in SCORES.items() if score.features}


def embeddings() -> dict[str, dict[str, str]]:
    """The embeddings by which images are re-identified: for each its scores, by what a ranking calls them.

    {"identity": {"reid_rank1": "reid_rank1", ...}, "identity_histogram": {"reid_histogram_rank1": "reid_rank1"}}
    """
    found: dict[str, dict[str, str]] = {}
    for name, score in SCORES.items():
        if score.evaluators[1:] == ("reidentification",):
            rank = name.rpartition("_")[2]
            found.setdefault(score.evaluators[0], {})[name] = f"reid_{rank}"
    return found


def judged_variants() -> tuple[str, ...]:
    """The judged distances to the dominant original, then to whichever source is nearest."""
    return (*judged(), *(ANY + name for name in judged()))


def ranking() -> str:
    """The judged distance that ranks rows, and whose threshold a ranked row reaches: the first."""
    return judged()[0]


def hit_rates(*, leading: bool = False) -> tuple[str, ...]:
    """Shares of releases about which an attack found something out, each read beside its chance.

    leading  without those that are reported beside another
    """
    found = (score for score in SCORES.values() if score.kind == "hit_rate")
    return tuple(score.name for score in found if not (leading and score.follows))


def followers(name: str) -> tuple[str, ...]:
    """The hit rates that are reported beside this one, of the same attack."""
    return tuple(score.name for score in SCORES.values() if score.follows == name)


def on_boards(*kinds: str) -> tuple[str, ...]:
    """The scores of these kinds that are columns of every board."""
    return tuple(name for name, score in SCORES.items() if score.board and score.kind in kinds)


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


def farther(name: str) -> bool | None:
    """Whether a larger value of a score or a variant means that less is seen; None where the table does not say.

    A null says nothing of what is seen: it is what the worst case is read against.
    """
    score = SCORES.get(base(name))
    return None if score is None or name.startswith((NULL, UNSEEN)) else score.farther


def compared(name: str) -> bool:
    """Whether `harness check` compares it: what a verdict is made of, and the paper's figures.

    Distances of release 0 and of the best candidate, the smallest over all releases, the worst case (by the distance
    that ranks to the nearest source too) with its null, and re-identification by every embedding. Not what else follows
    another score, nor the other variants: every further figure makes each of them less sensitive.
    """
    score = SCORES.get(base(name))
    if score is None:
        return True
    if name == score.name:
        return not score.follows or score.features is not None
    return name in (ATTACKED + score.name, score.name + ALL, WORST + score.name, *_of_ranking())


def _of_ranking() -> tuple[str, ...]:
    return WORST + ANY + ranking(), NULL + ranking()


def comparable() -> tuple[str, ...]:
    """The names that `harness check` takes a tolerance for, apart from other people's metrics."""
    names = [name for name in SCORES if compared(name)]
    variants = (form for name in judged() for form in (ATTACKED + name, name + ALL, WORST + name))
    return (*names, *variants, *_of_ranking())


def proof_of(attack_kind: str) -> str | None:
    """The hit rate by which a learned attack of this kind shows that it has learned; None for reconstructions."""
    return next((name for name in hit_rates(leading=True) if attack_kind in SCORES[name].evaluators), None)
