"""Tune one knob of a defense to the least obfuscation that reaches a target: the paper's "right above the threshold".

The figure is the one that a board judges by: per original the minimum over looking at the release and the attacks that
are named, then the mean, or the lower end of its interval. Every value that is tried is a record: a rerun is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.errors import HarnessError
from harness.leaderboard.format import figure, short
from harness.leaderboard.row import make_row
from harness.registry import Entry
from harness.registry.tune_field import CONTINUOUS, WEIGHTS
from harness.run.bench import Bench
from harness.tune.ranges import Bracket, at
from harness.tune.result import Evaluation, Goal, Tuned, setting_of
from harness.tune.search import BudgetExceeded, Memo, falls, least

Report = Callable[[str], None]


class Stopped(Exception):  # noqa: N818  (a status, not an error)
    """A value could not be measured: the status of the record, and the reason."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


@dataclass
class Ladder:
    """The values of one knob that have been measured.

    report  told of each
    """

    bench: Bench
    defense: Entry
    knob: str
    goal: Goal
    report: Report
    rungs: dict[float, Evaluation] = field(default_factory=dict)

    def measure(self, value: float) -> float:
        """The figure that is to reach the target. Raises `Stopped`."""
        defense, goal = at(self.defense, self.knob, value), self.goal
        records = [self.bench.release(defense, goal.seed)]
        records += [self.bench.attack(defense, attack, goal.seed) for attack in goal.attacks]
        for record in records:
            if record.status != "ok":
                what = record.inputs["attack"]["name"] if record.spec.kind == "attack" else "the release"
                raise Stopped(record.status, f"{self.named(value)}: {what} is {record.status}: {record.reason}")
        worst = make_row(records[:1], records[1:], [], []).worst[goal.metric]
        score = {name: worst[name] for name in ("mean", "low", "high", "n", "attack")}
        if score[goal.by] is None:
            raise HarnessError("one original has no interval; use more --targets, or --by mean")
        self.rungs[value] = Evaluation(value, defense, score, tuple(record.spec.key for record in records))
        self.report(f"{self.named(value)}: {goal.metric} {figure(score)}")
        reached: float = score[goal.by]
        return reached

    def named(self, value: float) -> str:
        return f"{self.defense.name} {setting_of(at(self.defense, self.knob, value), self.knob)}"

    def told(self, direction: str | None, value: float | None, warnings: Sequence[str] = ()) -> Tuned:
        """The answer: `value` is the least that reaches, if any does."""
        order = sorted(self.rungs.values(), key=lambda each: each.value, reverse=direction == "down")
        place = next((place for place, each in enumerate(order) if each.value == value), None)
        warnings = (*warnings, *self._contradictions(order))
        if place is None:
            return Tuned(self.defense, self.knob, "cannot reach", evaluations=tuple(order), warnings=warnings)
        before, after = ([None, *order][place], [*order, None][place + 1])
        return Tuned(self.defense, self.knob, "reached", None, order[place], (before, after), tuple(order), warnings)

    def cut_short(self, direction: str | None, warnings: Sequence[str]) -> Tuned:
        """The answer where not enough values were allowed: the lowest figure that reaches, or that none does yet."""
        reaching = [each for each in self.rungs.values() if each.score[self.goal.by] >= self.goal.target]
        if reaching:
            return self.told(direction, min(reaching, key=lambda each: float(each.score["mean"])).value, warnings)
        return replace(self.told(direction, None, warnings), status="stopped", reason=warnings[-1])

    def _contradictions(self, order: Sequence[Evaluation]) -> list[str]:
        """Where a stronger knob hid less: what lies between the values that were tried is not known there."""
        means = [each.score["mean"] for each in order]
        reach = [each.score[self.goal.by] >= self.goal.target for each in order]
        short_again = [place for place in range(1, len(order)) if reach[place - 1] and not reach[place]]
        return [
            f"not monotone: {self.named(order[place].value)} has {short(means[place])}, and "
            f"{setting_of(order[place - 1].defense, self.knob)}, which should hide less, {short(means[place - 1])}"
            for place in sorted({*falls(means, self.goal.enough), *short_again})
        ]


def tune(
    bench: Bench,
    defense: Entry,
    goal: Goal,
    knob: str | None = None,
    between: tuple[float, float] | None = None,
    then: str | None = None,
    report: Report = lambda _: None,
) -> Tuned:
    """The least obfuscation of one defense that reaches the goal.

    knob     default: the one that its entry names under `tune`
    between  the range of its values, instead of the entry's
    then     a second knob, to come right above the target where the first overshoots by its steps, with the first at
             the value found and at the next less; where the first cannot reach, with it at the maximum
    """
    knob = knob or (defense.tune or {}).get("knob")
    if knob is None:
        return Tuned(defense, None, "nothing to tune", _nothing(defense))
    tuned = _turned(bench, defense, goal, knob, between, report)
    if not then or then == knob or not _takes(defense, then) or not _leaves_room(tuned, goal):
        return tuned
    starts = [tuned.neighbours[0], tuned.answer]
    return replace(
        tuned, then=tuple(_turned(bench, start.defense, goal, then, None, report) for start in starts if start)
    )


def _turned(
    bench: Bench, defense: Entry, goal: Goal, knob: str, between: tuple[float, float] | None, report: Report
) -> Tuned:
    """Bracket, bisect, look at both neighbours of a knob that has steps."""
    ladder, bracket = Ladder(bench, defense, knob, goal, report), Bracket(bench, defense, knob, between)
    tried, warnings = Memo(ladder.measure, goal.most), []
    direction, value = None, None
    try:
        span = bracket.range(tried, goal.target)
        direction, values = span.direction, bracket.values(span)
        steps = span.kind != CONTINUOUS
        value, whole = least(tried, values, goal.target, None if steps else goal.enough)
        if not whole:
            raise BudgetExceeded
        if steps and value is not None:
            place = values.index(value)
            for beside in values[max(0, place - 1) : place + 2]:
                tried(beside)
    except BudgetExceeded:
        warnings.append(f"{defense.name} {knob}: stopped after {goal.most} values; allow more with --most")
        if value is None:
            return ladder.cut_short(direction, warnings)
    except Stopped as stop:
        return replace(ladder.told(direction, None), status=stop.status, reason=str(stop))
    return ladder.told(direction, value, warnings)


def _leaves_room(tuned: Tuned, goal: Goal) -> bool:
    """Whether the knob ended elsewhere than right above the target."""
    if tuned.found:
        return bool(tuned.found.score[goal.by] > goal.target + goal.enough)
    return tuned.status == "cannot reach"


def _takes(defense: Entry, knob: str) -> bool:
    alone = defense.mixing is not None and defense.mixing[WEIGHTS] == [1.0]
    return knob in defense.knobs and not (knob == WEIGHTS and alone)


def _nothing(defense: Entry) -> str:
    if defense.params:
        return f"its entry in {defense.origin} has no tune; name a knob with --knob ({', '.join(defense.params)})"
    return "it has no knob"
