"""records -> boards: which records belong together, rank and Pareto front.

A board is a pure function of a folder of records.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.leaderboard.ranking import correct, rank
from harness.leaderboard.reported import PublishedRow
from harness.leaderboard.row import Row, make_row
from harness.records import RunResult

UNDEFENDED = "none"


@dataclass
class Board:
    """Rows that can be compared: one set of images in the same roles, on one kind of device.

    reported  what authors report of this data set: beside the rows, never among them
    """

    dataset: dict[str, Any]
    device: str
    targets: int | None
    rows: list[Row]
    reported: list[PublishedRow] = field(default_factory=list)

    @property
    def title(self) -> str:
        data = self.dataset
        return (
            f"{data['name']}: {data['private']} private, {data['public']} public, {data['test']} test images of "
            f"{data['height']}x{data['width']}, {data['classes']} classes, {self.device}"
            + (f", up to {self.targets} scored" if self.targets else "")
        )


def boards(records: Iterable[RunResult], reported: Iterable[PublishedRow] = ()) -> list[Board]:
    """Every board that these records make, the newest record of each piece of work counting, in whatever order.

    reported  rows of papers; each goes to the boards of its data set
    """
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for record in _newest(sorted(records, key=lambda record: record.spec.key)):
        inputs = record.inputs
        groups[json.dumps([inputs["dataset"], inputs["device"]], sort_keys=True)].append(record)
    found = [board for _, group in sorted(groups.items()) for board in _by_targets(group)]
    for paper in reported:
        for board in found:
            if board.dataset["name"] == paper.dataset:
                board.reported.append(paper)
    return found


def _by_targets(records: list[RunResult]) -> list[Board]:
    """Figures over other targets, or by other metrics, are not averaged; utility is the same beside each."""
    choices = dict.fromkeys(_choice(record) for record in records if record.spec.kind == "release")
    if not choices:
        return [_board(records)]
    boards = []
    for choice in choices:
        targets = json.loads(choice)[0]
        kept = [
            record
            for record in records
            if record.spec.kind == "utility"
            or (record.spec.kind == "release" and _choice(record) == choice)
            or (record.spec.kind == "attack" and record.inputs["targets"] == targets)
        ]
        boards.append(_board(kept))
    return boards


def _choice(record: RunResult) -> str:
    return json.dumps([record.inputs["targets"], record.inputs.get("metrics")], sort_keys=True)


def _newest(records: Iterable[RunResult]) -> list[RunResult]:
    latest: dict[str, RunResult] = {}
    for record in records:
        work = {name: value for name, value in record.inputs.items() if name not in ("code", "versions", "threads")}
        name = json.dumps([record.spec.kind, work], sort_keys=True)
        if name not in latest or _worth(latest[name]) <= _worth(record):
            latest[name] = record
    return list(latest.values())


def _worth(record: RunResult) -> tuple[bool, str]:
    """A failure never hides a success; of two successes the newer counts."""
    return record.status == "ok", record.finished


def _board(records: list[RunResult]) -> Board:
    releases = [record for record in records if record.spec.kind == "release" and record.status == "ok"]
    utilities = [record for record in records if record.spec.kind == "utility"]
    attacks = [record for record in records if record.spec.kind == "attack"]
    rows = []
    for defense in dict.fromkeys(_defense(record) for record in releases):
        shown = [record for record in releases if _defense(record) == defense]
        code = max(shown, key=lambda record: record.finished).inputs.get("release")
        shown, attacked, trained = (
            [record for record in some if _defense(record) == defense and record.inputs.get("release") == code]
            for some in (releases, attacks, utilities)
        )
        for epochs, training in _trainings(trained, attacked):
            used = [record for record in trained if _training(record) == (epochs, training)]
            alike = [
                record for record in utilities if _is_undefended(record) and _training(record) == (epochs, training)
            ]
            seen = [record for record in attacked if record.inputs.get("epochs", epochs) == epochs]
            rows.append(make_row(shown, seen, used, alike, epochs))
    rank(rows, UNDEFENDED)
    correct(rows)
    first = records[0].inputs
    targets = next((record.inputs["targets"] for record in releases), None)
    return Board(first["dataset"], first["device"], targets, rows)


def _trainings(utilities: list[RunResult], attacks: list[RunResult]) -> list[tuple[int | None, str | None]]:
    """T with each way of training on T releases; T alone where only attacks saw that many. One row for each.

    Privacy is spent by every epoch, so figures of two T are never pooled.
    """
    found: list[tuple[int | None, str | None]] = list(dict.fromkeys(map(_training, utilities)))
    trained = {epochs for epochs, _ in found}
    only = dict.fromkeys(record.inputs["epochs"] for record in attacks if "epochs" in record.inputs)
    found += [(epochs, None) for epochs in only if epochs not in trained]
    return found or [(None, None)]


def _defense(record: RunResult) -> str:
    return json.dumps(record.inputs["defense"], sort_keys=True)


def _is_undefended(record: RunResult) -> bool:
    """By its settings: `none` with other weights is a mixture."""
    defense = record.inputs["defense"]
    return bool(defense["name"] == UNDEFENDED and defense["mixing"]["weights"] == [1.0])


def _training(record: RunResult) -> tuple[int, str]:
    return record.inputs["epochs"], json.dumps(record.inputs["utility"]["params"], sort_keys=True)
