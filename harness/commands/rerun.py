"""`harness rerun`: repeat the cell of a record and compare the figures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_checkpoint_option,
    add_command,
    add_data_options,
    add_records_option,
    dataset_type,
    print_result,
    registry_from,
)

if TYPE_CHECKING:
    from harness.run.rerun import FigureChange, RecordComparison

DISAGREES = 3


def add(subparsers: Any) -> None:
    rerun = add_command(
        subparsers, "rerun", rerun_record, "repeat the cell of a record and compare; nothing is written"
    )
    rerun.set_defaults(again="begins anew: nothing was written")
    rerun.add_argument(
        "record", type=dataset_type, metavar="RECORD", help="a record's JSON file, or its key in --records"
    )
    add_data_options(rerun)
    rerun.set_defaults(dataset=None)
    add_checkpoint_option(rerun, "weights that the record's model began with")
    rerun.add_argument("--device", help="another than the record's: cpu or cuda")
    add_records_option(rerun, "where a key is looked for")


def rerun_record(args: argparse.Namespace) -> int:
    registry = registry_from(args)
    from harness.records.store import read_one
    from harness.run.rerun import rerun
    from harness.system.progress import ProgressDisplay

    record = read_one(args.record, args.records)
    with ProgressDisplay() as watch:
        watch.expect([("rerun", None)])
        comparison = rerun(record, registry, vars(args), watch.step, watch.progress)
    print_result(args, _document(comparison), "\n".join(_lines(comparison)))
    return 0 if comparison.agrees else DISAGREES


def _document(comparison: RecordComparison) -> dict[str, Any]:
    return {
        "record": comparison.then.spec.key,
        "kind": comparison.then.spec.kind,
        "agrees": comparison.agrees,
        "exact": comparison.exact,
        "status": {"record": comparison.then.status, "now": comparison.now.status, "reason": comparison.now.reason},
        "inputs": [_difference(*each) for each in comparison.changed_inputs],
        "figures": [
            {
                "name": figure.name,
                "record": figure.then,
                "now": figure.now,
                "difference": {**figure.difference, "holm": figure.p},
                "equal": figure.equal,
                "agrees": figure.agrees,
            }
            for figure in comparison.figures
        ],
        "missing": comparison.missing,
        "new": comparison.new,
        "stated": [_difference(*each) for each in comparison.stated],
        "seconds": {"record": comparison.then.seconds, "now": round(comparison.now.seconds, 3)},
    }


def _difference(name: str, then: Any, now: Any) -> dict[str, Any]:
    """What is not stated has no field: no value could say so."""
    from harness.run.stated import ABSENT

    both = {"record": then, "now": now}
    return {"name": name, **{field: value for field, value in both.items() if value is not ABSENT}}


def _lines(comparison: RecordComparison) -> list[str]:
    then, now = comparison.then, comparison.now
    lines = [f"record {then.spec.key}: {' '.join([then.spec.kind, *then.spec.names])}, seed {then.inputs['seed']}"]
    if comparison.changed_inputs:
        lines.append("inputs that differ (record -> now):")
        lines += [f"  {name}: {_short(old)} -> {_short(new)}" for name, old, new in comparison.changed_inputs]
    if then.status != now.status:
        lines.append(f"status: {then.status} -> {now.status}{f' ({now.reason})' if now.reason else ''}")
    if not comparison.exact:
        lines += [_figure(figure) for figure in comparison.figures]
    if comparison.missing:
        lines.append(f"missing now, or of other images: {', '.join(comparison.missing)}")
    if comparison.new:
        lines.append(f"not in the record: {', '.join(comparison.new)}")
    if comparison.stated:
        lines.append("the record says of its figures (record -> what its numbers and this code give):")
        lines += [f"  {name}: {_short(old)} -> {_short(new)}" for name, old, new in comparison.stated]
    count = len(comparison.figures)
    if comparison.exact:
        text = f"agrees bit for bit in {count} figure{'' if count == 1 else 's'}"
        lines.append(text if count else f"agrees: {then.status} both times")
    elif comparison.agrees:
        lines.append("agrees as far as the images can tell: no figure moved beyond its paired interval and rounding")
    else:
        lines.append(
            "does not agree" + ("" if comparison.changed_inputs else ", though nothing that it depends on has changed")
        )
    return lines


def _figure(figure: FigureChange) -> str:
    from harness.leaderboard.format import figure as written

    if figure.equal:
        return f"  {figure.name}: {written(figure.then)}, bit for bit"
    moved = "rounding alone" if figure.rounding else f"moved by {written(figure.difference)}, p {figure.p:.2g}"
    mark = "" if figure.agrees else "  <- does not agree"
    return f"  {figure.name}: {written(figure.then)} -> {written(figure.now)}, {moved}{mark}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
