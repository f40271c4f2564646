"""What each command does: from the parsed arguments to a table or one JSON document, and the exit code.

Imports happen inside the commands, so that `harness list` answers without torch.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.registry import Registry, bind, load_registry, parse_settings
from harness.settings import as_setting

if TYPE_CHECKING:
    from rich.console import Console

    from harness.engine import Order
    from harness.registry import Entry

SECTIONS = ("defenses", "attacks", "metrics", "evaluators", "datasets")


def run_cross(given: argparse.Namespace) -> int:
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


def _plan_line(item: dict[str, Any]) -> str:
    what = " x ".join(filter(None, (item["defense"], item["attack"])))
    return f"{'done' if item['done'] else 'to run':7} {item['kind']:8} {what:30} seed {item['seed']}  {item['key']}"


def _console() -> Console:
    from rich.console import Console

    return Console()


def list_entries(given: argparse.Namespace) -> int:
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


def show_entry(given: argparse.Namespace) -> int:
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


def validate_plugin(given: argparse.Namespace) -> int:
    from harness.contract import validate

    findings = validate(_registry(given).find(given.name), _registry(given))
    lines = [
        f"{'ok    ' if found.ok else 'FAILED'} {found.check}{': ' + found.why if found.why else ''}"
        for found in findings
    ]
    _emit(given, {"name": given.name, "checks": [found.__dict__ for found in findings]}, "\n".join(lines))
    return 0 if all(found.ok for found in findings) else 1


def new_entry(given: argparse.Namespace) -> int:
    from harness.scaffold import new_plugin

    files = [str(path) for path in new_plugin(given.kind, given.name, given.folder)]
    following = f"harness validate {given.name} --registry {files[-1]}"
    _emit(given, {"files": files, "next": following}, "\n".join([*files, f"next: {following}"]))
    return 0


def measure_files(given: argparse.Namespace) -> int:
    from harness.device import use_threads
    from harness.measure import measure
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


def rank_records(given: argparse.Namespace) -> int:
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


def obfuscate_folder(given: argparse.Namespace) -> int:
    """A client's release, with randomness from the operating system unless a test asks for a seed."""
    registry = _registry(given)
    defense = registry.get("defenses", given.defense).with_settings(parse_settings(given.defense_settings))
    bind(defense)
    if given.seed is not None:
        print(f"harness: --seed {given.seed} is for tests: whoever guesses it undoes the release", file=sys.stderr)
    from harness.device import choose_device
    from harness.publish import publish
    from harness.randomness import ROOT_BYTES, root_of
    from harness.terminal import Watch

    with Watch() as watch:
        images = publish(
            defense,
            registry,
            given.dataset,
            given.out,
            given.secret,
            epochs=given.epochs,
            root=secrets.token_bytes(ROOT_BYTES) if given.seed is None else root_of(given.seed),
            size=given.size,
            device=choose_device(given.device),
            progress=watch.progress,
        )
    said = {"out": str(given.out), "secret": str(given.secret), "images": images, "epochs": given.epochs}
    _emit(given, said, f"{given.out}: {images} images in {given.epochs} epochs\n{given.secret}: keep it to yourself")
    if given.epochs > 1:
        knobs = "".join(f" -D {setting}" for setting in given.defense_settings)
        judge = f"harness run --defense {given.defense}{knobs} --attack multi_release --epochs {given.epochs}"
        data = f"--dataset {given.dataset}{f' --size {given.size}' if given.size else ''}"
        plugins = "".join(f" --registry {file}" for file in given.registry)
        print(
            f"harness: {given.epochs} releases of the same images can be linked; see what is left: "
            f"{judge} {data}{plugins}",
            file=sys.stderr,
        )
    return 0


def preview_sheet(given: argparse.Namespace) -> int:
    """Pictures of what each defense does, and of what an attack makes of it."""
    registry = _registry(given)
    defenses = registry.choose("defenses", given.defense.split(","), parse_settings(given.defense_settings))
    attacks = registry.choose("attacks", given.attack.split(","), {}) if given.attack else []
    from harness import preview
    from harness.client import Client
    from harness.device import choose_device, use_threads
    from harness.engine import Order, load_splits

    preview.check(given.out, given.images, attacks)
    use_threads()
    order = Order(dataset=given.dataset, size=given.size, limit=given.limit, public_share=given.public_share)
    splits = load_splits(order, registry)
    client = Client(splits, registry, choose_device(given.device), given.epochs, len(splits.private))
    rows = preview.draw(client, defenses, attacks, given.images, given.out)
    _emit(given, {"file": str(given.out), "images": rows}, f"drew {given.out}")
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
