"""`harness list`, `show`, `validate` and `new`: what the registry holds, and how to add to it. Without torch."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import command, emit, registry_of
from harness.registry.settings import format_setting

if TYPE_CHECKING:
    from harness.registry import Entry


SECTIONS = ("defenses", "attacks", "metrics", "evaluators", "datasets")


def add(subparsers: Any) -> None:
    listing = command(subparsers, "list", list_entries, "what the registry holds")
    listing.add_argument("section", nargs="?", choices=SECTIONS)
    show = command(subparsers, "show", show_entry, "one entry, whole")
    show.add_argument("name")
    validate = command(subparsers, "validate", validate_plugin, "the contract tests, on any plugin")
    validate.add_argument("name")
    new = command(subparsers, "new", new_entry, "a plugin's file and registry entry, ready to edit")
    new.add_argument("kind", choices=("defense", "attack", "metric"))
    new.add_argument("name")
    new.add_argument("--folder", type=Path, default=Path(), help="where to write (here)")


def list_entries(given: argparse.Namespace) -> int:
    from harness.registry.availability import why_unavailable

    registry = registry_of(given)
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
    emit(given, sections, "\n".join(lines))
    return 0


def _brief(value: Any) -> str:
    return f"({len(value)} entries)" if isinstance(value, dict) else str(value)


def show_entry(given: argparse.Namespace) -> int:
    from harness.registry.availability import why_unavailable

    entry = registry_of(given).find(given.name)
    shown = {**_plain(entry), "unavailable": why_unavailable(entry)}
    emit(given, shown, "\n".join(f"{name:12} {_words(value)}" for name, value in shown.items() if value))
    return 0


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry's fields, without those that its section does not have."""
    return {name: value for name, value in asdict(entry).items() if value not in (None, ())}


def _words(value: Any) -> str:
    if isinstance(value, dict):  # as -D takes them
        return " ".join(f"{name}={format_setting(inner)}" for name, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def validate_plugin(given: argparse.Namespace) -> int:
    from harness.contract import validate

    findings = validate(registry_of(given).find(given.name), registry_of(given))
    lines = [
        f"{'ok    ' if found.ok else 'FAILED'} {found.check}{': ' + found.why if found.why else ''}"
        for found in findings
    ]
    emit(given, {"name": given.name, "checks": [found.__dict__ for found in findings]}, "\n".join(lines))
    return 0 if all(found.ok for found in findings) else 1


def new_entry(given: argparse.Namespace) -> int:
    from harness.contract.scaffold import new_plugin

    files = [str(path) for path in new_plugin(given.kind, given.name, given.folder)]
    following = f"harness validate {given.name} --registry {files[-1]}"
    emit(given, {"files": files, "next": following}, "\n".join([*files, f"next: {following}"]))
    return 0
