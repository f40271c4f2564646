"""Choosing between the members of an ensemble: each is rehearsed, scored alike, within a budget that is counted.

attacks/auto.py says which members there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch

from harness.errors import Inapplicable, NotConverged
from harness.observation import Observation
from harness.plugins.attacks.ensemble.rehearsal import Rehearsal, one_epoch
from harness.randomness import derive, torch_generator
from harness.release import empty
from harness.types import Array, Bytes, Generator, Guess

TRAININGS = 2
"""The budget: networks that may be trained, at most,"""
REHEARSED = 600
"""and public images rehearsed to choose between the members, for each epoch."""
FEW_ANSWERS = 1000
"""Images of all releases together up to which members that train or descend answer the later ones, too."""
_SOLVED = 0.95  # rehearsed SSIM beyond which no expensive member is tried,
_EXPLAINED = 0.9  # and no second training

MakeRehearsal: TypeAlias = Callable[[Observation], Rehearsal]


@dataclass(frozen=True)
class Member:
    """One attack with its published settings, and the kind of rehearsal that it is scored on.

    expensive  whether it trains a network or descends through the defense: tried only where there is something to gain
    """

    name: str
    attack: Callable[[Observation, Generator], Guess]
    rehearsal: MakeRehearsal
    expensive: bool = False


@dataclass(frozen=True)
class Result:
    """A member that was applicable, its rehearsed score, and its report on the rehearsal."""

    member: Member
    score: float
    report: Mapping[str, Any]


class Selection:
    """The members' results on rehearsals, and the attack on the real releases by the best of them."""

    def __init__(self, observation: Observation, key: bytes):
        self._observation, self._key = observation, key
        self._results: list[Result] = []
        self._failed_trainings = 0  # did not converge or learned nothing; they count against the budget all the same
        self._left_out: dict[str, str] = {}
        self._rehearsals: dict[MakeRehearsal, Rehearsal] = {}
        self._later: list[tuple[Array, Bytes]] = []  # images of later releases that chosen members answered

    def rehearse(self, member: Member) -> None:
        """Run a member on its rehearsal, unless it is expensive and could gain little."""
        best = max((result.score for result in self._results), default=0.0)
        if member.expensive and best > (_EXPLAINED if self._trainings else _SOLVED):
            self._left_out[member.name] = f"not tried: the best score is {best:.2f} already"
            return
        try:
            if member.rehearsal not in self._rehearsals:
                self._rehearsals[member.rehearsal] = member.rehearsal(self._observation)
            rehearsal = self._rehearsals[member.rehearsal]
            guess = member.attack(rehearsal.observation, self._rng(member))
        except (Inapplicable, NotConverged) as reason:
            self._failed_trainings += isinstance(reason, NotConverged)
            self._left_out[member.name] = str(reason)
            return
        if guess.report.get("learned") is False:
            self._failed_trainings += 1
            self._left_out[member.name] = "learned nothing"
            return
        self._results.append(Result(member, rehearsal.score(guess), guess.report))

    def attack(self) -> tuple[Bytes, list[str]]:
        """Run the best member on the real releases; the next best fill the candidates that are still free.

        returns  (n, M, 3, H, W) uint8, M at most the number of sources; and the names of the members that they are from
        """
        waiting, guesses = list(self._results), dict[str, Guess]()
        candidates, chosen = list[Bytes](), list[str]()
        free = self._observation.sources
        while waiting and free:
            best = max(waiting, key=lambda result: result.score)
            waiting.remove(best)
            name = best.member.name
            if name not in guesses:
                try:
                    guesses[name] = best.member.attack(self._observation, self._rng(best.member))
                except (Inapplicable, NotConverged) as reason:
                    self._left_out[name] = f"on the real releases: {reason}"
                    continue
                waiting.append(_less_unexplained(best, guesses[name]))
                continue
            guess, targets = guesses[name], len(self._observation.targets)
            candidates.append(guess.candidates[:targets, :free].cpu())
            if guess.releases is not None:
                self._later.append((guess.releases[targets:], guess.candidates[targets:]))
            chosen.append(name)
            free -= candidates[-1].shape[1]
        return torch.cat(candidates, 1), chosen

    def attack_others(self, candidates: Bytes) -> tuple[Bytes, Array]:
        """The later releases, each by the best members that work on single releases; appended to those of release 0.

        Members that train or descend answer them only where there are few: the rest of their budget is spent. Images
        that a chosen member has answered already stay answered so.

        candidates  (n, M, 3, H, W) of the targets of release 0
        returns     (P, M, 3, H, W) candidates; (P, 2) which release and which image in it each row answers
        """
        releases, targets = self._observation.releases, self._observation.targets
        named = [np.stack([np.zeros_like(targets), targets], 1)]
        named += [np.stack([np.full(len(r), n), np.arange(len(r))], 1) for n, r in enumerate(releases) if n]
        every = np.concatenate(named)
        answered = empty((len(every), *candidates.shape[1:]), "cpu")
        answered[: len(targets)] = candidates
        starts = np.cumsum([len(targets), *map(len, releases[1:])])  # of release 1, 2, ...
        for number, start in enumerate(starts[:-1], 1):
            some = slice(start, start + len(releases[number]))
            answered[some] = self._of_release(number, candidates.shape[1], len(every))
        for images, theirs in reversed(self._later):
            rows, count = torch.from_numpy(starts[images[:, 0] - 1] + images[:, 1]), candidates.shape[1]
            answered[rows, : theirs.shape[1]] = theirs[:, :count].cpu()
        return answered, every

    def _of_release(self, number: int, count: int, rows: int) -> Bytes:
        """(N, count, 3, H, W) candidates for all images of one of the later releases, the best first."""
        release = self._observation.releases[number]
        images = release.images.to(self._observation.images.device)
        view = replace(
            self._observation, images=images, targets=np.arange(len(release)), _releases=[release], _labels=None
        )
        single = [result for result in self._results if result.member.rehearsal is one_epoch]
        tried = list[Bytes]()
        for result in sorted(single, key=lambda result: -result.score):
            if result.member.expensive and rows > FEW_ANSWERS:
                continue
            try:
                guess = result.member.attack(view, self._rng(result.member))
            except (Inapplicable, NotConverged):
                continue
            tried.append(guess.candidates[:, : count - sum(part.shape[1] for part in tried)].cpu())
            if sum(part.shape[1] for part in tried) == count:
                return torch.cat(tried, 1)
        missing = count - sum(part.shape[1] for part in tried)
        return torch.cat([*tried, release.images.cpu()[:, None].expand(-1, missing, -1, -1, -1)], 1)

    def report(self) -> dict[str, Any]:
        """For the record: the scores, which members were left out and why, and how much of the budget was used."""
        return {
            "rehearsed_ssim": {result.member.name: result.score for result in self._results},
            "left_out": self._left_out,
            "budget": {"trainings": TRAININGS, "staged_images": REHEARSED * len(self._observation.releases)},
            "spent": {
                "trainings": self._trainings,
                "steps": sum(result.report.get("steps", 0) for result in self._results),
                "staged_images": sum(rehearsal.images for rehearsal in self._rehearsals.values()),
            },
        }

    @property
    def _trainings(self) -> int:
        return self._failed_trainings + sum("steps" in result.report for result in self._results)

    def _rng(self, member: Member) -> Generator:
        return torch_generator(derive(self._key, member.name), self._observation.device)


def _less_unexplained(result: Result, guess: Guess) -> Result:
    """The result, its score lowered where linking explains fewer of the real releases than of the rehearsed ones."""
    unexplained = (report.get("unexplained", 0.0) for report in (guess.report, result.report))
    real, rehearsed = (1 - share for share in unexplained)
    return replace(result, score=result.score * min(1.0, real / max(rehearsed, 0.01)))
