"""Members of an ensemble on trial: rehearsed on a stage, chosen by one score, within a budget that is counted.

See attacks.auto, which says who the members are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from harness.errors import Inapplicable, NotConverged
from harness.observation import Observation
from harness.plugins.attacks.ensemble import rehearsal as stage
from harness.randomness import derive, torch_generator
from harness.types import Bytes, Generator, Guess

TRAININGS = 2  # the budget: networks, at most
STAGED = 600  # and public images that are rehearsed to choose between the members, for each epoch
_SOLVED = 0.95  # SSIM on the stage beyond which no dear member is tried,
_EXPLAINED = 0.9  # and no second training


@dataclass(frozen=True)
class Member:
    """One attack with its published settings, and the stage that it is rehearsed on.

    dear    whether it trains a network or descends through the defense: only where something is left to gain
    """

    name: str
    attack: Callable[[Observation, Generator], Guess]
    stage: Callable[[Observation], stage.Rehearsal]
    dear: bool = False


@dataclass(frozen=True)
class Rehearsed:
    """A member that did not refuse, its score, and what it said of itself on the stage."""

    member: Member
    score: float
    report: Mapping[str, Any]


class Selection:
    """How the members did on the stage, and what they then make of the real releases."""

    def __init__(self, observation: Observation, key: bytes):
        self._observation, self._key = observation, key
        self._done: list[Rehearsed] = []
        self._failed = 0  # trainings that did not converge: spent all the same
        self._left_out: dict[str, str] = {}
        self._stages: dict[Callable[[Observation], stage.Rehearsal], stage.Rehearsal] = {}

    def rehearse(self, member: Member) -> None:
        """Put a member on its stage, unless it is dear and could gain little."""
        best = max((each.score for each in self._done), default=0.0)
        if member.dear and best > (_EXPLAINED if self._trainings else _SOLVED):
            self._left_out[member.name] = f"not tried: the best score is {best:.2f} already"
            return
        try:
            if member.stage not in self._stages:
                self._stages[member.stage] = member.stage(self._observation)
            staged = self._stages[member.stage]
            guess = member.attack(staged.observation, self._dice(member))
        except (Inapplicable, NotConverged) as reason:
            self._failed += isinstance(reason, NotConverged)
            self._left_out[member.name] = str(reason)
            return
        self._done.append(Rehearsed(member, staged.score(guess), guess.report))

    def attack(self) -> tuple[Bytes, list[str]]:
        """(n, M, 3, H, W): the best member's candidates, then the next best's, as long as there are places."""
        waiting, made = list(self._done), dict[str, Guess]()
        candidates, chosen = list[Bytes](), list[str]()
        free = self._observation.sources
        while waiting and free:
            best = max(waiting, key=lambda each: each.score)
            waiting.remove(best)
            name = best.member.name
            if name not in made:
                try:
                    made[name] = best.member.attack(self._observation, self._dice(best.member))
                except (Inapplicable, NotConverged) as reason:
                    self._left_out[name] = f"on the real releases: {reason}"
                    continue
                waiting.append(_believed(best, made[name]))
                continue
            candidates.append(made[name].candidates[:, :free].cpu())
            chosen.append(name)
            free -= candidates[-1].shape[1]
        return torch.cat(candidates, 1), chosen

    def told(self) -> dict[str, Any]:
        """For the record: the scores, who was left out and why, and what of the budget was spent."""
        return {
            "rehearsed_ssim": {each.member.name: each.score for each in self._done},
            "left_out": self._left_out,
            "budget": {"trainings": TRAININGS, "staged_images": STAGED * len(self._observation.releases)},
            "spent": {
                "trainings": self._trainings,
                "steps": sum(each.report.get("steps", 0) for each in self._done),
                "staged_images": sum(staged.images for staged in self._stages.values()),
            },
        }

    @property
    def _trainings(self) -> int:
        return self._failed + sum("steps" in each.report for each in self._done)

    def _dice(self, member: Member) -> Generator:
        return torch_generator(derive(self._key, member.name), self._observation.device)


def _believed(rehearsed: Rehearsed, guess: Guess) -> Rehearsed:
    """The score less what linking explains of the real releases less well than it did of rehearsed ones."""
    unexplained = (report.get("unexplained", 0.0) for report in (guess.report, rehearsed.report))
    real, staged = (1 - share for share in unexplained)
    return replace(rehearsed, score=rehearsed.score * min(1.0, real / max(staged, 0.01)))
