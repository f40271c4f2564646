"""`harness tune`: one knob of a defense, to the least obfuscation that reaches a target."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    command,
    console,
    count,
    data_options,
    defense_settings,
    device_option,
    emit,
    records_option,
    registry_of,
)
from harness.errors import HarnessError
from harness.registry import Registry, parse_settings
from harness.registry.settings import did_you_mean

if TYPE_CHECKING:
    from harness.registry import Entry
    from harness.run.bench import Bench
    from harness.system.progress import ProgressDisplay
    from harness.tune.result import TuneOptions, TuneResult

UNMEASURED = ("inapplicable", "skipped")


def add(subparsers: Any) -> None:
    tune = command(subparsers, "tune", tune_knobs, "the least obfuscation that reaches a target")
    tune.add_argument("--defense", required=True, help="a name, several with commas, or all")
    tune.add_argument("--target", required=True, metavar="METRIC=VALUE", help="dssim=0.66 or dhaar=0.62, say")
    tune.add_argument(
        "--by", choices=("mean", "low"), default="mean", help="what reaches it: the mean, or the lower end"
    )
    tune.add_argument("--attack", help="dSSIM or dHaar after these attacks, with commas (the release alone)")
    tune.add_argument("--knob", help="what is tuned (the one that the registry names)")
    tune.add_argument("--between", type=_range, metavar="LOW,HIGH", help="the range of its values (the registry's)")
    tune.add_argument("--then", metavar="KNOB", help="a second knob, to come right above the target: weights, say")
    tune.add_argument("--most", type=count, default=40, metavar="N", help="values tried for a knob at the most (40)")
    data_options(tune)
    defense_settings(tune)
    tune.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    tune.add_argument("--epochs", type=count, default=10, metavar="T", help="releases that an attack may have (10)")
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="of pairing, noise and attacks (0)")
    tune.add_argument("--targets", type=count, default=1000, metavar="N", help="originals that are scored (1000)")
    device_option(tune)
    tune.add_argument("--threads", type=int, metavar="N", help="of every attack, an input of its record (1)")
    records_option(tune, "where every value that is tried is kept")
    tune.add_argument("--out", type=Path, metavar="FILE", help="a Markdown page as well")


def tune_knobs(given: argparse.Namespace) -> int:
    """A table of what was found; 1 where a defense failed, 2 where none could be measured."""
    registry = registry_of(given)  # what is wrong is refused at once: torch takes seconds
    defenses = registry.choose("defenses", given.defense.split(","), parse_settings(given.defense_settings))
    _check_knobs(given, defenses)
    options = _tune_options(given, registry)
    from harness.system.progress import ProgressDisplay
    from harness.tune import tables

    if given.out:
        tables.check_page(given.out)
    with ProgressDisplay() as watch:
        bench = _bench(given, registry, watch)
    found = [_tuned(given, bench, defense, options, alone=len(defenses) == 1) for defense in defenses]
    reasons = [str(tuned.reason) for tuned in found if tuned.status in UNMEASURED]
    if len(reasons) == len(found):
        raise HarnessError("; ".join(reasons))
    if given.json:
        emit(given, _document(found, bench, options), None)
    else:
        tables.show(found, bench.splits, options, console())
    if given.out:
        links = os.path.relpath(given.records, given.out.parent)
        tables.write(tables.markdown(found, bench.splits, options, links), given.out)
        print(f"wrote {given.out}", file=sys.stderr)
    return 1 if any(tuned.status == "failed" for tuned in found) else 0


def _check_knobs(given: argparse.Namespace, defenses: list[Entry]) -> None:
    known = {knob for defense in defenses for knob in defense.knobs}
    for knob in filter(None, (given.knob, given.then)):
        if knob not in known:
            raise HarnessError(f"no defense that is tuned has a knob {knob!r}{did_you_mean(knob, known)}")
    if given.between and not given.knob and len(defenses) > 1:
        raise HarnessError("--between is the range of one knob; name it with --knob, or one --defense")


def _tune_options(given: argparse.Namespace, registry: Registry) -> TuneOptions:
    from harness.tune.result import TuneOptions, check_attacks, parse_target

    if given.seed < 0:
        raise HarnessError(f"seed {given.seed} is no seed; use 0 or more")
    metric, target = parse_target(given.target)
    attacks = registry.choose("attacks", _attacks(given), parse_settings(given.attack_settings))
    check_attacks(attacks)
    return TuneOptions(metric, target, given.by, given.seed, tuple(attacks), max_values=given.most)


def _attacks(given: argparse.Namespace) -> list[str]:
    return given.attack.split(",") if given.attack else []


def _bench(given: argparse.Namespace, registry: Registry, watch: ProgressDisplay) -> Bench:
    """The bench of `harness run`. Knobs are checked one by one later: the registry's own need not suit the images."""
    from harness.run.engine import UNDEFENDED, RunOptions, prepare

    names = ("dataset", "limit", "size", "public_share", "epochs", "targets", "device", "threads", "records")
    order = RunOptions(
        defense=UNDEFENDED,
        attack=_attacks(given),
        attack_settings=parse_settings(given.attack_settings),
        utility=False,
        **{name: getattr(given, name) for name in names},
    )
    bench = prepare(order, registry, progress=watch.progress).bench
    bench.records.check_writable()
    return bench


def _tuned(given: argparse.Namespace, bench: Bench, defense: Entry, options: TuneOptions, alone: bool) -> TuneResult:
    """Of several defenses one that cannot be tuned so is a line of the table, and the others go on."""
    from harness.tune.result import TuneResult
    from harness.tune.tune import tune

    try:
        return tune(bench, defense, options, given.knob, given.between, given.then, _say)
    except HarnessError as error:
        if alone:
            raise
        return TuneResult(defense, given.knob, "nothing to tune", str(error).removeprefix(f"{defense.name}: "))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _document(found: list[TuneResult], bench: Bench, options: TuneOptions) -> dict[str, Any]:
    from harness.tune.result import document

    return {
        "dataset": bench.splits.name,
        "target": {"metric": options.metric, "value": options.target, "by": options.by},
        "attacks": [attack.name for attack in options.attacks],
        "epochs": bench.epochs,
        "seed": options.seed,
        "tuned": [document(tuned) for tuned in found],
    }


def _range(text: str) -> tuple[float, float]:
    """Two numbers, the lower first."""
    low, comma, high = text.partition(",")
    try:
        found = (float(low), float(high))
    except ValueError:
        found = (math.nan, math.nan)
    if not comma or not (math.isfinite(found[0]) and math.isfinite(found[1]) and found[0] < found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no range; write the lower number first, 10,40")
    return found
