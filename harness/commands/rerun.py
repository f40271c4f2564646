"""`harness rerun`: one cell of a record, repeated and compared."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from harness.commands.common import command, data_options, emit, records_option, registry_of

if TYPE_CHECKING:
    from harness.run.rerun import FigureChange, RecordComparison

DISAGREES = 3


def add(subparsers: Any) -> None:
    rerun = command(subparsers, "rerun", rerun_record, "repeat the cell of a record and compare; nothing is written")
    rerun.set_defaults(again="begins anew: nothing was written")
    rerun.add_argument("record", metavar="RECORD", help="a record's JSON file, or its key in --records")
    data_options(rerun)
    rerun.set_defaults(dataset=None)
    rerun.add_argument("--device", help="another than the record's: cpu or cuda")
    records_option(rerun, "where a key is looked for")


def rerun_record(given: argparse.Namespace) -> int:
    registry = registry_of(given)
    from harness.records.store import read_one
    from harness.run.rerun import rerun
    from harness.system.progress import ProgressDisplay

    record = read_one(given.record, given.records)
    with ProgressDisplay() as watch:
        watch.expect(1)
        found = rerun(record, registry, vars(given), watch.step, watch.progress)
    emit(given, _document(found), "\n".join(_lines(found)))
    return 0 if found.agrees else DISAGREES


def _document(found: RecordComparison) -> dict[str, Any]:
    return {
        "record": found.then.spec.key,
        "kind": found.then.spec.kind,
        "agrees": found.agrees,
        "exact": found.exact,
        "status": {"record": found.then.status, "now": found.now.status, "reason": found.now.reason},
        "inputs": [{"name": name, "record": then, "now": now} for name, then, now in found.changed_inputs],
        "figures": [
            {
                "name": figure.name,
                "record": figure.then,
                "now": figure.now,
                "difference": {**figure.difference, "holm": figure.p},
                "equal": figure.equal,
                "agrees": figure.agrees,
            }
            for figure in found.figures
        ],
        "missing": found.missing,
        "new": found.new,
        "seconds": {"record": found.then.seconds, "now": round(found.now.seconds, 3)},
    }


def _lines(found: RecordComparison) -> list[str]:
    then, now = found.then, found.now
    lines = [f"record {then.spec.key}: {' '.join([then.spec.kind, *then.spec.names])}, seed {then.inputs['seed']}"]
    if found.changed_inputs:
        lines.append("inputs that differ (record -> now):")
        lines += [f"  {name}: {_short(old)} -> {_short(new)}" for name, old, new in found.changed_inputs]
    if then.status != now.status:
        lines.append(f"status: {then.status} -> {now.status}{f' ({now.reason})' if now.reason else ''}")
    if not found.exact:
        lines += [_figure(figure) for figure in found.figures]
    if found.missing:
        lines.append(f"not there any more, or of other images: {', '.join(found.missing)}")
    if found.new:
        lines.append(f"not in the record: {', '.join(found.new)}")
    count = len(found.figures)
    if found.exact:
        said = f"agrees bit for bit in {count} figure{'' if count == 1 else 's'}"
        lines.append(said if count else f"agrees: {then.status} both times")
    elif found.agrees:
        lines.append("agrees as far as the images can tell: no figure moved beyond its paired interval and rounding")
    else:
        unexplained = "" if found.changed_inputs else ", though nothing that it depends on has changed"
        lines.append(f"does not agree{unexplained}")
    return lines


def _figure(figure: FigureChange) -> str:
    from harness.leaderboard.format import figure as written

    if figure.equal:
        return f"  {figure.name}: {written(figure.then)}, bit for bit"
    moved = "rounding alone" if figure.rounding else f"moved by {written(figure.difference)}, p {figure.p:.2g}"
    told = "" if figure.agrees else "  <- does not agree"
    return f"  {figure.name}: {written(figure.then)} -> {written(figure.now)}, {moved}{told}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
