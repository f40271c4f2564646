"""Commands, nothing else: arguments in, tables or one JSON document out, an exit code.

Exit codes: 0 done, 1 a cell failed, 2 wrong usage or input, 130 interrupted. Imports happen inside the commands, so
that `harness list` answers without torch.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness import __version__
from harness.errors import HarnessError
from harness.offline import staying_offline
from harness.registry import Registry, load_registry, parse_settings
from harness.settings import as_setting

if TYPE_CHECKING:
    from rich.console import Console

    from harness.engine import Order
    from harness.registry import Entry

SECTIONS = ("defenses", "attacks", "metrics", "evaluators", "datasets")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="harness: %(message)s", stream=sys.stderr)
    try:
        given = parser().parse_args(arguments)
        with staying_offline(getattr(given, "offline", False)):
            code: int = given.command(given)
        return code
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("harness: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def entry_point() -> NoReturn:
    sys.exit(main())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarnessError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="harness", description="Does an image-obfuscation scheme protect the pictures?")
    top.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = top.add_subparsers(title="commands", required=True, parser_class=_Parser)

    run = _command(commands, "run", _run, "obfuscate, attack, measure, record, and print the board")
    run.add_argument("--defense", required=True, help="a name, several with commas, or all")
    run.add_argument("--attack", required=True, help="a name, several with commas, or all")
    _data_options(run)
    run.add_argument("-D", dest="defense_settings", action="append", default=[], metavar="KNOB=VALUE")
    run.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    run.add_argument(
        "--epochs",
        type=_epochs,
        default=[10],
        metavar="T[,T...]",
        help="releases, one training epoch each (10; the paper: 20); several, 1,2,5,10,20, for privacy left against T",
    )
    run.add_argument("--figure", type=Path, metavar="FILE", help="where that curve is drawn (in the records folder)")
    run.add_argument("--seeds", type=int, default=1, metavar="N", help="repeat with seeds 0 to N-1 (1)")
    run.add_argument("--targets", type=int, default=1000, metavar="N", help="originals that are scored (1000)")
    run.add_argument("--no-utility", dest="utility", action="store_false", help="train no model on the release")
    run.add_argument("--model", help="network of the utility model (resnet18)")
    run.add_argument("--recipe", help="its training: default or paper")
    run.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run.add_argument("--threads", type=int, metavar="N", help="threads of torch and OpenCV (the cores)")
    run.add_argument("--records", type=Path, default=Path("results"), metavar="DIR", help="where records go (results/)")
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")

    listing = _command(commands, "list", _list, "what the registry holds")
    listing.add_argument("section", nargs="?", choices=SECTIONS)
    show = _command(commands, "show", _show, "one entry, whole")
    show.add_argument("name")
    validate = _command(commands, "validate", _validate, "the contract tests, on any plugin")
    validate.add_argument("name")
    new = _command(commands, "new", _new, "a plugin's file and registry entry, ready to edit")
    new.add_argument("kind", choices=("defense", "attack", "metric"))
    new.add_argument("name")
    new.add_argument("--folder", type=Path, default=Path(), help="where to write (here)")
    measure = _command(commands, "measure", _measure, "the metrics between two images or two folders")
    measure.add_argument("a", type=Path)
    measure.add_argument("b", type=Path)
    measure.add_argument("--metric", action="append", help="only these (all)")
    rank = _command(commands, "rank", _rank, "tables from records, printed and written")
    rank.add_argument("--records", type=Path, default=Path("results"), metavar="DIR", help="records (results/)")
    rank.add_argument("--out", type=Path, default=Path("leaderboards"), metavar="DIR", help="tables (leaderboards/)")
    return top


def _command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.set_defaults(command=function)
    made.add_argument("--json", action="store_true", help="one JSON document on stdout, everything else on stderr")
    made.add_argument("--registry", type=Path, action="append", default=[], metavar="FILE", help="layer this file over")
    return made


def _data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dataset", default="photos", help="a name (harness list datasets) or a folder (photos)")
    command.add_argument("--limit", type=int, metavar="N", help="private images at most, other roles in proportion")
    command.add_argument("--size", type=int, metavar="PIXELS", help="shorter side, then a centre crop")
    command.add_argument("--public-share", type=float, metavar="SHARE", help="the adversary's share of train; 0: none")
    command.add_argument("--offline", action="store_true", help="download nothing; what is missing is named")


def _run(given: argparse.Namespace) -> int:
    registry = _registry(given)
    registry.choose("defenses", given.defense.split(","), parse_settings(given.defense_settings))  # refused at once:
    registry.choose("attacks", given.attack.split(","), parse_settings(given.attack_settings))  # torch takes seconds
    from harness import outcome, spending
    from harness.engine import prepare
    from harness.terminal import Watch

    with Watch() as watch:
        cross = prepare(_order(given), registry, watch.step, watch.progress)
        crosses = [cross.at(epochs) for epochs in given.epochs]
        pairs = outcome.pairs_to_draw(crosses, given.figure)
        plan = list({item["key"]: item for each in crosses for item in each.plan()}.values())
        if given.dry_run:
            _emit(given, {"plan": plan}, "\n".join(_plan_line(item) for item in plan))
            return 0
        cross.refuse_what_cannot_run()
        watch.expect(sum(not item["done"] for item in plan))
        cells = [cell for epochs in given.epochs for cell in cross.at(epochs).cells()]
    spent = spending.spendings(cells, pairs)
    if given.json:
        _emit(given, outcome.document(cells), None)
    else:
        outcome.show(cells, spent, _console())
    for line in outcome.troubles(cells):
        print(line, file=sys.stderr)
    for file in outcome.draw(spent, given.records, given.figure):
        print(f"drew {file}", file=sys.stderr)
    if all(cell.status == "skipped" for cell in cells):  # nothing was attacked: what it lacks is the caller's to mend
        return 2
    return 1 if any(cell.status == "failed" for cell in cells) else 0


def _order(given: argparse.Namespace) -> Order:
    from harness.engine import Order

    names = Order.__dataclass_fields__
    chosen = {name: value for name, value in vars(given).items() if name in names}
    chosen |= {name: getattr(given, name).split(",") for name in ("defense", "attack")} | {"epochs": given.epochs[0]}
    chosen |= {name: parse_settings(getattr(given, name)) for name in ("defense_settings", "attack_settings")}
    return Order(**chosen)


def _epochs(text: str) -> list[int]:
    """One T, or several that differ."""
    found: list[int] = []
    for part in text.split(","):
        if not re.fullmatch(r"-?[0-9]{1,9}", part.strip()):
            raise argparse.ArgumentTypeError(f"epochs {part!r} is no whole number; use 10, or several as 1,2,5,10")
        if int(part) < 1:
            raise argparse.ArgumentTypeError(f"epochs {int(part)} is too few; use 1 or more")
        if int(part) in found:
            raise argparse.ArgumentTypeError(f"epochs {int(part)} stands twice in {text!r}; name each once")
        found.append(int(part))
    return found


def _plan_line(item: dict[str, Any]) -> str:
    what = " x ".join(filter(None, (item["defense"], item["attack"])))
    return f"{'done' if item['done'] else 'to run':7} {item['kind']:8} {what:30} seed {item['seed']}  {item['key']}"


def _console() -> Console:
    from rich.console import Console

    return Console()


def _list(given: argparse.Namespace) -> int:
    from harness.availability import why_unavailable

    registry = _registry(given)
    sections: dict[str, list[dict[str, Any]]] = {}
    sound: set[str] = set()
    lines: list[str] = []
    for section in [given.section] if given.section else SECTIONS:
        sections[section] = []
        lines += ["", section] if lines else [section]
        for entry in registry.section(section).values():
            reason = why_unavailable(entry, sound)
            knobs = " ".join(f"{knob}={_brief(value)}" for knob, value in entry.params.items())
            lines.append(f"  {entry.name:12} {knobs:36} {'UNAVAILABLE: ' + reason if reason else entry.cite}")
            sections[section].append({**_plain(entry), "unavailable": reason})
    _emit(given, sections, "\n".join(lines))
    return 0


def _brief(value: Any) -> str:
    return f"({len(value)} entries)" if isinstance(value, dict) else str(value)


def _show(given: argparse.Namespace) -> int:
    from harness.availability import why_unavailable

    entry = _registry(given).find(given.name)
    shown = {**_plain(entry), "unavailable": why_unavailable(entry)}
    _emit(given, shown, "\n".join(f"{name:12} {_words(value)}" for name, value in shown.items() if value))
    return 0


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry's fields, without those that its section does not have."""
    return {name: value for name, value in asdict(entry).items() if value not in (None, ())}


def _words(value: Any) -> str:
    if isinstance(value, dict):  # as -D takes them
        return " ".join(f"{name}={as_setting(inner)}" for name, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _validate(given: argparse.Namespace) -> int:
    from harness.contract import validate

    findings = validate(_registry(given).find(given.name), _registry(given))
    lines = [
        f"{'ok    ' if found.ok else 'FAILED'} {found.check}{': ' + found.why if found.why else ''}"
        for found in findings
    ]
    _emit(given, {"name": given.name, "checks": [found.__dict__ for found in findings]}, "\n".join(lines))
    return 0 if all(found.ok for found in findings) else 1


def _new(given: argparse.Namespace) -> int:
    from harness.scaffold import new_plugin

    files = [str(path) for path in new_plugin(given.kind, given.name, given.folder)]
    following = f"harness validate {given.name} --registry {files[-1]}"
    _emit(given, {"files": files, "next": following}, "\n".join([*files, f"next: {following}"]))
    return 0


def _measure(given: argparse.Namespace) -> int:
    from harness.device import use_threads
    from harness.measure import measure
    from harness.registry import bind
    from harness.wording import figure

    registry = _registry(given)
    names = given.metric or list(registry.section("metrics"))
    metrics = {name: bind(registry.get("metrics", name)) for name in names}
    use_threads()
    found = measure(given.a, given.b, metrics)
    lines = [
        f"{name:10} {figure(score) if score['mean'] is not None else score.get('reason', '-')}"
        for name, score in found["scores"].items()
    ]
    _emit(given, found, "\n".join(lines))
    return 0


def _rank(given: argparse.Namespace) -> int:
    from harness import columns, tables
    from harness.leaderboard import boards
    from harness.records import Records

    found = boards(Records(given.records).all())
    if not found:
        raise HarnessError(f"no records in {given.records}; run `harness run` first, or name a folder with --records")
    paths = tables.write(found, given.out, given.records)
    _emit(given, columns.document(found), None)
    if not given.json:
        tables.show(found, _console())
    print("wrote " + ", ".join(map(str, paths)), file=sys.stderr)
    return 0


def _registry(given: argparse.Namespace) -> Registry:
    registry = load_registry(given.registry)
    for problem in registry.problems:
        print(f"harness: {problem}", file=sys.stderr)
    return registry


def _emit(given: argparse.Namespace, document: Any, text: str | None) -> None:
    if given.json:
        print(json.dumps(document, indent=1, allow_nan=False))
    elif text is not None:
        print(text)


if __name__ == "__main__":
    entry_point()
