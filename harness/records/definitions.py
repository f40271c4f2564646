"""Which code a figure depends on, and one hash of it: of definitions, wherever they stand.

A definition is a function, class or constant at the top of a module. Starting from the functions that make a figure,
the names that each definition uses are followed from module to module, read with `ast`; nothing is imported. A
definition counts with its body, decorators, default arguments, base classes and the statements that modify it
(`TABLE["x"] = 3`). Comments, docstrings, formatting, import statements, `__all__`, annotations of functions, module
names and file places do not count, so moving, splitting or merging files changes no hash. Names of functions and
classes do count: some code draws its randomness from them.

Annotations are followed, so that the methods of an object that is passed in are reached through its type. What cannot
be resolved statically (`globals()`, a module passed as a value, a name that a star import hides) counts with its whole
module. Files beside a module that mentions `__file__` or `importlib.resources` count with their content. Libraries
count by name: their versions stand in a record by themselves.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
ROUNDS = 4
"""How far the callees of a definition enter its own hash, beyond the set of all that are reached."""
_UNRESOLVABLE = {"globals", "eval", "exec", "vars", "__import__", "import_module"}
_MODULE_NAMES = {"__file__", "__name__", "__doc__", "__package__", "__spec__", "__path__", "__class__"}
_BUILTINS = frozenset(dir(builtins)) | _MODULE_NAMES
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Reference(NamedTuple):
    """A definition of a module; with name None the whole module, with name "" what its import alone does."""

    module: str
    name: str | None


class _Import(NamedTuple):
    """What an import statement binds a name to: a module, or a name in it."""

    module: str
    name: str | None = None


_Scope = dict[str, "_Import | None"]


@dataclass
class _Text:
    """A definition as text, with what it refers to in the order of first use, and its string constants."""

    parts: list[str] = field(default_factory=list)
    references: dict[Reference, str] = field(default_factory=dict)
    strings: set[str] = field(default_factory=set)
    reads_files: bool = False


def code_hash(roots: Iterable[tuple[str, str]]) -> str:
    """sha256 in hex over all definitions that these (module, name) pairs reach, and the files that they read."""
    roots = list(roots)
    nodes = reached(roots)
    lines = [_digest(node, ROUNDS) for node in nodes]
    lines += [digest for module, some in _by_module(nodes).items() for digest in _data(module, some)]
    for module, name in roots:
        found = _follow(_Import(module, name))
        lines += [f"root {_digest(node, ROUNDS)}" for node in found] or [f"root {module}.{name}"]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def reached(roots: Iterable[tuple[str, str]]) -> list[Reference]:
    """Every definition that these (module, name) pairs depend on, themselves among them, sorted."""
    roots = list(roots)
    packages = {module.partition(".")[0] for module, _ in roots} - LIBRARIES.keys() - sys.stdlib_module_names
    if not packages <= _own_packages:
        _own_packages.update(packages)
        forget()
    found: set[Reference] = set()
    waiting = [node for module, name in roots for node in _follow(_Import(module, name))]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += _text(node).references
            waiting += [Reference(parent, "") for parent in _with_parents(node.module)]
    stated = [node for node in found if node.name != "" or _text(node).parts]
    return sorted(stated, key=lambda node: (node.module, node.name or ""))


_own_packages = {"harness"}
"""Packages whose source is read although they may be installed: the harness, and those of plugins."""


def forget() -> None:
    """Read the code again: it may have been edited."""
    for cache in (_module, _text, _digest, _is_own, _follow, _as_module):
        cache.cache_clear()


# One definition


@functools.cache
def _digest(node: Reference, rounds: int) -> str:
    """Of a definition and, to a depth, of what it refers to: the same text calling other code is another definition."""
    text = _text(node)
    parts = [node.name if node.name is not None else "*", *text.parts]
    if rounds:
        parts += [f"{written}={_digest(other, rounds - 1)}" for other, written in text.references.items()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def _text(node: Reference) -> _Text:
    module, text = _module(node.module), _Text()
    if module is None:
        return text
    if node.name is None:
        for name in module.statements:
            text.references[Reference(node.module, name)] = name
        text.references[Reference(node.module, "")] = ""
        for bindings in module.imports.values():
            text.references |= {other: "" for each in bindings for other in _follow(each)}
        return text
    if node.name == "":
        text.references |= {other: "" for imported in module.unused for other in _follow(imported)}
    writer = _Writer(module, text)
    for statement in module.statements.get(node.name, module.always if node.name == "" else ()):
        writer.write(statement, [])
    text.references.pop(node, None)
    return text


class _Writer:
    """Writes a statement as text that is the same from every Python and at every place, and notes what it refers to."""

    def __init__(self, module: _Module, text: _Text):
        self.module, self.text = module, text

    def write(self, node: object, scopes: list[_Scope]) -> None:
        out = self.text.parts
        if isinstance(node, list):
            out.append("[")
            for item in node:
                if not isinstance(item, ast.Import | ast.ImportFrom):
                    self.write(item, scopes)
            out.append("]")
        elif not isinstance(node, ast.AST):
            out.append(repr(node))
        elif isinstance(node, ast.Name | ast.Attribute) and self._reference(node, scopes):
            return
        elif _is_typing_only(node):
            self.write(node.orelse, scopes)  # type: ignore[attr-defined]
        else:
            self._fields(node, scopes)

    def _fields(self, node: ast.AST, scopes: list[_Scope]) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.text.strings.add(node.value)
        inner = scopes
        if isinstance(node, _SCOPES):
            inner = [*(scope for scope in scopes if scope.get("") is None), _bindings(node, self.module)]
        elif isinstance(node, ast.ClassDef):
            inner = [*scopes, {**_bindings(node, self.module), "": _Import("")}]  # methods do not see a class's names
        self.text.parts.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = value[1:] if ast.get_docstring(node, clean=False) is not None else value
            outside = name in ("decorator_list", "bases", "keywords", "returns", "args")
            if (name in ("annotation", "returns") and not isinstance(node, ast.AnnAssign)) or name == "type_params":
                self._annotation(value, scopes)
            elif value is not None and value != [] and name != "type_comment":
                if name == "annotation":
                    self._annotation(value, scopes)
                self.text.parts.append(f"{name}=")
                defining = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                self.write(value, scopes if outside and defining else inner)
        self.text.parts.append(")")

    def _annotation(self, node: object, scopes: list[_Scope]) -> None:
        """Follows the types that it names; its text does not count."""
        chain = _chain(node) if isinstance(node, ast.Name | ast.Attribute) else []
        if chain:
            for binding in self._bindings_of(chain[0], scopes) or ():
                self._written(binding, chain[1:])
        elif isinstance(node, ast.AST):
            for child in ast.iter_child_nodes(node):
                self._annotation(child, scopes)

    def _reference(self, node: ast.Name | ast.Attribute, scopes: list[_Scope]) -> bool:
        """Write `node` as what it refers to, where that is known: a definition, or a name of a library."""
        first, *rest = _chain(node) or [""]
        if first == "__file__":
            self.text.reads_files = True
        bindings = self._bindings_of(first, scopes) if first else None
        if bindings == []:
            self._unresolved()
        if not bindings:
            return False
        written = list(dict.fromkeys(self._written(binding, rest) for binding in bindings))
        self.text.reads_files |= any(name.startswith(("importlib.resources", "pkgutil")) for name in written)
        self.text.parts.append("|".join(written))
        return True

    def _written(self, target: _Import, attributes: list[str]) -> str:
        """A definition by its name, with a number where two of one name are used; of a library the full name."""
        while attributes and (module := _as_module(target)) is not None:
            target, attributes = _Import(module, attributes[0]), attributes[1:]
        if not _is_own(target.module):
            return ".".join([target.module, *([target.name] if target.name else []), *attributes])
        name = target.name or target.module.rpartition(".")[2]
        for found in _follow(target):
            written = self.text.references.get(found)
            if not written:
                alike = sum(other.rpartition("#")[0] == name for other in self.text.references.values())
                written = self.text.references[found] = f"{name}#{alike}"
            name = written
        return ".".join([name, *attributes])

    def _bindings_of(self, name: str, scopes: list[_Scope]) -> Sequence[_Import] | None:
        """What a name stands for; None where it is local or built in, nothing where it cannot be told."""
        for scope in reversed(scopes):
            if name in scope:
                local = scope[name]
                return None if local is None else [local]
        module = self.module
        if name in _UNRESOLVABLE:
            self.text.references.setdefault(Reference(module.name, None), "")
        if name in module.typing and name not in module.imports and name not in module.statements:
            return module.typing[name]
        if name in module.imports:
            if name in module.statements:  # try: import x; except ImportError: x = None
                self.text.references.setdefault(Reference(module.name, name), "")
            return module.imports[name]
        if name in module.statements:
            return [_Import(module.name, name)]
        if name in _BUILTINS:
            return None
        for star in module.stars:
            if _follow(_Import(star, name)):
                return [_Import(star, name)]
        return []

    def _unresolved(self) -> None:
        """A name that nothing explains: whatever this module and its star imports hold may be meant."""
        for whole in (self.module.name, *self.module.stars):
            if _is_own(whole):
                self.text.references.setdefault(Reference(whole, None), "")


def _chain(node: ast.expr) -> list[str]:
    """`a.b.c` as its names; empty where something else than names is in it."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _bindings(node: ast.AST, module: _Module) -> _Scope:
    """The names that a function, comprehension or class binds in its own scope, with what imports bind them to."""
    scope: _Scope = {}
    free: set[str] = set()
    body = getattr(node, "body", [])
    waiting: list[ast.AST] = list(body) if isinstance(body, list) else [body]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        waiting = [generator.target for generator in node.generators]
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        scope |= {one.arg: None for one in every if one is not None}
    while waiting:
        child = waiting.pop()
        if isinstance(child, ast.Global | ast.Nonlocal):
            free |= set(child.names)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            scope |= {name: imported for name, imported in _imported(child, module) if name != "*"}
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope[child.name] = None
            waiting += child.decorator_list
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store | ast.Del):
            scope.setdefault(child.id, None)
        elif isinstance(child, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and child.name:
            scope.setdefault(child.name, None)
        elif isinstance(child, ast.MatchMapping) and child.rest:
            scope.setdefault(child.rest, None)
        if isinstance(child, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            waiting += [named.target for named in ast.walk(child) if isinstance(named, ast.NamedExpr)]
        elif not isinstance(child, (*_SCOPES, ast.ClassDef)):
            waiting += ast.iter_child_nodes(child)
    return {name: bound for name, bound in scope.items() if name not in free}


# One module


@dataclass(frozen=True)
class _Module:
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
    imports: dict[str, list[_Import]]
    typing: dict[str, list[_Import]]
    stars: list[str]
    always: list[ast.stmt]
    unused: list[_Import]
    is_package: bool


@functools.cache
def _module(name: str) -> _Module | None:
    """None where there is no Python source to be read, or it does not parse."""
    place = locate(name)
    if place is None or place.file is None or not place.is_python:
        return None
    try:
        tree = parse(place.file)
    except (SyntaxError, ValueError, OSError):
        return None
    module = _Module(name, place, {}, {}, {}, [], [], [], place.is_package)
    loose = []
    for statement in tree.body:
        for child, typing_only in _at_top(statement):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for bound, imported in _imported(child, module):
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


def _only_a_module(imported: _Import, module: _Module) -> bool:
    """An unused import of a module of one's own: for its effect. In a package's front a submodule may be for others."""
    target = _as_module(imported)
    return target is not None and _is_own(target) and not (module.is_package and target.startswith(f"{module.name}."))


def _imported(node: ast.Import | ast.ImportFrom, module: _Module) -> Iterator[tuple[str, _Import]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, _Import(whole)
        return
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    if base == "__future__":
        return
    for alias in node.names:
        yield alias.asname or alias.name, _Import(base, None if alias.name == "*" else alias.name)


def _at_top(statement: ast.stmt, typing_only: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements that run at the top of a module: this one and those inside `if`, `try`, `with` and loops."""
    yield statement, typing_only
    for name in ("body", "orelse", "finalbody"):
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for child in getattr(statement, name, []):
                yield from _at_top(child, typing_only or (name == "body" and _is_typing_only(statement)))
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


def _is_typing_only(node: ast.AST) -> bool:
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
def _follow(imported: _Import, seen: frozenset[_Import] = frozenset()) -> tuple[Reference, ...]:
    """The definitions that an imported name stands for, through re-exports; none for libraries and at the boundary."""
    module, name = imported
    found = _module(module) if _is_own(module) and not _at_boundary(module) else None
    if found is None or imported in seen:
        return ()
    if name is None:
        return (Reference(module, None),)
    if name in found.statements:
        return (Reference(module, name),)
    for bindings in (found.imports.get(name), found.typing.get(name)):
        if bindings:
            return tuple(node for each in bindings for node in _follow(each, seen | {imported}))
    if locate(f"{module}.{name}") is not None:
        return _follow(_Import(f"{module}.{name}"), seen)
    for star in found.stars:
        if nodes := _follow(_Import(star, name), seen | {imported}):
            return nodes
    return (Reference(module, None),)  # made in a way that cannot be read: the whole module


@functools.cache
def _as_module(imported: _Import) -> str | None:
    """The module of one's own that a name stands for, where it stands for one."""
    module, name = imported
    if not _is_own(module):
        return None
    if name is None:
        return module
    found = _module(module)
    if found is not None and name in found.statements:
        return None
    if found is not None and name in found.imports:
        return next((target for each in found.imports[name] if (target := _as_module(each)) is not None), None)
    return f"{module}.{name}" if locate(f"{module}.{name}") is not None else None


def _at_boundary(module: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in BOUNDARY)


@functools.cache
def _is_own(module: str) -> bool:
    """Whether its source is read: the harness, plugins and files of users, not Python's own modules, nor libraries."""
    top = module.partition(".")[0]
    if top in _own_packages:
        return True
    place = None if top in sys.stdlib_module_names or top in LIBRARIES else locate(top)
    if place is None or (place.file is not None and not place.is_python):
        return False
    places = [place.file] if place.file else place.folders
    return not any(parent.name in ("site-packages", "dist-packages") for path in places for parent in path.parents)


def _with_parents(module: str) -> list[str]:
    """The module and the packages that are imported before it."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


# Files that definitions read


def _by_module(nodes: Iterable[Reference]) -> dict[str, list[Reference]]:
    groups: dict[str, list[Reference]] = {}
    for node in nodes:
        groups.setdefault(node.module, []).append(node)
    return groups


def _data(module: str, nodes: Sequence[Reference]) -> Iterator[str]:
    """Hashes of the files that these definitions of a module read from beside it.

    Those whose name, suffix or folder is among their string constants; all in the module's folder where none is.
    """
    texts = [_text(node) for node in nodes]
    if not any(text.reads_files for text in texts):
        return
    found = _module(module)
    if found is None or found.place.file is None:
        return
    folder = found.place.file.parent
    strings = {string for text in texts for string in text.strings}
    in_package = "." in module or found.is_package
    files = [file for file in _files(folder, deep=in_package) if file.suffix not in (".py", ".pyc", ".pyi")]
    named = [file for file in files if _is_named(file.relative_to(folder), strings)]
    for file in named or files:
        yield hashlib.sha256(file.name.encode() + b"\0" + file.read_bytes()).hexdigest()


def _files(folder: Path, deep: bool) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif path.is_dir() and deep and path.name != "__pycache__" and not path.is_symlink():
            yield from _files(path, deep)


def _is_named(path: Path, strings: set[str]) -> bool:
    last = {Path(string).name for string in strings if string and len(string) < 256}
    return path.name in last or f"*{path.suffix}" in last or path.suffix in last or bool(last & set(path.parts[:-1]))
