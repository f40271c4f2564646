"""From what people or an attack named to judgements, and to a table of how much was recognised.

A source is recognised where its class is among those that were named, however many were: the paper's rule. Whoever
names every class recognises everything, so the table says beside it how many of the named classes were right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.errors import HarnessError, Skipped
from harness.images import to_images
from harness.registry import Registry, bind
from harness.statistics import summarise
from harness.study.judgements import Judgement, Judgements, Pair
from harness.study.key import Asked, Key
from harness.study.plan import TECHNIQUES

if TYPE_CHECKING:
    from harness.types import Array

_AT_ONCE = 8  # questions that are measured together


@dataclass(frozen=True)
class Said:
    """What somebody named in one image.

    by, kind  as in a Judgement
    named     classes, by their position in the key; none: "I cannot tell". None: the question was not answered
    """

    key: Key
    question: Asked
    by: str
    kind: str
    named: frozenset[int] | None

    @property
    def image(self) -> str:
        return self.key.image_id(self.question)

    @property
    def hits(self) -> list[bool]:
        """For each source, whether it was recognised."""
        return [number in (self.named or ()) for number in self.question.classes]


def check_alike(keys: Sequence[Key]) -> None:
    """HarnessError unless all keys are of one data set in one size, of one form, and each of another survey."""
    first = keys[0]
    for key in keys[1:]:
        if (key.dataset, key.classes, key.knobs) != (first.dataset, first.classes, first.knobs):
            raise HarnessError(
                f"survey {key.survey} is of another data set, size or knobs than {first.survey}; score them apart"
            )
    if len({key.survey for key in keys}) < len(keys):
        raise HarnessError("a key is given twice; give each once")


def judge(keys: Sequence[Key], said: Iterable[Said], registry: Registry) -> tuple[Judgements, dict[str, str]]:
    """Judgements of every pair that somebody was asked about, with the distances of all pairs by every metric.

    Returns them and, for a metric that lacks its weights, the reason: its distances are None then.
    """
    check_alike(keys)
    judgements = [
        Judgement(each.image, source, each.by, each.kind, hit)
        for each in said
        if each.named is not None
        for source, hit in enumerate(each.hits)
    ]
    metrics = {name: bind(registry.get("metrics", name)) for name in registry.section("metrics")}
    reasons: dict[str, str] = {}
    pairs = [pair for key in keys for pair in _pairs(key, metrics, reasons)]
    first = keys[0]
    about = {**first.dataset, "surveys": [key.survey for key in keys], "knobs": first.knobs}
    return Judgements(about, pairs, judgements), reasons


def _pairs(key: Key, metrics: Mapping[str, Callable[..., Any]], reasons: dict[str, str]) -> list[Pair]:
    pairs: list[Pair] = []
    for start in range(0, len(key.questions), _AT_ONCE):
        questions = key.questions[start : start + _AT_ONCE]
        some = [(each, source) for each in questions for source in range(len(each.classes))]
        images = _floats([each.image for each, _ in some])
        sources = _floats([each.sources[source] for each, source in some])
        columns: dict[str, list[float | None]] = {}
        for name, metric in metrics.items():
            columns[name] = [None] * len(some)
            if name not in reasons:
                try:
                    columns[name] = metric(images, sources).tolist()
                except Skipped as reason:
                    reasons[name] = str(reason)
        pairs += [
            Pair(key.image_id(each), source, each.technique, {name: values[row] for name, values in columns.items()})
            for row, (each, source) in enumerate(some)
        ]
    return pairs


def _floats(images: Sequence[Array]) -> torch.Tensor:
    return to_images(torch.from_numpy(np.stack(images)))


@dataclass(frozen=True)
class Row:
    """Of one technique, one person or attack, or of all.

    images      that somebody judged
    pairs       of an image and a source that were judged, counted once for each who judged them
    recognised  share of an image's pairs that were recognised, the mean over images; None without any
    low, high   its 95 % interval: bootstrap over images, None of one image
    named       classes that were named in all
    right       share of these that are in the image; None where none was named
    cannot_tell, open  questions that were answered so, and that were not answered
    agree       share of pairs of two judges that agree, over what both judged; None where there is nothing
    """

    name: str
    images: int
    pairs: int
    recognised: float | None
    low: float | None
    high: float | None
    named: int
    right: float | None
    cannot_tell: int
    open: int
    agree: float | None


def table(said: Sequence[Said]) -> dict[str, list[Row]]:
    """Rows by technique in the plan's order, by who judged, and of all: `techniques`, `judges`, `all`."""
    by_technique = {name: [each for each in said if each.question.technique == name] for name in TECHNIQUES}
    by_judge = {by: [each for each in said if each.by == by] for by in dict.fromkeys(each.by for each in said)}
    return {
        "techniques": [_row(name, some) for name, some in by_technique.items() if some],
        "judges": [_row(name, some) for name, some in by_judge.items()],
        "all": [_row("all", said)],
    }


def _row(name: str, said: Sequence[Said]) -> Row:
    judged = [each for each in said if each.named is not None]
    hits = [(each.image, hit) for each in judged for hit in each.hits]
    figures = summarise([hit for _, hit in hits], units=[image for image, _ in hits], proportion=False)
    named = sum(len(each.named or ()) for each in judged)
    verdicts: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for each in judged:
        for source, hit in enumerate(each.hits):
            verdicts[each.image, source].append(hit)
    same = [one == other for each in verdicts.values() for one, other in combinations(each, 2)]
    return Row(
        name,
        figures["n"],
        len(hits),
        figures["mean"],
        figures["low"],
        figures["high"],
        named,
        sum(hit for _, hit in hits) / named if named else None,
        sum(not each.named for each in judged),
        len(said) - len(judged),
        sum(same) / len(same) if same else None,
    )
