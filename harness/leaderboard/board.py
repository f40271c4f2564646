"""records -> boards: which records belong together, rank and Pareto front.

A board is a pure function of a folder of records.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from harness.leaderboard.attack_runs import AttackRuns
from harness.leaderboard.limits import Limits, LimitsOf, limits_of, paper_limits
from harness.leaderboard.ranking import correct, rank
from harness.leaderboard.reported import PublishedRow
from harness.leaderboard.row import Row, RowRecords, make_row
from harness.leaderboard.selection import Code, UnknownCode, alike, defense_of, measured_by, measured_on, select
from harness.leaderboard.training import Variances, pooled_variances
from harness.records import RunResult

UNDEFENDED = "none"


@dataclass
class Board:
    """Rows that can be compared: one set of images in the same roles, on one kind of device.

    reported  what authors report of this data set: beside the rows, never among them
    left_out  how many records of these images are in no row, and why
    limits    the thresholds that rows are judged by
    shown     the data set's name, with the beginning of its fingerprint where other images are called the same
    """

    dataset: dict[str, Any]
    device: str
    targets: int | None
    rows: list[Row]
    reported: list[PublishedRow] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=paper_limits)
    shown: str = ""

    def __post_init__(self) -> None:
        self.shown = self.shown or str(self.dataset["name"])

    @property
    def title(self) -> str:
        data = self.dataset
        return (
            f"{self.shown}: {data['private']} private, {data['public']} public, {data['test']} test images of "
            f"{data['height']}x{data['width']}, {data['classes']} classes, {self.device}"
            + (f", up to {self.targets} scored" if self.targets else "")
        )


def boards(
    records: Iterable[RunResult],
    reported: Iterable[PublishedRow] = (),
    code: Code | None = None,
    limits: LimitsOf | None = None,
) -> list[Board]:
    """Every board that these records make, in whatever order they come.

    reported  rows of papers; each goes to the boards of its data set
    code      tells whether a record is of the code at hand; without it nothing is known to be
    limits    thresholds that were calibrated for some images; the others have the paper's
    """
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.spec.key):
        images = {name: value for name, value in record.inputs["dataset"].items() if name != "name"}
        groups[json.dumps([images, record.inputs["device"]], sort_keys=True)].append(record)
    chosen = code or UnknownCode()
    found = [board for _, group in sorted(groups.items()) for board in _by_targets(group, chosen, limits or {})]
    for paper in reported:
        for board in found:
            if board.dataset["name"] == paper.dataset:
                board.reported.append(paper)
    _tell_apart(found)
    return found


def _tell_apart(boards: list[Board]) -> None:
    """Give boards of different images that are called the same different shown names."""
    for length in (8, 16, 32):
        images: dict[str, set[str]] = defaultdict(set)
        for board in boards:
            images[board.shown].add(board.dataset["fingerprint"])
        for board in boards:
            if len(images[board.shown]) > 1:
                board.shown = f"{board.dataset['name']}-{board.dataset['fingerprint'][:length]}"


def _named(records: list[RunResult]) -> dict[str, Any]:
    """The images of these records, by the name that the latest of them gives."""
    latest = max(records, key=lambda record: (record.finished, record.spec.key))
    return dict(latest.inputs["dataset"])


def _by_targets(records: list[RunResult], code: Code, limits: LimitsOf) -> list[Board]:
    """Figures over other targets, or by other metrics or evaluators, do not meet; utility is the same beside each."""
    choices = _measurements([record for record in records if record.spec.kind == "release"])
    left_out = _in_no_row(records)
    if not choices:
        return [replace(_board(records, code, limits), left_out=left_out)]
    boards = []
    for choice, by in choices:
        targets = json.loads(choice)[0]
        kept = [
            record
            for record in records
            if record.spec.kind == "utility"
            or (record.spec.kind == "release" and measured_on(record) == choice and alike(by, measured_by(record)))
            or (record.spec.kind == "attack" and record.inputs["targets"] == targets and alike(by, measured_by(record)))
        ]
        boards.append(replace(_board(kept, code, limits), left_out=left_out))
    return boards


def _measurements(releases: list[RunResult]) -> list[tuple[str, dict[str, str]]]:
    """The targets and metrics by which releases were measured, with the settings of everything that measured them.

    A record that does not name an evaluator goes with those that do.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for record in sorted(releases, key=lambda record: len(measured_by(record)), reverse=True):
        choice, mine = measured_on(record), measured_by(record)
        if not any(choice == other and alike(by, mine) for other, by in found):
            found.append((choice, mine))
    return found


def _in_no_row(records: list[RunResult]) -> list[str]:
    """What no row shows: records of defenses without a finished release, and attacks scored on other targets."""
    ok = [record for record in records if record.spec.kind == "release" and record.status == "ok"]
    finished = {defense_of(record) for record in ok}
    scored = {(defense_of(record), record.inputs["targets"]) for record in ok}
    as_many = {(defense_of(record), record.spec.releases) for record in ok}
    why: dict[str, list[RunResult]] = defaultdict(list)
    for record in records:
        if defense_of(record) not in finished:
            if not (record.spec.kind == "utility" and _is_undefended(record)):  # the reference of the accuracy drop
                why["no finished release"].append(record)
        elif record.spec.kind != "utility" and (defense_of(record), record.inputs["targets"]) not in scored:
            why["scored on other targets than any of its finished releases"].append(record)
        elif record.spec.releases and not as_many & {(defense_of(record), n) for n in (record.spec.releases, None)}:
            why["of other numbers of releases than were measured"].append(record)
    notes = []
    for reason, some in why.items():
        names = ", ".join(sorted({record.inputs["defense"]["name"] for record in some}))
        notes.append(f"{len(some)} record{'' if len(some) == 1 else 's'} of {names} left out: {reason}")
    return notes


def _board(records: list[RunResult], code: Code, limits: LimitsOf) -> Board:
    by_defense: dict[str, list[RunResult]] = defaultdict(list)
    for record in records:
        by_defense[defense_of(record)].append(record)
    selections = {defense: select(some, code) for defense, some in by_defense.items()}
    selected = [record for selection in selections.values() for record in selection.records]
    undefended = [record for record in selected if record.spec.kind == "utility" and _is_undefended(record)]
    given, notes = [], []
    variances: Variances = {}
    mine = limits_of(records[0].inputs["dataset"], limits)
    for selection in selections.values():
        releases, utilities, attacks = (
            [record for record in selection.records if record.spec.kind == kind]
            for kind in ("release", "utility", "attack")
        )
        releases = [record for record in releases if record.status == "ok"]
        for training in _trainings(utilities, [*attacks, *releases]) if releases else []:
            epochs, released, _ = training
            seen = _of(released, releases)
            if seen:
                used = [record for record in utilities if _training(record) == training]
                alike = [record for record in undefended if _training(record) == training]
                on = [record for record in attacks if record.spec.releases in (None, released)]
                given.append(RowRecords(seen, on, used, alike, epochs, released, variances, mine))
                notes.append(list(selection.notes))
    variances |= pooled_variances(sample for each in given for sample in each.samples())
    rows = [replace(make_row(each), code_notes=said) for each, said in zip(given, notes, strict=True)]
    _same_recogniser(rows, variances)
    rank(rows, UNDEFENDED)
    correct(rows)
    first = records[0].inputs
    targets = next((record.inputs["targets"] for record in records if record.spec.kind == "release"), None)
    return Board(_named(records), first["device"], targets, rows, limits=mine)


def _of(released: int | None, releases: list[RunResult]) -> list[RunResult]:
    """The release records of R releases; of a seed without one, the older record, which is of release 0 alone."""
    by_seed: dict[int, RunResult] = {}
    for record in sorted(releases, key=lambda record: record.spec.releases is not None):
        if released is None or record.spec.releases in (None, released):
            by_seed[record.inputs["seed"]] = record
    return [record for record in releases if by_seed.get(record.inputs["seed"]) is record]


def _same_recogniser(rows: list[Row], variances: Variances) -> None:
    """A recogniser is read against the undefended row: where the board has one, the same recogniser stands there.

    Under a strong defense a weak recogniser ties with the floor. One that ties must not be below it undefended.
    """
    plain = [row for row in rows if row.defense == UNDEFENDED and row.settings.get("weights") == [1.0]]

    def undefended(group: AttackRuns) -> list[tuple[Row, AttackRuns]]:
        settings = group.name, group.entry["params"]
        found = [(row, other) for row in plain for other in row.recognisers.trained]
        return [(row, other) for row, other in found if (other.name, other.entry["params"]) == settings]

    def holds(row: Row, group: AttackRuns) -> bool:
        there = undefended(group)
        return not row.recognisers.is_below(variances, group) and any(
            each.recognisers.floor is not None and not each.recognisers.is_below(variances, other)
            for each, other in there
        )

    for row in rows if plain else []:
        mine, floor = row.recognisers.recogniser, row.recognisers.floor
        if mine is None:
            continue
        others = [group for group in row.recognisers.trained if group.ok_runs.keys() >= mine.ok_runs.keys()]
        if not undefended(mine):
            row.missing.append(f"{mine.name} in row {UNDEFENDED}")
        elif row in plain or floor is None or row.recognisers.is_below(variances):
            continue  # the row itself says what it lacks
        elif all(each.recognisers.floor is None for each, _ in undefended(mine)):
            row.missing.append(f"the floor of recognition ({floor.name}) in row {UNDEFENDED}")
        elif not any(holds(row, group) for group in others):
            row.missing.append(f"a recogniser not below the floor in row {UNDEFENDED} ({mine.name} is)")


Training: TypeAlias = tuple[int | None, int | None, str | None]
"""T, R and the way of training."""


def _trainings(utilities: list[RunResult], others: list[RunResult]) -> list[Training]:
    """T and R with each way of training; R alone where only attacks saw that many. One row for each.

    Every release reveals more, so figures of two R are never pooled.
    """
    found: list[Training] = list(dict.fromkeys(map(_training, utilities)))
    trained = {released for _, released, _ in found}
    only = dict.fromkeys(released for record in others if (released := record.spec.releases) is not None)
    found += [(None, released, None) for released in only if released not in trained]
    return found or [(None, None, None)]


def _is_undefended(record: RunResult) -> bool:
    """By its settings: `none` with other weights is a mixture."""
    defense = record.inputs["defense"]
    return bool(defense["name"] == UNDEFENDED and defense["mixing"]["weights"] == [1.0])


def _training(record: RunResult) -> Training:
    begun = [record.inputs["utility"]["params"], record.inputs.get("checkpoint")]
    return record.inputs["epochs"], record.spec.releases, json.dumps(begun, sort_keys=True)
