"""Labels of a general classifier matched to the classes of a data set, by name through a table of synonyms.

Reference: Raynal et al. 2020, section 4.4: a class counts as recognised if its name is among the ten labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from harness.errors import HarnessError
from harness.types import Scores

_SYNSETS = re.compile(r"n\d{8}-n\d{8}")
_LEAST = 1e-6  # score of a label that came with 0: it was named all the same


class Label(NamedTuple):
    """One label of an image.

    text    the label in words
    score   0 to 1
    synset  its WordNet number where it has one, such as n02085620
    """

    text: str
    score: float
    synset: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """Which labels stand for which class.

    classes  number of classes
    names    normalised name -> class
    ranges   (first, last, class) of WordNet numbers
    """

    classes: int
    names: Mapping[str, int]
    ranges: tuple[tuple[str, str, int], ...]

    def class_of(self, label: Label) -> int | None:
        """The class that a label stands for, or None."""
        for first, last, number in self.ranges:
            if first <= label.synset <= last:
                return number
        return self.names.get(normal(label.text))

    def scores(self, answers: Sequence[Iterable[Label]], together: Callable[[list[float]], float]) -> Scores:
        """(N, K) score of each class: its labels' scores combined by `together` (max, sum); 0 where it has no label."""
        table = torch.zeros(len(answers), self.classes)
        for row, labels in enumerate(answers):
            by_class: dict[int, list[float]] = {}
            for label in labels:
                number = self.class_of(label)
                if number is not None:
                    by_class.setdefault(number, []).append(max(label.score, _LEAST))
            for number, values in by_class.items():
                table[row, number] = together(values)
        return table


def vocabulary(classes: Sequence[str], synonyms: Mapping[str, Any]) -> Vocabulary:
    """The names of these classes and their synonyms; a class without an entry has its name alone.

    synonyms  class -> names, and ranges of WordNet numbers (n02085620-n02113978) that stand for every label between.
              Entries of other classes are ignored. HarnessError where a name stands for two classes.
    """
    table = {normal(name): _listed(name, others) for name, others in synonyms.items()}
    names: dict[str, int] = {}
    ranges = []
    for number, label in enumerate(classes):
        for other in (label, *table.get(normal(label), ())):
            if _SYNSETS.fullmatch(other):
                first, last = other.split("-")
                ranges.append((first, last, number))
            elif names.setdefault(normal(other), number) != number:
                one = classes[names[normal(other)]]
                raise HarnessError(f"synonyms: {other!r} stands for {one} and for {label}; keep it for one of them")
    return Vocabulary(len(classes), names, tuple(ranges))


def normal(text: str) -> str:
    """Lower case, underscores and hyphens as spaces, no full stops, the last word in the singular."""
    *before, last = re.sub(r"[_\-\s]+", " ", text.casefold().replace(".", "")).strip().split(" ")
    return " ".join([*before, _singular(last)])


def _singular(word: str) -> str:
    """The singular of a regular plural. Both sides of a comparison are converted, so a wrong guess does no harm."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _listed(name: str, others: Any) -> list[str]:
    """The names, checked to be a list of strings."""
    if not isinstance(others, list) or not all(isinstance(other, str) and other.strip() for other in others):
        raise HarnessError(f"synonyms: {name} is {others!r}; expected a list of names, such as [kitten, tabby]")
    return others
