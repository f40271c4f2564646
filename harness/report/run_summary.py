"""What `harness run` prints: the plan with its estimated cost, then verdicts, epoch curves, the board and failures.

The cost is estimated from the seconds in the records of a folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.errors import HarnessError
from harness.leaderboard.board import Board, boards
from harness.leaderboard.format import epochs_and_releases, settings
from harness.leaderboard.limits import LimitsOf
from harness.leaderboard.row import Row
from harness.records import RunResult, RunSpec
from harness.report import epoch_curves, terminal
from harness.report.epoch_curves import EpochCurve
from harness.report.figures.epoch_curves import save_curve
from harness.report.figures.style import check_file
from harness.report.table_data import verdict_document
from harness.run import memory
from harness.run.process_pool import how_many
from harness.system.names import file_name
from harness.system.text import duration

if TYPE_CHECKING:
    from harness.registry import Entry
    from harness.run.cross import Cell, Cross
    from harness.run.engine import Engine


@dataclass(frozen=True)
class Cost:
    """Seconds of work on one worker; pieces without a record of similar work are counted and not estimated."""

    seconds: float
    known: int
    unknown: int

    def text(self, workers: int) -> str:
        """One line, for a plan."""
        if not self.known + self.unknown:
            return "nothing is left to run"
        if not self.known:
            return f"{self.unknown} pieces remaining; their cost is not known: no record of similar work here"
        shared_time = self.seconds / max(1, workers)
        beside = f"; {self.unknown} more pieces of unknown cost" if self.unknown else ""
        shared = f", on {workers} workers {duration(shared_time)}" if workers > 1 else ""
        return f"{self.known} pieces remaining take about {duration(self.seconds)} of work{shared}{beside}"


def cost_of(specs: Sequence[RunSpec], records: Iterable[RunResult]) -> Cost:
    """Of these pieces together."""
    known = [seconds for seconds in seconds_of(specs, records) if seconds is not None]
    return Cost(sum(known), len(known), len(specs) - len(known))


def seconds_of(specs: Sequence[RunSpec], records: Iterable[RunResult]) -> list[float | None]:
    """By the median seconds per private pixel (and per epoch or release, where it counts) of the same work."""
    rates: dict[tuple[str, ...], list[float]] = {}
    for record in records:
        if record.status == "ok":
            rates.setdefault(_like(record.spec), []).append(record.seconds / _size(record.spec))
    usual = {like: median(found) for like, found in rates.items()}
    return [usual[_like(spec)] * _size(spec) if _like(spec) in usual else None for spec in specs]


def _like(spec: RunSpec) -> tuple[str, ...]:
    attack = spec.inputs.get("attack", {})
    return (spec.kind, spec.inputs["device"], str(attack.get("name")), str(attack.get("params")))


def _size(spec: RunSpec) -> float:
    data, times = spec.inputs["dataset"], spec.inputs.get("epochs") or spec.releases or 1
    return float(max(1, data["private"]) * data["height"] * data["width"] * times)


def plan(crosses: Sequence[Cross]) -> list[dict[str, Any]]:
    """Every piece of work of several crosses, once."""
    return list({item["key"]: item for cross in crosses for item in cross.plan()}.values())


def jobs_left(crosses: Sequence[Cross]) -> list[tuple[str, float | None]]:
    """What is to be done, by the names that progress is told by, and what such pieces took in the records there are."""
    pieces = {piece.spec.key: piece.spec for cross in crosses for piece in cross.pieces}
    left = [pieces[item["key"]] for item in plan(crosses) if not item["done"]]
    names = [" ".join([spec.kind, *spec.names]) for spec in left]
    return list(zip(names, seconds_of(left, crosses[0].bench.records.all() if left else []), strict=True))


def planned(crosses: Sequence[Cross], engine: Engine) -> tuple[dict[str, Any], str]:
    """The plan with its cost, as `--json` prints it and to read."""
    pieces = {piece.spec.key: piece.spec for cross in crosses for piece in cross.pieces}
    items, bench = plan(crosses), crosses[0].bench
    seconds = seconds_of([pieces[item["key"]] for item in items], bench.records.all())
    items = [
        {**item, "seconds": each if each is None else round(each, 1)} for item, each in zip(items, seconds, strict=True)
    ]
    left = [item["seconds"] for item in items if not item["done"]]
    to_run = [pieces[item["key"]] for item in items if not item["done"]]
    known = [each for each in left if each is not None]
    cost = Cost(sum(known), len(known), len(left) - len(known))
    memory.must_fit(to_run, bench.device)
    workers = engine.workers or how_many(bench.device, bench.threads, len(left), memory=memory.most(to_run))
    lines = _plan_lines(items)
    document = {"plan": items, "cost": {"seconds": round(cost.seconds, 1), **_counts(cost)}, "workers": workers}
    return document, "\n".join([*lines, cost.text(workers)])


def _counts(cost: Cost) -> dict[str, int]:
    return {"known": cost.known, "unknown": cost.unknown}


def _plan_lines(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Under each defense with its settings, T and R the pieces of work on it, with what each takes."""
    lines: list[str] = []
    above = None
    for item in items:
        knobs = settings(item["params"])
        at = epochs_and_releases(item["epochs"], item["releases"])
        heading = f"{item['defense']}{f' ({knobs})' if knobs else ''}, {at}"
        lines += [] if heading == above else [heading]
        above = heading
        what = " x ".join(filter(None, (item["defense"], item["attack"])))
        state = "done" if item["done"] else "to run"
        cost = "?" if item["seconds"] is None else duration(item["seconds"])
        lines.append(f"  {state:6} {item['kind']:7} {what:20} seed {item['seed']:<3} {cost:>6}  {item['key']}")
        if item["attack_params"]:
            lines.append(f"{'':17}{settings(item['attack_params'])}")
    return lines


def board_of(cells: Sequence[Cell], limits: LimitsOf | None = None) -> list[Board]:
    """The boards of a run: its own cells, and the undefended ones that they are read against."""
    records = {part.spec.key: part for cell in cells for part in (*cell.parts, *cell.beside)}
    return boards(records.values(), limits=limits)


def rows_of(cells: Sequence[Cell], found: Sequence[Board]) -> list[Row]:
    """The rows of the defenses that were asked for, in that order; those of one defense by T and R."""
    defenses: dict[str, int] = {}
    order = {cell.release.spec.key: defenses.setdefault(repr(cell.defense), len(defenses)) for cell in cells}
    chosen = [
        (min(order[key] for key in row.records if key in order), row.epochs or 0, row.releases or 0, at, row)
        for board in found
        for at, row in enumerate(board.rows)
        if any(cell.release.spec.key in row.records and cell.attacked.spec.key in row.records for cell in cells)
    ]
    return [row for *_, row in sorted(chosen, key=lambda each: each[:4])]


def document(cells: Sequence[Cell], limits: LimitsOf | None = None) -> dict[str, Any]:
    """A run as `--json` prints it."""
    rows = rows_of(cells, board_of(cells, limits))
    return {"cells": [cell.document() for cell in cells], "verdicts": [verdict_document(row) for row in rows]}


def show(
    cells: Sequence[Cell],
    curves: Sequence[EpochCurve],
    console: Console,
    legend: bool = False,
    limits: LimitsOf | None = None,
) -> None:
    """First the verdict on each defense after the most epochs and releases, then the curves and the board."""
    found = board_of(cells, limits)
    last = {(row.defense, str(row.settings)): row for row in rows_of(cells, found)}
    terminal.verdicts(list(last.values()), console)
    for curve in curves:
        console.print(epoch_curves.table(curve))
    terminal.show(found, console, legend)


def pairs_to_draw(crosses: Sequence[Cross], file: Path | None) -> list[tuple[Entry, Entry]]:
    """The pairs whose curves a run over several R draws; refuses a file that cannot be drawn, before anything runs."""
    curves = epoch_curves.curves_of(crosses)
    pairs = epoch_curves.pairs_of(crosses[0]) if curves else []
    if file is None:
        return pairs
    if not curves:
        raise HarnessError(
            f"figure {file}: one number of releases is no curve; use several, as --epochs 10 --releases 1,2,5,10"
        )
    if len(pairs) * len(curves) != 1:
        drawn = f"{len(pairs) * len(curves)} curves"
        several = drawn if pairs else "no curve: no attack here reconstructs from every release"
        raise HarnessError(
            f"figure {file}: this run makes {several}; name one defense and one attack like multi_release, and one T"
        )
    check_file(file)
    return pairs


def draw(curves: Sequence[EpochCurve], folder: Path, file: Path | None) -> list[Path]:
    """A figure for each curve: FILE, or spending_DEFENSE_ATTACK[_T_epochs].png beside the records."""

    def name(curve: EpochCurve) -> str:
        epochs = [f"{curve.epochs}_epochs"] if curve.epochs else []
        return file_name("_".join(["spending", curve.defense, curve.attack, *epochs]))

    return [save_curve(curve, file or folder / f"{name(curve)}.png") for curve in curves]


def troubles(cells: Sequence[Cell]) -> list[str]:
    """What is not ok: one line for each reason, with the defenses and attacks that share it; failures last."""
    every = {cell.defense.name for cell in cells}
    sharing: dict[tuple[str, str, str], dict[str, None]] = {}
    for cell in cells:
        if cell.status != "ok":
            sharing.setdefault((cell.attack.name, cell.status, str(cell.reason)), {})[cell.defense.name] = None
    attacks: dict[tuple[tuple[str, ...], str, str], list[str]] = {}
    for (attack, status, reason), defenses in sharing.items():
        attacks.setdefault((tuple(defenses), status, reason), []).append(attack)
    lines = []
    for (on, status, reason), names in sorted(attacks.items(), key=lambda item: item[0][1] == "failed"):
        named = f"all {len(every)} defenses" if len(on) == len(every) > 2 else ", ".join(on)
        lines.append(f"{named} x {', '.join(names)}: {status}: {reason}")
    return lines
