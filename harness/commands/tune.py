"""`harness tune`: set a knob of a defense to the least obfuscation that reaches a target."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_command,
    add_data_options,
    add_defense_settings,
    add_device_option,
    add_epochs_options,
    add_records_option,
    path_type,
    print_result,
    registry_from,
)
from harness.errors import HarnessError
from harness.registry import Registry, parse_settings
from harness.registry.settings import did_you_mean
from harness.system.messages import log
from harness.system.numbers import LARGEST, count, finite
from harness.system.output import console
from harness.system.schema import shown

if TYPE_CHECKING:
    from harness.registry import Entry
    from harness.run.bench import Bench
    from harness.system.progress import ProgressDisplay
    from harness.tune.result import TuneOptions, TuneResult

UNMEASURED = ("inapplicable", "skipped")


def add(subparsers: Any) -> None:
    tune = add_command(subparsers, "tune", tune_knobs, "the least obfuscation that reaches a target")
    tune.add_argument("--defense", required=True, help="a name, several with commas, or all")
    tune.add_argument("--target", required=True, metavar="METRIC=VALUE", help="dssim=0.66 or dhaar=0.62, say")
    tune.add_argument(
        "--by", choices=("mean", "low"), default="mean", help="which must reach it: the mean, or the lower end"
    )
    tune.add_argument("--attack", help="dSSIM or dHaar after these attacks, with commas (the release alone)")
    tune.add_argument("--knob", help="the knob to tune (the one that the registry names)")
    tune.add_argument("--between", type=_range, metavar="LOW,HIGH", help="the range of its values (the registry's)")
    tune.add_argument("--then", metavar="KNOB", help="a second knob, to get right above the target: weights, say")
    tune.add_argument(
        "--most", type=count("most"), default=40, metavar="N", help="values to try for one knob, at most (40)"
    )
    add_data_options(tune)
    add_defense_settings(tune)
    tune.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    add_epochs_options(tune)
    tune.add_argument("--seed", type=count("seed", 0), default=0, metavar="N", help="of pairing, noise and attacks (0)")
    tune.add_argument(
        "--targets", type=count("targets"), default=1000, metavar="N", help="originals that are scored (1000)"
    )
    add_device_option(tune)
    tune.add_argument(
        "--threads", type=count("threads"), metavar="N", help="of every attack, an input of its record (1)"
    )
    add_records_option(tune, "where the records of every tried value go")
    tune.add_argument("--out", type=path_type, metavar="FILE", help="a Markdown page as well")


def tune_knobs(args: argparse.Namespace) -> int:
    """Print the results; exit code 1 where a defense failed, 2 where none could be measured."""
    registry = registry_from(args)  # refuse wrong input before torch is imported, which takes seconds
    defenses = registry.choose("defenses", args.defense.split(","), parse_settings(args.defense_settings))
    _check_knobs(args, defenses)
    options = _tune_options(args, registry)
    from harness.system.progress import ProgressDisplay
    from harness.tune import tables

    if args.out:
        tables.check_page(args.out)
    with ProgressDisplay() as watch:
        bench = _bench(args, registry, watch)
    results = [_tune_one(args, bench, defense, options, alone=len(defenses) == 1) for defense in defenses]
    reasons = [str(tuned.reason) for tuned in results if tuned.status in UNMEASURED]
    if len(reasons) == len(results):
        raise HarnessError("; ".join(reasons))
    if args.json:
        print_result(args, _document(results, bench, options), None)
    else:
        tables.show(results, bench.splits, options, console())
    if args.out:
        links = os.path.relpath(args.records, args.out.parent)
        tables.write(tables.markdown(results, bench.splits, options, links), args.out)
        log.info("wrote %s", args.out)
    return 1 if any(tuned.status == "failed" for tuned in results) else 0


def _check_knobs(args: argparse.Namespace, defenses: list[Entry]) -> None:
    known = {knob for defense in defenses for knob in defense.knobs}
    for knob in filter(None, (args.knob, args.then)):
        if knob not in known:
            raise HarnessError(f"no defense that is tuned has a knob {knob!r}{did_you_mean(knob, known)}")
    if args.between and not args.knob and len(defenses) > 1:
        raise HarnessError("--between is the range of one knob; name it with --knob, or one --defense")


def _tune_options(args: argparse.Namespace, registry: Registry) -> TuneOptions:
    from harness.tune.result import TuneOptions, check_attacks, parse_target

    metric, target = parse_target(args.target)
    attacks = registry.choose("attacks", _attacks(args), parse_settings(args.attack_settings))
    check_attacks(attacks)
    return TuneOptions(metric, target, args.by, args.seed, tuple(attacks), max_values=args.most)


def _attacks(args: argparse.Namespace) -> list[str]:
    return args.attack.split(",") if args.attack else []


def _bench(args: argparse.Namespace, registry: Registry, watch: ProgressDisplay) -> Bench:
    """The bench of `harness run`. Knobs are checked later, value by value: the registry's may not suit the images."""
    from harness.run.engine import UNDEFENDED, RunOptions, prepare

    names = (
        "dataset",
        "limit",
        "size",
        "public_share",
        "epochs",
        "releases",
        "targets",
        "device",
        "threads",
        "records",
    )
    run_options = RunOptions(
        defense=UNDEFENDED,
        attack=_attacks(args),
        attack_settings=parse_settings(args.attack_settings),
        utility=False,
        **{name: getattr(args, name) for name in names},
    )
    bench = prepare(run_options, registry, progress=watch.progress).bench
    bench.records.check_writable()
    return bench


def _tune_one(args: argparse.Namespace, bench: Bench, defense: Entry, options: TuneOptions, alone: bool) -> TuneResult:
    """Tune one defense. Of several, one that cannot be tuned becomes a line of the table, and the others go on."""
    from harness.tune.result import TuneResult
    from harness.tune.tune import tune

    try:
        return tune(bench, defense, options, args.knob, args.between, args.then, _say)
    except HarnessError as error:
        if alone:
            raise
        return TuneResult(defense, args.knob, "nothing to tune", str(error).removeprefix(f"{defense.name}: "))


def _say(text: str) -> None:
    log.info("%s", text)


def _document(results: list[TuneResult], bench: Bench, options: TuneOptions) -> dict[str, Any]:
    from harness.tune.result import document

    return {
        "dataset": bench.splits.name,
        "target": {"metric": options.metric, "value": options.target, "by": options.by},
        "attacks": [attack.name for attack in options.attacks],
        "epochs": bench.epochs,
        "releases": bench.release_count,
        "seed": options.seed,
        "tuned": [document(tuned) for tuned in results],
    }


def _range(text: str) -> tuple[float, float]:
    """Two numbers, the lower first."""
    low, comma, high = text.partition(",")
    ends = (finite(low.strip()), finite(high.strip()))
    if not comma or ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no range; write the lower number first, 10,40")
    if max(map(abs, ends)) > LARGEST:  # type: ignore[arg-type]
        raise argparse.ArgumentTypeError(f"{shown(text)}: a knob is at most {LARGEST:,.0f} in size")
    return ends[0], ends[1]
