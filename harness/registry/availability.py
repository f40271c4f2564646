"""Whether a plugin can be imported, read from its source without importing it: `harness list` must be fast."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from harness.registry.beside import plain
from harness.registry.moved import moved_use, new_name
from harness.registry.source import Location, defines, first_sentence, imported, locate, parse

if TYPE_CHECKING:
    from harness.registry.entry import Entry


_OWN_PACKAGE = __name__.split(".")[0]


def why_unavailable(entry: Entry, importable: set[str] | None = None) -> str | None:
    """The reason why the plugin cannot be used, or None where none is found.

    importable  modules that earlier calls found importable, which are not checked again; this call adds its own
    """
    seen: set[str] = set() if importable is None else set(importable)
    if entry.module not in seen:
        reason = _why_not_importable(entry.module, seen)
        if reason:
            reason = plain(reason)
            missing = isinstance(_locate_as_import_does(entry.module), str)
            return (moved_use(plain(entry.module), entry.function) if missing else None) or reason
        if importable is not None:
            importable |= seen
    place = locate(entry.module)
    if place is None or place.file is None or not place.is_python:
        return None  # compiled or built in: only an import can show more
    if not defines(parse(place.file).body, entry.function):
        return f"no function {entry.function!r} in {place.file}"
    return None


def what_it_does(entry: Entry) -> str:
    """In one sentence: what the entry says, else its function's docstring, else where it comes from."""
    if entry.does:
        return entry.does
    place = locate(entry.module)
    if place is None or place.file is None or not place.is_python:
        return entry.cite
    return first_sentence(parse(place.file).body, entry.function) or entry.cite


def _why_not_importable(module: str, seen: set[str]) -> str | None:
    """Follow the imports inside the module's own package; of other packages only check that they exist."""
    seen.add(module)
    place = _locate_as_import_does(module)
    if isinstance(place, str):
        return f"No module named {place!r}"
    if place.file is None or not place.is_python:
        return None
    try:
        body = parse(place.file).body
    except SyntaxError as error:
        return f"syntax error in {place.file}, line {error.lineno}: {error.msg}"
    except (ValueError, OSError) as error:
        return f"{place.file} cannot be read: {error}"
    top = module.split(".")[0]
    for name in _required(body, module, place.is_package):
        own = name.split(".")[0] == top
        missing = _missing(name, exactly=own or name.startswith("harness."))
        if missing:
            moved = new_name(name)
            hint = f"; {name} has moved to {moved}" if moved else ""
            return f"No module named {missing!r} (imported by {module}){hint}"
        if own and top != _OWN_PACKAGE and name not in seen and locate(name) is not None:  # harness itself is installed
            reason = _why_not_importable(name, seen)
            if reason:
                return reason
    return None


def _locate_as_import_does(module: str) -> Location | str:
    """Where the module is, or the name of its first parent (or itself) that is missing."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        place = locate(".".join(parts[:depth]))
        if place is None:
            return ".".join(parts[:depth])
    assert place is not None
    return place


def _missing(module: str, *, exactly: bool) -> str | None:
    """The part of a module's name that cannot be found; of a foreign package only the package is looked for."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        place = locate(name)
        if place is None:
            return name
        if not exactly and not place.is_namespace:
            return None  # a regular package may create submodules when it is imported
    return None


def _required(body: Iterable[ast.stmt], module: str, is_package: bool) -> Iterator[str]:
    """Modules that the module always imports: statements at its top, not those under `try` or `if`."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from imported([node], module, is_package)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names = list(imported([node], module, is_package))
            yield names[0]
            place = locate(names[0])
            if place is not None and place.is_package:  # else they are functions, not submodules
                yield from (name for name in names[1:] if locate(name) is not None)
