"""Which code a figure depends on, and one hash of it: of definitions, wherever they stand.

A definition is a function, class or constant at the top of a module. Starting from the functions that make a figure,
the names that each definition uses are followed from module to module, read with `ast`; nothing is imported. A
definition counts with its body, decorators, default arguments, base classes and the statements that modify it
(`TABLE["x"] = 3`). Comments, docstrings, formatting, import statements, `__all__`, annotations of functions, module
names and file places do not count, so moving, splitting or merging files changes no hash. Names of functions and
classes do count: some code draws its randomness from them.

Annotations are followed, so that the methods of an object that is passed in are reached through its type. What the
import of a reached module does counts, and of all modules that it imports: bare calls, what is written into other
modules and libraries, functions and classes that a decorator or a base class registers. What cannot be resolved
statically (`globals()`, a module passed as a value, a name that a star import hides) counts with its whole module,
`import_module` of a computed name with the whole package. Files that a definition reads beside its module count with
their content (`records.data_files`). Libraries count by name: their versions stand in a record by themselves.

Not seen: effects of a library call whose value is kept (`state = random.seed(3)`), docstrings and annotations that are
read at run time, the order of statements that define different names and of modules that are imported, a folder put on
sys.path that hides an installed package, environment variables, and files that are found from the working directory.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.records import import_effects, module_source
from harness.records.data_files import LISTING, Reading, content, contents, steps_up
from harness.records.module_source import (
    Import,
    Module,
    Reference,
    as_module,
    deep_recursion,
    exports,
    find,
    follow,
    imports_of,
    is_own,
)
from harness.records.statements import chain, is_not_run, leftmost

_DYNAMIC = {"importlib.import_module", "__import__", "sys.modules", "runpy.run_module", "pkgutil.iter_modules"}
_DYNAMIC |= {"pkgutil.walk_packages", "importlib.reload", "pkgutil.resolve_name"}
_UNRESOLVABLE = {"globals", "eval", "exec", "vars", "__import__"}
_PLACES = {"__file__", "__path__", "__spec__"}
_READERS = ("importlib.resources", "importlib_resources", "pkgutil.get_data", "inspect.getfile", "inspect.getsource")
_BUILTINS = frozenset(dir(builtins)) | _PLACES | {"__name__", "__doc__", "__package__", "__class__", "__builtins__"}
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, *_COMPREHENSIONS)
_Scope = dict[str, list[Import]]
"""The names of a function or class, with what imports bind them to: nothing where they are variables."""
_CLASS = ""
"""A key of the scopes of classes, which methods do not see."""


@dataclass
class _Text:
    """A definition as text, with what it refers to in the order of first use, and what else it needs.

    loads    modules whose import it runs
    dynamic  whether it imports modules by names that are computed
    registered  whether it is registered, perhaps by the annotations of its arguments
    """

    parts: list[str] = field(default_factory=list)
    references: dict[Reference, str] = field(default_factory=dict)
    loads: set[str] = field(default_factory=set)
    dynamic: bool = False
    registered: bool = False
    reading: Reading = field(default_factory=Reading)


def code_hash(roots: Iterable[tuple[str, str]]) -> str:
    """sha256 in hex over all definitions that these (module, name) pairs reach, and the files that they read."""
    roots = list(roots)
    found = _reached(roots)
    digests = _digests(found)
    lines = {digests[node] for node in found if _is_stated(node)}
    lines |= set(contents((node, _text(node).reading) for node in found))
    for module, name in roots:
        starts = follow(Import(module, name))
        lines |= {f"root {digests[node]}" for node in starts} or {f"root {module}.{name}"}
    return _sha(*sorted(lines))


def reached(roots: Iterable[tuple[str, str]]) -> list[Reference]:
    """Every definition that these (module, name) pairs depend on, themselves among them, sorted."""
    return sorted(filter(_is_stated, _reached(list(roots))), key=lambda node: (node.module, node.name or ""))


def _reached(roots: Sequence[tuple[str, str]]) -> set[Reference]:
    if module_source.read_packages_of(module for module, _ in roots):
        forget()
    found: set[Reference] = set()
    with deep_recursion():
        waiting = [node for module, name in roots for node in follow(Import(module, name))]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                text = _text(node)
                waiting += text.references
                waiting += [Reference(module, "") for module in (*module_source.loaded_with(node.module), *text.loads)]
    return found


def _is_stated(node: Reference) -> bool:
    return node.name != "" or bool(_text(node).parts)


def forget() -> None:
    """Read the code again: it may have been edited."""
    module_source.forget()
    import_effects.run_by_import.cache_clear()
    _text.cache_clear()


def _digests(nodes: Iterable[Reference]) -> dict[Reference, str]:
    """Of every definition, with what it refers to: the same text calling other code is another definition.

    Refined, as definitions refer to each other in circles, until no round tells further definitions apart.
    """
    texts = {node: _text(node) for node in nodes}
    digests = {node: _sha(node.name if node.name is not None else "*", *text.parts) for node, text in texts.items()}
    apart, rounds = 0, 0
    while rounds < 2 or len(set(digests.values())) > apart:
        apart, rounds = len(set(digests.values())), rounds + 1
        digests = {
            node: _sha(digests[node], *(f"{written}={digests[other]}" for other, written in text.references.items()))
            for node, text in texts.items()
        }
    return digests


def _sha(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()


# One definition


@functools.cache
def _text(node: Reference) -> _Text:
    module, text = module_source.read(node.module), _Text()
    if module is None:
        place = find(node.module)
        if node.name is None and place is not None and place.file is not None:
            text.parts.append(content(place.file))
        return text
    if node.name is None:
        for name in module.statements:
            text.references[Reference(node.module, name)] = name
        text.references[Reference(node.module, "")] = ""
        for bindings in module.imports.values():
            text.references |= {other: "" for each in bindings for other in follow(each)}
        text.reading.names_module = True
        return text
    statements = import_effects.run_by_import(node.module) if node.name == "" else module.statements.get(node.name, ())
    writer = _Writer(module, text)
    for statement in statements:
        writer.write(statement, [])
    if node.name != "" and module_source.is_mixed(module, node.name):
        writer.write_alternatives(node.name)
    if text.dynamic:
        text.references |= {
            Reference(other, None): "" for other in module_source.imported_by_name(module, text.reading.strings)
        }
    text.references.pop(node, None)
    return text


class _Writer:
    """Writes a statement as text that is the same from every Python and at every place, and notes what it refers to."""

    def __init__(self, module: Module, text: _Text):
        self.module, self.text = module, text
        self.enclosing: dict[int, list[_Scope]] = {}  # the scopes of what a comprehension evaluates outside

    def write(self, node: object, scopes: list[_Scope]) -> None:
        out = self.text.parts
        scopes = self.enclosing.pop(id(node), scopes)
        if isinstance(node, list):
            out.append("[")
            for item in node:
                if isinstance(item, ast.Import | ast.ImportFrom):
                    self.text.loads |= set(module_source.loaded_by(item, self.module))
                    if scopes and _CLASS in scopes[-1]:  # an attribute of the class
                        out += [f"{name}={self._written(what, [])}" for name, what in imports_of(item, self.module)]
                else:
                    self.write(item, scopes)
            out.append("]")
        elif not isinstance(node, ast.AST):
            out.append(repr(node))
        elif isinstance(node, ast.Name | ast.Attribute) and self._reference(node, scopes):
            return
        elif is_not_run(node):
            self.write(node.orelse, scopes)  # type: ignore[attr-defined]
        else:
            self._fields(node, scopes)

    def write_alternatives(self, name: str) -> None:
        """Imports of a name that is defined here too, in order: try: import x; except ImportError: x = None."""
        for bound, imported in self.module.order:
            if imported is not None and bound == "*":
                imported = Import(imported.module, name) if exports(imported.module, name) else None
            elif bound != name:
                continue
            elif imported is None:
                self.text.parts.append("|")
            if imported is not None:
                self.text.parts.append(self._written(imported, []))

    def _fields(self, node: ast.AST, scopes: list[_Scope]) -> None:
        self._note(node)
        inner = scopes
        if isinstance(node, _SCOPES):
            inner = [*(scope for scope in scopes if _CLASS not in scope), _bindings(node, self.module)]
        elif isinstance(node, ast.ClassDef):
            inner = [*scopes, {**_bindings(node, self.module), _CLASS: []}]
        if isinstance(node, _COMPREHENSIONS):
            self.enclosing[id(node.generators[0].iter)] = scopes
        defining = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        self.text.parts.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                value = value[1:] if ast.get_docstring(node, clean=False) is not None else value
            elif name == "body" and isinstance(node, ast.ClassDef):
                value = [part for part in value if not _is_string(part)]  # attributes have docstrings too
            outside = defining and name in ("decorator_list", "bases", "keywords", "returns", "args")
            if name in ("annotation", "returns", "type_params"):
                self._annotation(value, scopes)
            if name in ("returns", "type_params", "type_comment", "kind") or value is None or value == []:
                continue
            if name == "annotation" and not isinstance(node, ast.AnnAssign) and not self.text.registered:
                continue
            self.text.parts.append(f"{name}=")
            self.write(value, scopes if outside else inner)
        self.text.parts.append(")")

    def _note(self, node: ast.AST) -> None:
        """What a node says about files, and whether it is registered by the types of its arguments."""
        reading = self.text.reading
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            reading.strings.add(node.value)
            reading.steps_up += 2 * (".." in Path(node.value).parts)
        elif isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
            reading.strings.add("".join(parts))
        elif isinstance(node, ast.Attribute):
            reading.reads_files |= node.attr in _PLACES
            reading.lists |= node.attr in LISTING
            reading.steps_up += steps_up(node.attr)
            if node.attr == "__subclasses__":
                self._unresolved()
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [leftmost(decorator)[-1] for decorator in node.decorator_list]
            self.text.registered |= any(name.startswith("register") for name in names)

    def _annotation(self, node: object, scopes: list[_Scope]) -> None:
        """Follows the types that it names; its text does not count."""
        names = chain(node) if isinstance(node, ast.Name | ast.Attribute) else []
        if names:
            for binding in self._bindings_of(names[0], scopes) or ():
                self._written(binding, names[1:])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            with contextlib.suppress(SyntaxError, ValueError):
                self._annotation(ast.parse(node.value, mode="eval").body, scopes)
        elif isinstance(node, ast.AST | list):
            for child in node if isinstance(node, list) else ast.iter_child_nodes(node):
                self._annotation(child, scopes)

    def _reference(self, node: ast.Name | ast.Attribute, scopes: list[_Scope]) -> bool:
        """Write `node` as what it refers to, where that is known: a definition, or a name of a library."""
        first, *rest = chain(node) or [""]
        reading = self.text.reading
        reading.reads_files |= first in _PLACES or bool(_PLACES & set(rest))
        reading.lists |= bool(LISTING & set(rest))
        reading.steps_up += sum(map(steps_up, (first, *rest)))
        bindings = self._bindings_of(first, scopes, isinstance(node.ctx, ast.Load)) if first else None
        if bindings == []:
            self._unresolved()
        if bindings is not None and {binding.module for binding in bindings} <= {*self.module.stars}:
            stars = ["." if is_own(star) else star for star in self.module.stars]
            self.text.parts += stars if set(stars) - {"."} else []  # which of them holds it is for the order to say
        if not bindings:
            return False
        if "__subclasses__" in rest:
            self._unresolved()
        written = list(dict.fromkeys(self._written(binding, rest) for binding in bindings))
        reading.reads_files |= any(name.startswith(_READERS) for name in written)
        reading.lists |= any(name.rpartition(".")[2] in LISTING for name in written)
        if any(name in _DYNAMIC or name.startswith("sys.modules.") for name in written):
            self.text.dynamic = True
            self._unresolved()
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

    def _bindings_of(self, name: str, scopes: list[_Scope], load: bool = True) -> Sequence[Import] | None:
        """What a name stands for; None where it is local or built in, nothing where that is unknown."""
        module = self.module
        known = name in module.statements or name in module.imports
        for scope in reversed(scopes):
            if name in scope:
                if _CLASS in scope and load and known and not scope[name]:
                    break  # `class C: half = staticmethod(half)`
                return scope[name] or None
        if name in _UNRESOLVABLE or (name == "locals" and not scopes):
            self.text.dynamic |= name == "__import__"
            self._unresolved()
        if module_source.is_mixed(module, name):
            return [Import(module.name, name)]
        if name in module.imports:
            return module.imports[name]
        stars = module_source.stars_with(module, name)
        if name in module.typing:
            return module.typing[name]
        return None if name in _BUILTINS and not stars else stars

    def _unresolved(self) -> None:
        """A name that nothing explains: whatever this module and its star imports hold may be meant."""
        for whole in (self.module.name, *self.module.stars):
            if is_own(whole):
                self.text.references.setdefault(Reference(whole, None), "")


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _bindings(node: ast.AST, module: Module) -> _Scope:
    """The names that a function, comprehension or class binds in its own scope, with what imports bind them to."""
    scope: _Scope = {}
    free: set[str] = set()
    body = getattr(node, "body", [])
    waiting: deque[ast.AST] = deque(body if isinstance(body, list) else [body])
    if isinstance(node, _COMPREHENSIONS):
        waiting = deque(generator.target for generator in node.generators)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        scope |= {one.arg: [] for one in every if one is not None}
    scope |= {parameter.name: [] for parameter in getattr(node, "type_params", [])}
    while waiting:
        child = waiting.popleft()
        if isinstance(child, ast.Global | ast.Nonlocal):
            free |= set(child.names)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            for name, imported in imports_of(child, module):
                scope.setdefault(name, []).append(imported)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.setdefault(child.name, [])
            waiting += child.decorator_list
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store | ast.Del):
            scope.setdefault(child.id, [])
        elif isinstance(child, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and child.name:
            scope.setdefault(child.name, [])
        elif isinstance(child, ast.MatchMapping) and child.rest:
            scope.setdefault(child.rest, [])
        if isinstance(child, _COMPREHENSIONS):
            waiting += [named.target for named in ast.walk(child) if isinstance(named, ast.NamedExpr)]
        elif not isinstance(child, (*_SCOPES, ast.ClassDef)):
            waiting += ast.iter_child_nodes(child)
    return {name: bound for name, bound in scope.items() if name not in free}
