"""`harness completion`: what a shell needs to complete commands, options and names; written from the real parser.

The script holds all words: completing one starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.commands.common import add_command, dataset_type, path_type, print_result, registry_from

if TYPE_CHECKING:
    from harness.registry import Registry

SHELLS = ("bash", "zsh", "fish")
PLACES = {
    "bash": "~/.local/share/bash-completion/completions/harness",
    "zsh": "a folder of $fpath, as _harness",
    "fish": "~/.config/fish/completions/harness.fish",
}
_SECTIONS = {"defense": "defenses", "attack": "attacks", "metric": "metrics"}
"""Options whose value is a plugin, and the section of the registry that it is in."""
_TAKE_ALL, _TAKE_AN_ENTRY = ("run", "tune", "preview"), ("show", "validate")
"""Commands for which `all` is a name, and those that take an entry of any section."""
_FOLDERS = ("DIR", "FOLDER", "BASELINE")
"""How help calls a path that is a folder."""


def add(subparsers: Any, top: argparse.ArgumentParser) -> None:
    """top  the parser of all commands"""
    completion = add_command(
        subparsers, "completion", print_script, "a script by which a shell completes commands, options and names",
        needs_scratch=False,
    )  # fmt: skip
    completion.add_argument("shell", choices=SHELLS, help="; ".join(f"{shell}: {PLACES[shell]}" for shell in SHELLS))
    completion.set_defaults(top=top)


def print_script(args: argparse.Namespace) -> int:
    import shtab

    registry = registry_from(args)
    for parser in parsers(args.top):
        for action in parser._actions:
            _say_what_fits(action, registry, parser.prog)
    script = shtab.complete(args.top, args.shell)
    print_result(args, {"shell": args.shell, "script": script}, script)
    return 0


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands, with theirs."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def _say_what_fits(action: argparse.Action, registry: Registry, command: str) -> None:
    """Give an option or argument the values that are known: names of plugins, files, folders."""
    import shtab

    place: Any = action  # shtab reads an attribute that argparse does not know
    if action.dest in _SECTIONS:
        names = list(registry.section(_SECTIONS[action.dest]))
        action.choices = [*names, *(["all"] if command.endswith(_TAKE_ALL) and action.dest != "metric" else [])]
    elif command.endswith(_TAKE_AN_ENTRY) and action.dest == "name":
        action.choices = sorted({entry.name for entry in registry.entries})
    elif action.type is dataset_type or (action.type is path_type and action.metavar in _FOLDERS):
        place.complete = shtab.DIRECTORY
    elif action.type is path_type:
        place.complete = shtab.FILE
