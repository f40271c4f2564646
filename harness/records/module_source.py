"""What stands at the top of a module, read from its source, and the definition that an imported name stands for."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from harness.registry.source import LIBRARIES, Location, locate, parse

BOUNDARY = (
    "harness.registry",  # what an entry says is in the record
    "harness.records",  # keeps figures and makes none
    "harness.data",  # the images are in the record by their fingerprint
    "harness.system",  # device, precision and threads are in the record
    "harness.errors",
    "harness.client.release_cache",  # returns what was put in
    "harness.scores",  # says how figures are shown and judged
)
"""Packages whose definitions are not followed, and why they change no figure."""
OWN_PACKAGES = {"harness"}
"""Packages whose source is read although they may be installed: the harness, and those of plugins."""


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
    always      statements that belong to no name and run with every import
    unused      modules that are imported for what their import does
    """

    name: str
    place: Location
    statements: dict[str, list[ast.stmt]]
    imports: dict[str, list[Import]]
    typing: dict[str, list[Import]]
    stars: list[str]
    always: list[ast.stmt]
    unused: list[Import]
    is_package: bool


@functools.cache
def read_module(name: str) -> Module | None:
    """None where there is no Python source to be read, or it does not parse."""
    place = locate(name)
    if place is None or place.file is None or not place.is_python:
        return None
    try:
        tree = parse(place.file)
    except (SyntaxError, ValueError, OSError):
        return None
    module = Module(name, place, {}, {}, {}, [], [], [], place.is_package)
    loose = []
    for statement in tree.body:
        for child, typing_only in _at_top(statement):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for bound, imported in imported_names(child, module):
                    if bound == "*":
                        module.stars.append(imported.module)
                    else:
                        (module.typing if typing_only else module.imports).setdefault(bound, []).append(imported)
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_skipped(statement):
            continue
        bound_here = set(_bound(statement))
        for bound in bound_here:
            module.statements.setdefault(bound, []).append(statement)
        defines = isinstance(statement, ast.Assign | ast.AnnAssign) and bound_here
        if not defines and not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            loose.append((statement, bound_here))
    for statement, bound_here in loose:
        mentioned = set(_modified(statement) if bound_here else _mentioned(statement))
        modified = [bound for bound in module.statements if bound in mentioned and bound not in bound_here]
        for bound in modified:
            module.statements[bound].append(statement)
        if not modified and not bound_here and not _only_imports(statement):
            module.always.append(statement)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | _exported(tree)
    for bound, imports in module.imports.items():
        if bound not in used:
            module.unused.extend(each for each in imports if _only_a_module(each, module))
    return module


def _only_a_module(imported: Import, module: Module) -> bool:
    """An unused import of a module of one's own: for its effect. In a package's front a submodule may be for others."""
    target = as_module(imported)
    return target is not None and is_own(target) and not (module.is_package and target.startswith(f"{module.name}."))


def imported_names(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[tuple[str, Import]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, Import(whole)
        return
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    if base == "__future__":
        return
    for alias in node.names:
        yield alias.asname or alias.name, Import(base, None if alias.name == "*" else alias.name)


def _at_top(statement: ast.stmt, typing_only: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements that run at the top of a module: this one and those inside `if`, `try`, `with` and loops."""
    yield statement, typing_only
    for name in ("body", "orelse", "finalbody"):
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for child in getattr(statement, name, []):
                yield from _at_top(child, typing_only or (name == "body" and is_typing_only(statement)))
    for handler in getattr(statement, "handlers", []):
        for child in handler.body:
            yield from _at_top(child, typing_only)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top defines, other than by importing."""
    for child, typing_only in _at_top(statement):
        if typing_only:
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif not isinstance(child, ast.If | ast.Try | ast.With | ast.While):
            targets = [child.target] if isinstance(child, ast.For) else [child]
            for node in (found for target in targets for found in ast.walk(target)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id
        elif isinstance(child, ast.With):
            for item in child.items:
                for node in ast.walk(item.optional_vars) if item.optional_vars else ():
                    if isinstance(node, ast.Name):
                        yield node.id


def _mentioned(statement: ast.stmt) -> Iterator[str]:
    yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def _modified(statement: ast.stmt) -> Iterator[str]:
    """Names whose value a statement changes: `x[...] = `, `x.a = `, `x += `."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield from (name.id for name in ast.walk(node.value) if isinstance(name, ast.Name))
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _is_skipped(statement: ast.stmt) -> bool:
    """Docstrings and other bare constants, `__all__`, and what runs as a script alone."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    text = ast.unparse(statement.test) if isinstance(statement, ast.If) else ""
    if "__name__" in text or ast.unparse(statement).startswith("sys.path."):
        return True
    return "__all__" in _bound(statement)


def _only_imports(statement: ast.stmt) -> bool:
    """`if TYPE_CHECKING:` and `try: import x` do nothing else."""
    simple = (ast.Import, ast.ImportFrom, ast.Pass, ast.If, ast.Try)
    return all(typing_only or isinstance(child, simple) for child, typing_only in _at_top(statement))


def _exported(tree: ast.Module) -> set[str]:
    return {
        node.value
        for statement in tree.body
        if "__all__" in _bound(statement)
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


# From a name to the definition that it stands for


@functools.cache
def follow(imported: Import, seen: frozenset[Import] = frozenset()) -> tuple[Reference, ...]:
    """The definitions that an imported name stands for, through re-exports; none for libraries and at the boundary."""
    module, name = imported
    found = read_module(module) if is_own(module) and not _at_boundary(module) else None
    if found is None or imported in seen:
        return ()
    if name is None:
        return (Reference(module, None),)
    if name in found.statements:
        return (Reference(module, name),)
    for bindings in (found.imports.get(name), found.typing.get(name)):
        if bindings:
            return tuple(node for each in bindings for node in follow(each, seen | {imported}))
    if locate(f"{module}.{name}") is not None:
        return follow(Import(f"{module}.{name}"), seen)
    for star in found.stars:
        if nodes := follow(Import(star, name), seen | {imported}):
            return nodes
    return (Reference(module, None),)  # made in a way that cannot be read: the whole module


@functools.cache
def as_module(imported: Import) -> str | None:
    """The module of one's own that a name stands for, where it stands for one."""
    module, name = imported
    if not is_own(module):
        return None
    if name is None:
        return module
    found = read_module(module)
    if found is not None and name in found.statements:
        return None
    if found is not None and name in found.imports:
        return next((target for each in found.imports[name] if (target := as_module(each)) is not None), None)
    return f"{module}.{name}" if locate(f"{module}.{name}") is not None else None


def _at_boundary(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in BOUNDARY)


@functools.cache
def is_own(module: str) -> bool:
    """Whether its source is read: the harness, plugins and files of users, not Python's own modules, nor libraries."""
    top = module.partition(".")[0]
    if top in OWN_PACKAGES:
        return True
    place = None if top in sys.stdlib_module_names or top in LIBRARIES else locate(top)
    if place is None or (place.file is not None and not place.is_python):
        return False
    places = [place.file] if place.file else place.folders
    return not any(parent.name in ("site-packages", "dist-packages") for path in places for parent in path.parents)


def with_parents(module: str) -> list[str]:
    """The module and the packages that are imported before it."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
