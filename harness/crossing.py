"""One crossing of a defense and an attack, joined from its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.records import RunResult
from harness.registry import Entry
from harness.statistics import paired


@dataclass(frozen=True)
class Cell:
    """One crossing, joined from its records.

    epochs  T, the releases that utility and multi-release attacks had
    beside  the undefended rows that it is read against: their release, their utility, the same attack on them
    """

    defense: Entry
    attack: Entry
    seed: int
    epochs: int
    release: RunResult
    attacked: RunResult
    utility: RunResult | None = None
    beside: tuple[RunResult, ...] = ()

    @property
    def parts(self) -> list[RunResult]:
        return [part for part in (self.release, self.attacked, self.utility) if part is not None]

    @property
    def status(self) -> str:
        """The attack's, unless a part that it is read with has failed."""
        read_with = [*self.parts, *(part for part in self.beside if part.spec.kind == "utility")]
        return "failed" if any(part.status == "failed" for part in read_with) else self.attacked.status

    @property
    def reason(self) -> str | None:
        reasons = {str(part.reason): part.spec.kind for part in self.parts if part.status != "ok"}
        said = [f"{kind}: {reason}" for reason, kind in reasons.items()]
        said += [f"undefended {p.spec.kind}: {p.reason}" for p in self.beside if p.status == "failed" and self.utility]
        return "; ".join(said) or None

    @property
    def scores(self) -> dict[str, Any]:
        """Everything that was measured, utility with what it lost against the undefended model on the same images."""
        joined = {name: score for part in self.parts for name, score in part.scores.items()}
        reference = next((part for part in self.beside if part.spec.kind == "utility" and part.arrays), None)
        if self.utility and self.utility.arrays and reference:
            gap = paired(reference.arrays["utility"], self.utility.arrays["utility"])
            joined["utility_gap"] = {**gap, "p5": None, "min": None}
        return joined

    def document(self) -> dict[str, Any]:
        """The cell as `--json` prints it."""
        return {
            "dataset": self.release.inputs["dataset"]["name"],
            "defense": self.defense.name,
            "attack": self.attack.name,
            "seed": self.seed,
            "epochs": self.epochs,
            "status": self.status,
            "reason": self.reason,
            "params": {**self.defense.params, **(self.defense.mixing or {}), "attack": dict(self.attack.params)},
            "granted": list(self.attack.granted),
            "scores": self.scores,
            "seconds": round(sum(part.seconds for part in self.parts), 3),
            "records": [part.spec.key for part in self.parts],
        }
