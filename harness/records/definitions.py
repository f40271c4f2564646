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

from harness.records.module_source import (
    OWN_PACKAGES,
    Import,
    Module,
    Reference,
    as_module,
    follow,
    imported_names,
    is_own,
    is_typing_only,
    read_module,
    with_parents,
)
from harness.registry.source import LIBRARIES

ROUNDS = 4
"""How far the callees of a definition enter its own hash, beyond the set of all that are reached."""
_UNRESOLVABLE = {"globals", "eval", "exec", "vars", "__import__", "import_module"}
_MODULE_NAMES = {"__file__", "__name__", "__doc__", "__package__", "__spec__", "__path__", "__class__"}
_BUILTINS = frozenset(dir(builtins)) | _MODULE_NAMES
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


_Scope = dict[str, "Import | None"]


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
        found = follow(Import(module, name))
        lines += [f"root {_digest(node, ROUNDS)}" for node in found] or [f"root {module}.{name}"]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def reached(roots: Iterable[tuple[str, str]]) -> list[Reference]:
    """Every definition that these (module, name) pairs depend on, themselves among them, sorted."""
    roots = list(roots)
    packages = {module.partition(".")[0] for module, _ in roots} - LIBRARIES.keys() - sys.stdlib_module_names
    if not packages <= OWN_PACKAGES:
        OWN_PACKAGES.update(packages)
        forget()
    found: set[Reference] = set()
    waiting = [node for module, name in roots for node in follow(Import(module, name))]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += _text(node).references
            waiting += [Reference(parent, "") for parent in with_parents(node.module)]
    stated = [node for node in found if node.name != "" or _text(node).parts]
    return sorted(stated, key=lambda node: (node.module, node.name or ""))


def forget() -> None:
    """Read the code again: it may have been edited."""
    for cache in (read_module, _text, _digest, is_own, follow, as_module):
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
    module, text = read_module(node.module), _Text()
    if module is None:
        return text
    if node.name is None:
        for name in module.statements:
            text.references[Reference(node.module, name)] = name
        text.references[Reference(node.module, "")] = ""
        for bindings in module.imports.values():
            text.references |= {other: "" for each in bindings for other in follow(each)}
        return text
    if node.name == "":
        text.references |= {other: "" for imported in module.unused for other in follow(imported)}
    writer = _Writer(module, text)
    for statement in module.statements.get(node.name, module.always if node.name == "" else ()):
        writer.write(statement, [])
    text.references.pop(node, None)
    return text


class _Writer:
    """Writes a statement as text that is the same from every Python and at every place, and notes what it refers to."""

    def __init__(self, module: Module, text: _Text):
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
        elif is_typing_only(node):
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
            inner = [*scopes, {**_bindings(node, self.module), "": Import("")}]  # methods do not see a class's names
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

    def _written(self, target: Import, attributes: list[str]) -> str:
        """A definition by its name, with a number where two of one name are used; of a library the full name."""
        while attributes and (module := as_module(target)) is not None:
            target, attributes = Import(module, attributes[0]), attributes[1:]
        if not is_own(target.module):
            return ".".join([target.module, *([target.name] if target.name else []), *attributes])
        name = target.name or target.module.rpartition(".")[2]
        for found in follow(target):
            written = self.text.references.get(found)
            if not written:
                alike = sum(other.rpartition("#")[0] == name for other in self.text.references.values())
                written = self.text.references[found] = f"{name}#{alike}"
            name = written
        return ".".join([name, *attributes])

    def _bindings_of(self, name: str, scopes: list[_Scope]) -> Sequence[Import] | None:
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
            return [Import(module.name, name)]
        if name in _BUILTINS:
            return None
        for star in module.stars:
            if follow(Import(star, name)):
                return [Import(star, name)]
        return []

    def _unresolved(self) -> None:
        """A name that nothing explains: whatever this module and its star imports hold may be meant."""
        for whole in (self.module.name, *self.module.stars):
            if is_own(whole):
                self.text.references.setdefault(Reference(whole, None), "")


def _chain(node: ast.expr) -> list[str]:
    """`a.b.c` as its names; empty where something else than names is in it."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _bindings(node: ast.AST, module: Module) -> _Scope:
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
            scope |= {name: imported for name, imported in imported_names(child, module) if name != "*"}
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
    found = read_module(module)
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
