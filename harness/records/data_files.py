"""The files that definitions read from beside their modules, by content.

A definition that mentions `__file__`, `importlib.resources` or the like reads files. Those count whose name, suffix or
folder is among the strings of the definitions in its package; all beside the module where none is, or where a folder is
listed. In the folders above, and in other packages that are named, files count whose path is put together from these
strings. A name that comes from elsewhere, such as a parameter, is not seen where other files are named.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from harness.records.module_source import Reference, find, is_own, read

LISTING = {"iterdir", "listdir", "scandir", "walk"}
_ABOVE = 3
"""How many folders above a module are looked into."""


@dataclass
class Reading:
    """What a definition says about files.

    strings       its string constants, with * for what is filled in
    reads_files   whether it asks where its module is
    lists         whether it lists a folder
    steps_up      how often it goes to the folder above
    names_module  whether it is a whole module: its folder is looked into
    """

    strings: set[str] = field(default_factory=set)
    reads_files: bool = False
    lists: bool = False
    steps_up: int = 0
    names_module: bool = False


def steps_up(name: str) -> int:
    """How often this attribute or function goes to the folder above, from a file: more than once leaves its folder."""
    return {"parent": 1, "dirname": 1, "parents": 2}.get(name, 0)


def contents(definitions: Iterable[tuple[Reference, Reading]]) -> Iterator[str]:
    """Hashes of the files that these definitions read."""
    by_package: dict[str, list[tuple[Reference, Reading]]] = defaultdict(list)
    for node, reading in definitions:
        by_package[node.module.partition(".")[0]].append((node, reading))
    for some in by_package.values():
        if not any(reading.reads_files for _, reading in some):
            continue
        strings = {string for _, reading in some for string in reading.strings if 0 < len(string) < 256}
        patterns = {_pattern(part) for string in strings for part in Path(string).parts} - {"*", "/", "..", ""}
        elsewhere = {string for string in strings if _is_name(string) and is_own(string)}
        elsewhere |= {node.module for node, reading in some if reading.names_module}
        files: set[Path] = set()
        for module in {node.module for node, reading in some if reading.reads_files}:
            readings = [reading for node, reading in some if node.module == module]
            every = any(reading.lists for reading in readings)
            files |= _beside(module, patterns, every=every, above=sum(each.steps_up for each in readings) > 1)
        for folder in {folder for module in elsewhere for folder in _folders(module)}:
            files |= set(_below(folder, patterns))
        yield from (f"{file.name} {content(file)}" for file in files)


def _is_name(string: str) -> bool:
    return all(part.isidentifier() for part in string.split("."))


def _folders(module: str) -> tuple[Path, ...]:
    place = find(module)
    return place.folders if place is not None else ()


def _beside(module: str, patterns: Set[str], *, every: bool, above: bool) -> set[Path]:
    found = read(module)
    if found is None or found.place.file is None:
        return set()
    folder = found.place.file.parent
    in_package = "." in module or found.is_package
    files = [file for file in _files(folder, deep=in_package) if file.suffix not in (".py", ".pyc", ".pyi")]
    named = {file for file in files if _is_named(file.relative_to(folder), patterns)}
    for place in [folder, *(list(folder.parents)[:_ABOVE] if above else [])]:
        if place.parent != place:
            named |= set(_below(place, patterns, every=every))
    return named if named and not every else named | {file for file in files if not _is_leftover(file)}


def _files(folder: Path, deep: bool) -> Iterator[Path]:
    for path in _listed(folder):
        if path.is_file():
            yield path
        elif deep and path.name != "__pycache__" and not path.name.startswith(".") and _is_folder(path):
            yield from _files(path, deep)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_leftover(file: Path) -> bool:
    """Of an editor or of the system."""
    return file.name.startswith(".") or file.name.endswith("~")


def _is_named(path: Path, patterns: Set[str]) -> bool:
    in_folder = bool(patterns & set(path.parts[:-1]))
    return in_folder or path.suffix in patterns or bool(_match(frozenset(patterns))(path.name))


def _below(folder: Path, patterns: Set[str], *, every: bool = False) -> Iterator[Path]:
    """The files in a folder whose path in it is made of these patterns; all in a folder that is named, if none is."""
    matches = _match(frozenset(patterns))
    for path in _listed(folder):
        if path.name in patterns and _is_folder(path):
            inside = list(_below(path, patterns, every=every))
            yield from inside if inside and not every else _files(path, deep=True)
        elif matches(path.name) and path.is_file() and (path.suffix not in (".py", ".pyc") or path.name in patterns):
            yield path


def _pattern(string: str) -> str:
    """`{}` and `%s` may be anything."""
    return re.sub(r"\{[^{}]*\}|%[-+ #0-9.]*[a-z]|\*+", "*", string)


@functools.cache
def _match(patterns: frozenset[str]) -> Callable[[str], object]:
    return re.compile("|".join(sorted(map(fnmatch.translate, patterns))) or "(?!)").match


def content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return "cannot be read"
