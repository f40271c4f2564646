"""A function of a notebook, of the running script or inside another function, written out as a module of its own.

The module holds the function's source and all that it uses, found through its global names and what it closes over:
other functions and classes likewise, imports, and constants by their value. What cannot be written so (a tensor, a
network) is refused: a record is named by code, and must be another one where that changes.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import linecache
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any

from harness.api.written_state import (
    Definition,
    as_defined,
    class_state,
    function_state,
    is_dunder,
    renamed,
    with_defaults,
    with_method_defaults,
    without_decorators,
)
from harness.errors import HarnessError
from harness.records.live_code import as_literal

_FUTURE = "from __future__ import annotations\n"
_RUNNING = ("__main__", "__mp_main__")


def source_of(function: Callable[..., Any], who: str) -> str:
    """The text of a module that defines the function under its name. HarnessError where that cannot be.

    who  names it in messages
    """
    writer = _Writer(who)
    writer.add(function.__name__, function)
    return writer.text()


@dataclass
class _Writer:
    """Collects what the module must hold; `names` are those that are bound already."""

    who: str
    names: dict[str, Any] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    definitions: list[str] = field(default_factory=list)

    def text(self) -> str:
        parts = [_FUTURE + "\n".join(self.imports), "\n".join(self.constants), *self.definitions]
        return "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"

    def add(self, name: str, value: Any) -> None:
        """Bind a name to a value in the module."""
        if name in self.names:
            before = self.names[name]
            equal = as_literal(before) is not None and as_literal(before) == as_literal(value)
            if before is not value and not equal:
                raise HarnessError(f"{self.who}: the name {name} stands for two things in what it uses; rename one")
            return
        self.names[name] = value
        literal = as_literal(value)
        module = None if isinstance(value, ModuleType) or literal is not None else _module_of(value)
        if isinstance(value, ModuleType):
            self.imports.append(f"import {value.__name__} as {name}")
        elif module is not None:
            self.imports.append(f"from {module} import {_name_of(value, name)} as {name}")
        elif inspect.isfunction(value) or inspect.isclass(value):
            self._define(name, value)
        elif literal is not None:
            self.constants.append(f"{name} = {literal}")
        else:
            raise HarnessError(
                f"{self.who}: it uses {name}, a {type(value).__name__} of this session, which no record can name; make "
                "it inside the function, give it as a knob, or put both into a .py file"
            )

    def _define(self, name: str, value: Any) -> None:
        definition = self._definition(value)
        source, defined = definition.source, definition.name
        for used in _names_used(source):
            found = _looked_up(definition.value, used)
            if found is not _MISSING and found is not value:
                self.add(used, found)
        for used in _names_in_annotations(source):
            found = _looked_up(definition.value, used)
            if used not in self.names and _module_of(found) is not None:
                self.add(used, found)
        state = class_state(self.who, value, source) if inspect.isclass(value) else function_state(self.who, definition)
        if name != defined and self.names.setdefault(defined, value) is not value:
            if inspect.isclass(value) or defined in _names_used(source):
                raise HarnessError(f"{self.who}: the name {defined} stands for two things in what it uses; rename one")
            source, defined = renamed(source, defined, name), name
        after = [f"{defined}.{attribute} = {literal}" for attribute, literal in state.items()]
        after += [f"{name} = {defined}"] if name != defined else []
        self.definitions.append("\n\n".join([source, "\n".join(after)] if after else [source]))

    def _definition(self, value: Any) -> Definition:
        kind = "class" if inspect.isclass(value) else "function"
        own = value if kind == "class" else as_defined(value)
        name = own.__name__ if kind == "class" else own.__code__.co_name
        if name == "<lambda>":
            raise HarnessError(f"{self.who}: a lambda is no function that a record can be named by; write it with def")
        try:
            source = textwrap.dedent(_class_source(value) if kind == "class" else inspect.getsource(own.__code__))
            body = ast.parse(source).body
            compile(_FUTURE + source, "<function>", "exec")
        except (OSError, TypeError, SyntaxError, ValueError):
            raise HarnessError(
                f"{self.who}: the source of {kind} {value.__name__} cannot be read; put it into a .py file"
            ) from None
        node = body[0] if len(body) == 1 else None
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name != name:
            raise HarnessError(
                f"{self.who}: {kind} {value.__name__} does not stand by itself in its source; put it into a .py file"
            )
        if isinstance(node, ast.FunctionDef):
            source = with_defaults(self.who, own, source, node, lambda used: _looked_up(own, used))
            if own is value:
                source = without_decorators(source)
        else:
            source = with_method_defaults(self.who, value, source, lambda used: _looked_up(value, used))
        return Definition(name, source, own)


def _class_source(value: type) -> str:
    """The source of a class, found by a method of it: inspect knows no file of a notebook's class."""
    methods = [inspect.unwrap(each) for each in vars(value).values() if inspect.isfunction(each)]
    for code in (method.__code__ for method in methods if method.__module__ == value.__module__):
        lines = linecache.getlines(code.co_filename)
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.ClassDef) and node.name == value.__name__ and node.end_lineno is not None:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if first <= code.co_firstlineno <= node.end_lineno:
                    return "".join(lines[first - 1 : node.end_lineno])
    return inspect.getsource(value)


_MISSING = object()


def _looked_up(value: Any, name: str) -> Any:
    """What a global name or a name of an enclosing function stands for, in a function or in the methods of a class."""
    functions = [value] if inspect.isfunction(value) else [each for each in vars(value).values() if callable(each)]
    spaces: list[dict[str, Any]] = []
    for function in functions if inspect.isfunction(value) else map(inspect.unwrap, functions):
        if inspect.isfunction(function):
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            spaces += [{free: cell.cell_contents for free, cell in cells if _is_filled(cell)}, function.__globals__]
    spaces.append(vars(sys.modules.get(value.__module__, builtins)))
    for space in spaces:
        if name in space:
            return space[name]
    return _MISSING


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names_used(source: str) -> list[str]:
    """The names that this source takes from around it, in the order of first use; builtins may be among them."""
    code = compile(_FUTURE + source, "<function>", "exec")
    return list(dict.fromkeys(name for name in _loaded(code) if not is_dunder(name)))


def _names_in_annotations(source: str) -> list[str]:
    """Annotations are not evaluated, but what their types are counts for a record."""
    used: dict[str, None] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.FunctionDef):
            annotation = node.annotation if isinstance(node, ast.arg) else node.returns
            names = [each for each in ast.walk(annotation) if isinstance(each, ast.Name)] if annotation else []
            used |= dict.fromkeys(each.id for each in names)
    return list(used)


def _loaded(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _loaded(constant)


def _module_of(value: Any) -> str | None:
    """A module that every process can import the value from under its own name; None where there is none."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str) or not name.isidentifier():
        return None
    module = getattr(value, "__module__", None) or pickle.whichmodule(value, name)  # type: ignore[attr-defined]
    if module in _RUNNING or getattr(sys.modules.get(module), name, None) is not value:
        return None
    return str(module)


def _name_of(value: Any, name: str) -> str:
    return str(getattr(value, "__qualname__", None) or getattr(value, "__name__", name))
