"""Tune one knob of a defense to the least obfuscation that reaches a target: the paper's "right above the threshold".

The figure is a board's worst case: per original the minimum over the release as is and the named attacks, then the
mean, or the lower end of its interval. Every value that is tried becomes a record, so a rerun measures nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.errors import HarnessError
from harness.leaderboard.format import figure, short
from harness.leaderboard.row import RowRecords, make_row
from harness.registry import Entry
from harness.registry.tune_field import CONTINUOUS, WEIGHTS
from harness.run.bench import Bench
from harness.tune.ranges import KnobRange, with_knob
from harness.tune.result import MeasuredValue, TuneOptions, TuneResult, setting_of
from harness.tune.search import BudgetExceeded, Memo, decreases, smallest_reaching

Report = Callable[[str], None]


class NotMeasured(Exception):  # noqa: N818  (a status, not an error)
    """A value could not be measured: the status of the record, and the reason."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


@dataclass
class KnobMeasurements:
    """Measures values of one knob, and keeps them.

    report  called with a line about each
    """

    bench: Bench
    defense: Entry
    knob: str
    options: TuneOptions
    report: Report
    measured: dict[float, MeasuredValue] = field(default_factory=dict)

    def measure(self, value: float) -> float:
        """The figure that is compared with the target. Raises `NotMeasured` where a record is not ok."""
        defense, options = with_knob(self.defense, self.knob, value), self.options
        records = [self.bench.release(defense, options.seed)]
        records += [self.bench.attack(defense, attack, options.seed) for attack in options.attacks]
        for record in records:
            if record.status != "ok":
                what = record.inputs["attack"]["name"] if record.spec.kind == "attack" else "the release"
                raise NotMeasured(record.status, f"{self.named(value)}: {what} is {record.status}: {record.reason}")
        worst = make_row(RowRecords(records[:1], records[1:])).worst[options.metric]
        score = {name: worst[name] for name in ("mean", "low", "high", "n", "attack")}
        if score[options.by] is None:
            raise HarnessError("one original has no interval; use more --targets, or --by mean")
        self.measured[value] = MeasuredValue(value, defense, score, tuple(record.spec.key for record in records))
        self.report(f"{self.named(value)}: {options.metric} {figure(score)}")
        reached: float = score[options.by]
        return reached

    def named(self, value: float) -> str:
        return f"{self.defense.name} {setting_of(with_knob(self.defense, self.knob, value), self.knob)}"

    def result(self, direction: str | None, value: float | None, warnings: Sequence[str] = ()) -> TuneResult:
        """The result; `value` is the smallest that reaches the target, None where none does."""
        ordered = sorted(self.measured.values(), key=lambda each: each.value, reverse=direction == "down")
        position = next((position for position, each in enumerate(ordered) if each.value == value), None)
        warnings = (*warnings, *self._contradictions(ordered))
        if position is None:
            return TuneResult(self.defense, self.knob, "cannot reach", evaluations=tuple(ordered), warnings=warnings)
        before, after = ([None, *ordered][position], [*ordered, None][position + 1])
        return TuneResult(
            self.defense, self.knob, "reached", None, ordered[position], (before, after), tuple(ordered), warnings
        )

    def incomplete_result(self, direction: str | None, warnings: Sequence[str]) -> TuneResult:
        """The result of a search that ran out of values: the lowest figure that reaches the target, or "stopped"."""
        reaching = [each for each in self.measured.values() if each.score[self.options.by] >= self.options.target]
        if reaching:
            return self.result(direction, min(reaching, key=lambda each: float(each.score["mean"])).value, warnings)
        return replace(self.result(direction, None, warnings), status="stopped", reason=warnings[-1])

    def _contradictions(self, ordered: Sequence[MeasuredValue]) -> list[str]:
        """Warnings where a stronger setting hid less: the smallest value may lie between others than those tried."""
        means = [each.score["mean"] for each in ordered]
        reach = [each.score[self.options.by] >= self.options.target for each in ordered]
        short_again = [position for position in range(1, len(ordered)) if reach[position - 1] and not reach[position]]
        return [
            f"not monotone: {self.named(ordered[position].value)} has {short(means[position])}, and "
            f"{setting_of(ordered[position - 1].defense, self.knob)}, which should hide less, "
            f"{short(means[position - 1])}"
            for position in sorted({*decreases(means, self.options.slack), *short_again})
        ]


def tune(
    bench: Bench,
    defense: Entry,
    options: TuneOptions,
    knob: str | None = None,
    between: tuple[float, float] | None = None,
    then: str | None = None,
    report: Report = lambda _: None,
) -> TuneResult:
    """The least obfuscation of one defense that reaches the target.

    knob     default: the one that its entry names under `tune`
    between  the range of its values, instead of the entry's
    then     a second knob, to get right above the target where the steps of the first overshoot it: with the first at
             the value found and at the one before; where the first cannot reach the target, with it at the maximum
    """
    knob = knob or (defense.tune or {}).get("knob")
    if knob is None:
        return TuneResult(defense, None, "nothing to tune", _why_nothing(defense))
    tuned = _tune_knob(bench, defense, options, knob, between, report)
    if not then or then == knob or not _has_knob(defense, then) or not _misses_target(tuned, options):
        return tuned
    starts = [tuned.neighbours[0], tuned.answer]
    return replace(
        tuned, then=tuple(_tune_knob(bench, start.defense, options, then, None, report) for start in starts if start)
    )


def _tune_knob(
    bench: Bench, defense: Entry, options: TuneOptions, knob: str, between: tuple[float, float] | None, report: Report
) -> TuneResult:
    """Find the range, bisect, and measure both neighbours of the answer where the knob has steps."""
    measurements = KnobMeasurements(bench, defense, knob, options, report)
    knob_range = KnobRange(bench, defense, knob, between)
    evaluate, warnings = Memo(measurements.measure, options.max_values), []
    direction, value = None, None
    try:
        span = knob_range.find(evaluate, options.target)
        direction, values = span.direction, knob_range.values(span)
        steps = span.kind != CONTINUOUS
        value, complete = smallest_reaching(evaluate, values, options.target, None if steps else options.slack)
        if not complete:
            raise BudgetExceeded
        if steps and value is not None:
            position = values.index(value)
            for neighbour in values[max(0, position - 1) : position + 2]:
                evaluate(neighbour)
    except BudgetExceeded:
        warnings.append(f"{defense.name} {knob}: stopped after {options.max_values} values; allow more with --most")
        if value is None:
            return measurements.incomplete_result(direction, warnings)
    except NotMeasured as stop:
        return replace(measurements.result(direction, None), status=stop.status, reason=str(stop))
    return measurements.result(direction, value, warnings)


def _misses_target(tuned: TuneResult, options: TuneOptions) -> bool:
    """Whether the knob ended elsewhere than right above the target, so that a second knob can help."""
    if tuned.found:
        return bool(tuned.found.score[options.by] > options.target + options.slack)
    return tuned.status == "cannot reach"


def _has_knob(defense: Entry, knob: str) -> bool:
    alone = defense.mixing is not None and defense.mixing[WEIGHTS] == [1.0]
    return knob in defense.knobs and not (knob == WEIGHTS and alone)


def _why_nothing(defense: Entry) -> str:
    if defense.params:
        return f"its entry in {defense.origin} has no tune; name a knob with --knob ({', '.join(defense.params)})"
    return "it has no knob"
