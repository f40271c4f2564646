"""`harness list`, `show`, `validate` and `new`: the registry's entries, and how to add one. `list` imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_command,
    path_type,
    print_result,
    registry_from,
)
from harness.registry.settings import format_setting

if TYPE_CHECKING:
    from harness.registry import Entry


LEAST_WIDTH = 60  # of the list, where a terminal is narrower or says nothing of itself
MORE = "With settings and sources: harness list defenses. All of one: harness show NAME."
SECTIONS = ("defenses", "attacks", "metrics", "evaluators", "datasets")


def add(subparsers: Any) -> None:
    listing = add_command(subparsers, "list", list_entries, "what the registry holds", needs_scratch=False)
    listing.add_argument("section", nargs="?", choices=SECTIONS)
    show = add_command(subparsers, "show", show_entry, "all fields of one entry", needs_scratch=False)
    show.add_argument("name")
    validate = add_command(subparsers, "validate", validate_plugin, "the contract tests, on any plugin")
    validate.add_argument("name")
    new = add_command(
        subparsers, "new", new_entry, "a plugin's file and registry entry, ready to edit", needs_scratch=False
    )
    new.add_argument("kind", choices=("defense", "attack", "metric"))
    new.add_argument("name")
    new.add_argument("--folder", type=path_type, default=Path(), help="where to write (here)")


def list_entries(args: argparse.Namespace) -> int:
    from harness.registry.availability import what_it_does, why_unavailable

    registry = registry_from(args)
    sections: dict[str, list[dict[str, Any]]] = {}
    importable: set[str] = set()
    lines: list[str] = []
    for section in [args.section] if args.section else SECTIONS:
        sections[section] = []
        indent = max(len(name) for name in registry.section(section)) + 4
        lines += ["", section] if lines else [section]
        for entry in registry.section(section).values():
            reason = why_unavailable(entry, importable)
            sections[section].append({**_plain(entry), "unavailable": reason})
            about = [f"UNAVAILABLE: {reason}"] if reason else [what_it_does(entry)]
            lines += _listed(entry.name, [*about, *(_details(entry) if args.section else [])], indent)
    lines += [] if args.section else ["", MORE]
    print_result(args, sections, "\n".join(lines))
    return 0


def _listed(name: str, about: Sequence[str], indent: int) -> list[str]:
    """A name, and beside it each text in lines within the terminal."""
    width = max(LEAST_WIDTH, get_terminal_size().columns) - indent
    lines = [line for text in about for line in wrap(text, width, break_on_hyphens=False)] or [""]
    return [f"{f'  {name}' if not at else '':{indent - 1}} {line}".rstrip() for at, line in enumerate(lines)]


def _details(entry: Entry) -> list[str]:
    """The settings, then where it comes from."""
    knobs = " ".join(f"{knob}={_brief(value)}" for knob, value in entry.params.items())
    weights = (entry.mixing or {}).get("weights")
    mixing = f"weights={format_setting(weights)}" if weights else ""
    return [text for text in (f"{knobs} {mixing}".strip(), entry.cite) if text]


def _brief(value: Any) -> str:
    return f"({len(value)} entries)" if isinstance(value, dict) else format_setting(value)


def show_entry(args: argparse.Namespace) -> int:
    from harness.registry.availability import why_unavailable

    entry = registry_from(args).find(args.name)
    shown = {**_plain(entry), "unavailable": why_unavailable(entry)}
    print_result(args, shown, "\n".join(f"{name:12} {_words(value)}" for name, value in shown.items() if value))
    return 0


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry's fields, without empty ones."""
    return {name: value for name, value in asdict(entry).items() if value not in (None, ())}


def _words(value: Any) -> str:
    if isinstance(value, dict):  # as -D takes them
        return " ".join(f"{name}={format_setting(inner)}" for name, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def validate_plugin(args: argparse.Namespace) -> int:
    from harness.contract import validate

    findings = validate(registry_from(args).find(args.name), registry_from(args))
    lines = [
        f"{'ok    ' if finding.ok else 'FAILED'} {finding.check}{': ' + finding.why if finding.why else ''}"
        for finding in findings
    ]
    print_result(args, {"name": args.name, "checks": [finding.__dict__ for finding in findings]}, "\n".join(lines))
    return 0 if all(finding.ok for finding in findings) else 1


def new_entry(args: argparse.Namespace) -> int:
    from harness.contract.scaffold import new_plugin

    files = [str(path) for path in new_plugin(args.kind, args.name, args.folder)]
    next_command = f"harness validate {args.name} --registry {files[-1]}"
    print_result(args, {"files": files, "next": next_command}, "\n".join([*files, f"next: {next_command}"]))
    return 0
