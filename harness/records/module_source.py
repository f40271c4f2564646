"""What stands in a module, and which definition a name of it stands for; read from source, nothing is imported.

Alternatives all count: the branches of `if` and `try`, and what several star imports hold under one name.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.records.statements import (
    Change,
    at_top,
    bound_names,
    change,
    edits_path,
    exported,
    is_skipped,
    leftmost,
    only_imports,
)
from harness.registry.beside import resolved
from harness.registry.source import LIBRARIES, Location, locate, parse, submodule

BOUNDARY = (
    "harness.registry",  # what an entry says is in the record
    "harness.records",  # keeps figures and makes none
    "harness.data",  # the images are in the record by their fingerprint
    "harness.system",  # device, precision and threads are in the record
    "harness.errors",
    "harness.client.release_cache",  # returns what was put in
    "harness.scores",  # says how figures are shown and judged, and which are measured; no value
)
"""Packages whose definitions are not followed, and why they change no figure."""


class Reference(NamedTuple):
    """A definition of a module; with name None the whole module, with name "" what its import alone does."""

    module: str
    name: str | None


class Import(NamedTuple):
    """What an import statement binds a name to: a module, or a name in it."""

    module: str
    name: str | None = None


@dataclass(frozen=True)
class Module:
    """What stands at the top of a module.

    statements  name -> the statements that define or modify it
    imports     name -> what import statements bind it to, several where alternatives are tried
    typing      the same of imports for type checkers alone
    stars       modules that everything is imported from
    order       names as they are bound one after the other, each with what is imported; `*` for star imports
    exported    the names in `__all__`
    always      statements that count with every import of the module
    calling     statements that do so where what they call changes something
    """

    name: str
    place: Location
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[Import]] = field(default_factory=dict)
    typing: dict[str, list[Import]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    always: list[ast.stmt] = field(default_factory=list)
    calling: list[tuple[ast.stmt, Change]] = field(default_factory=list)
    order: list[tuple[str, Import | None]] = field(default_factory=list)
    exported: set[str] = field(default_factory=set)

    @property
    def is_package(self) -> bool:
        return self.place.is_package


@functools.cache
def read(name: str) -> Module | None:
    """None where there is no Python source to be read, or it does not parse."""
    place = find(name)
    if place is None or place.file is None or not place.is_python:
        return None
    try:
        tree = parse(place.file)
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return None
    module = Module(name, place, exported=exported(tree))
    for statement in [statement for statement in tree.body if _define(statement, module)]:
        _modify(statement, change(statement), module)
    return module


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """A sum of a thousand terms is a tree a thousand levels deep."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 50_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _define(statement: ast.stmt, module: Module) -> bool:
    """Enter what a statement defines and imports; whether it may also change something that is defined elsewhere."""
    conditional = not isinstance(statement, ast.Import | ast.ImportFrom)
    if edits_path(statement):
        _add_folders(statement, module.place)
    bound = dict.fromkeys(bound_names(statement))
    for child, not_run in at_top(statement):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for name, imported in imports_of(child, module):
                module.order.append((name, imported))
                if name == "*":
                    module.stars.append(imported.module)
                    if conditional:
                        module.always.append(statement)
                else:
                    (module.typing if not_run else module.imports).setdefault(name, []).append(imported)
                    if conditional and not not_run:
                        bound[name] = None
    if is_skipped(statement) or not conditional:
        return False
    for name in bound:
        module.statements.setdefault(name, []).append(statement)
        module.order.append((name, None))
    return True


def _modify(statement: ast.stmt, found: Change, module: Module) -> None:
    """Enter a statement with the names that it changes, and with every import where it changes what is not here."""
    bound = set(bound_names(statement))
    _add_aliased(found.changed, module)
    for name in found.changed & module.statements.keys() - bound:
        module.statements[name].append(statement)
    elsewhere = found.changed & module.imports.keys() or (module.stars and found.changed - module.statements.keys())
    nothing_else = not bound and not found.changed and not only_imports(statement)
    if elsewhere or found.effects or nothing_else:
        module.always.append(statement)
    elif found.called or found.decorators or isinstance(statement, ast.ClassDef):
        module.calling.append((statement, found))


def _add_aliased(changed: set[str], module: Module) -> None:
    """Where `part = TABLE["part"]`, a change of `part` is one of TABLE."""
    waiting = list(changed)
    while waiting:
        for statement in module.statements.get(waiting.pop(), ()):
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                first, *attributes = leftmost(statement.value)
                if (attributes or not isinstance(statement.value, ast.Call)) and first not in changed:
                    changed.add(first)
                    waiting.append(first)


def imports_of(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[tuple[str, Import]]:
    """The names that an import statement of this module binds, with what they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            name, full = alias.name, resolved(module.name, alias.name)
            package = full.removesuffix(name)  # of modules beside a registry file
            whole = name if alias.asname else name.partition(".")[0]
            yield alias.asname or whole, Import(package + whole)
        return
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    if base == "__future__":
        return
    base = base if node.level else resolved(module.name, base, [alias.name for alias in node.names])
    for alias in node.names:
        if alias.name == "*":
            yield "*", Import(base)
        elif base == module.name and module.is_package and find(f"{base}.{alias.name}") is not None:  # its own part
            yield alias.asname or alias.name, Import(f"{base}.{alias.name}")
        else:
            yield alias.asname or alias.name, Import(base, alias.name)


def loaded_by(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[str]:
    """The modules of one's own that run when this import statement does."""
    if isinstance(node, ast.Import):
        names = [resolved(module.name, alias.name) for alias in node.names]
    else:
        names = [part for _, (base, name) in imports_of(node, module) for part in (base, f"{base}.{name}")]
    yield from (name for name in names if is_own(name) and not at_boundary(name) and read(name) is not None)


@functools.cache
def loaded_with(name: str) -> tuple[str, ...]:
    """The modules of one's own that the import statements at the top of a module run, and the packages around it."""
    module, found = read(name), with_parents(name)
    if module is not None:
        for statement in parse(module.place.file).body if module.place.file else ():
            for child, not_run in at_top(statement):
                if isinstance(child, ast.Import | ast.ImportFrom) and not not_run:
                    found += loaded_by(child, module)
    return tuple(dict.fromkeys(found))


def with_parents(module: str) -> list[str]:
    """The module and the packages that are imported before it."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def imported_by_name(module: Module, strings: Iterable[str]) -> list[str]:
    """The modules that these strings name; where none does, all of the package."""
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    named = []
    for string in strings:
        relative = string.startswith(".") and string.strip(".").isidentifier() and package
        name = f"{package}.{string.strip('.')}" if relative else string
        if all(part.isidentifier() for part in name.split(".")) and is_own(name) and read(name) is not None:
            named.append(name)
    if named or not package:
        return named
    return all_of(package.partition(".")[0])


def all_of(package: str) -> list[str]:
    """All modules of a package."""
    found, waiting = [], [package]
    while waiting:
        name = waiting.pop()
        place = find(name)
        if read(name) is not None:
            found.append(name)
        for folder in place.folders if place is not None else ():
            parts = [path for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()]
            waiting += [f"{name}.{path.stem}" for path in parts if path.stem.isidentifier() and path.stem != "__init__"]
    return sorted(set(found))


# From a name to the definition that it stands for


@functools.cache
def follow(imported: Import, seen: frozenset[Import] = frozenset()) -> tuple[Reference, ...]:
    """The definitions that an imported name stands for, through re-exports; none for libraries and at the boundary."""
    module, name = imported
    if imported in seen or not is_own(module) or at_boundary(module):
        return ()
    found = read(module)
    if found is None:
        place = find(module)  # compiled, or no Python of this version: known by its content
        return (Reference(module, None),) if place is not None and place.file is not None else _submodule(imported)
    if name is None or is_mixed(found, name):
        return (Reference(module, name),)
    nodes: list[Reference] = []
    bindings = found.imports.get(name) or found.typing.get(name) or stars_with(found, name)
    for each in bindings:
        nodes += follow(each, seen | {imported})
    if bindings:
        return tuple(dict.fromkeys(nodes))
    return _submodule(imported) or (Reference(module, None),)  # made in a way that cannot be read: the whole module


def is_mixed(module: Module, name: str) -> bool:
    """Whether a name is a definition of this module, and not only passed on; imports may be alternatives of it."""
    return name in module.statements or (name in module.imports and bool(stars_with(module, name)))


def stars_with(module: Module, name: str) -> list[Import]:
    return [Import(star, name) for star in module.stars if exports(star, name)]


def _submodule(imported: Import) -> tuple[Reference, ...]:
    inside = f"{imported.module}.{imported.name}"
    return follow(Import(inside)) if imported.name and find(inside) is not None else ()


@functools.cache
def exports(module: str, name: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether `from module import *` may bind this name."""
    found = read(module) if is_own(module) and module not in seen else None
    if found is None:
        return False
    if name in found.statements or name in found.imports:
        return not name.startswith("_") or name in found.exported
    return any(exports(star, name, seen | {module}) for star in found.stars)


@functools.cache
def as_module(imported: Import, seen: frozenset[Import] = frozenset()) -> str | None:
    """The module of one's own that a name stands for, where it stands for one."""
    module, name = imported
    if not is_own(module) or imported in seen:
        return None
    if name is None:
        return module
    found = read(module)
    if found is not None and is_mixed(found, name):
        return None
    if found is not None and name in found.imports:
        targets = (as_module(each, seen | {imported}) for each in found.imports[name])
        return next((target for target in targets if target is not None), None)
    return f"{module}.{name}" if find(f"{module}.{name}") is not None else None


# What is read at all


def find(module: str) -> Location | None:
    """Where a module is: on the path, or in a folder that a module that was read puts there."""
    place = locate(module)
    for folder in _added_folders if place is None else ():
        place = Location(None, (folder,))
        for name in module.split("."):
            place = submodule(place.folders, name) if place is not None else None
        if place is not None:
            return place
    return place


_added_folders: list[Path] = []


def _add_folders(statement: ast.stmt, place: Location) -> None:
    """`sys.path.insert(0, ...)`: the folders that the names in the statement may stand for."""
    constants = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
    names = {value for value in constants if isinstance(value, str)}
    for above in list(place.file.parents)[:3] if place.file is not None else ():
        _added_folders.extend(folder for folder in (above, *(above / name for name in names)) if folder.is_dir())


def at_boundary(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in BOUNDARY)


@functools.cache
def is_own(module: str) -> bool:
    """Whether its source is read: the harness, plugins and files of users, not Python's own modules, nor libraries."""
    top = module.partition(".")[0]
    if top in own_packages:
        return True
    place = None if top in sys.stdlib_module_names or top in LIBRARIES else find(top)
    if place is None:
        return False
    places = [place.file] if place.file else place.folders
    return bool(places) and not any(
        parent.name in ("site-packages", "dist-packages") for path in places for parent in path.parents
    )


own_packages = {"harness"}
"""Packages whose source is read although they may be installed: the harness, and those of plugins."""


@functools.cache
def _announced() -> frozenset[str]:
    """The packages that announce plugins."""
    points = importlib.metadata.entry_points(group="harness.registries")
    return frozenset(point.value.partition(":")[0].partition(".")[0] for point in points)


def read_packages_of(modules: Iterable[str]) -> bool:
    """Whose source is read depends on these modules and on what is installed, not on what was asked before.

    Returns whether that has changed.
    """
    tops = {module.partition(".")[0] for module in modules} - LIBRARIES.keys() - sys.stdlib_module_names
    wanted = {"harness", *_announced()}
    wanted |= {top for top in tops - wanted if top in own_packages or not is_own(top)}
    if wanted == own_packages and not _added_folders:
        return False
    own_packages.clear()
    own_packages.update(wanted)
    forget()
    return True


def forget() -> None:
    _added_folders.clear()
    for cache in (read, loaded_with, follow, exports, as_module, is_own):
        cache.cache_clear()
