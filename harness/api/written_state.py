"""What a function or class of the session has become beside its source: wrappers, defaults, attributes set later.

Source alone names the code as it was written. The values that count when it runs are written out with it, or refused.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import re
import textwrap
from abc import ABCMeta
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.abc import InspectLoader
from types import CodeType, FunctionType
from typing import Any

from harness.errors import HarnessError
from harness.records.live_code import as_literal, same_code
from harness.records.statements import leftmost

_MISSING = object()


@dataclass(frozen=True)
class Definition:
    """A function or class as it is written out: the name that its source defines, and what its names belong to."""

    name: str
    source: str
    value: Any


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


# Wrappers


def as_defined(function: FunctionType) -> FunctionType:
    """The function that stands in the source under `@` decorators which made this one; itself where it was made so by
    no decorators, such as `darken(plain)`.
    """
    layers = [function]
    while inspect.isfunction(wrapped := getattr(layers[-1], "__wrapped__", None)) and len(layers) < 100:
        layers.append(wrapped)
    *wrappers, innermost = layers
    if not wrappers:
        return function
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(innermost.__code__))).body[0]
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        return function
    for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
        if wrappers and _made_by(wrappers[0], _value_of(decorator, innermost)):
            wrappers.pop(0)
    return function if wrappers else innermost


def _value_of(decorator: ast.expr, function: FunctionType) -> Any:
    """The decorator, or what makes it: of `@a.b(x)` the value of `a.b`."""
    first, *attributes = leftmost(decorator)
    found = function.__globals__.get(first, _MISSING)
    for attribute in attributes:
        found = getattr(found, attribute, _MISSING)
    return found


def _made_by(wrapper: FunctionType, decorator: Any) -> bool:
    if isinstance(decorator, FunctionType) and wrapper.__code__ in _codes(decorator.__code__):
        return True
    place, made = wrapper.__globals__.get("__name__", ""), getattr(decorator, "__module__", None) or ""
    return bool(place != "__main__" and place.partition(".")[0] == made.partition(".")[0])


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def without_decorators(source: str) -> str:
    """A function by itself: what its decorators made of it is another function, or the same with attributes."""
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    return "".join(source.splitlines(keepends=True)[node.lineno - 1 :]) if node.decorator_list else source


# Defaults


def with_defaults(
    who: str, function: FunctionType, source: str, node: ast.FunctionDef, look_up: Callable[[str], Any]
) -> str:
    """The source with the values of defaults that are expressions, as they were when the function was made."""
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    values = function.__defaults__ or ()
    named = function.__kwdefaults__ or {}
    if len(values) != len(arguments.defaults):
        raise HarnessError(
            f"{who}: the defaults of {node.name} were changed after it was written; write them in its def"
        )
    pairs = list(zip(names[len(names) - len(values) :], arguments.defaults, values, strict=True))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if (default is None) != (argument.arg not in named):
            raise HarnessError(
                f"{who}: the defaults of {node.name} were changed after it was written; write them in its def"
            )
        if default is not None:
            pairs.append((argument.arg, default, named[argument.arg]))
    lines = source.encode().splitlines(keepends=True)
    for name, default, value in sorted(pairs, key=lambda pair: (-pair[1].lineno, -pair[1].col_offset)):
        literal = as_literal(value)
        if literal is None and not _stands_for(default, value, look_up):
            raise HarnessError(
                f"{who}: the default of {name} in {node.name} is of type {type(value).__name__}, which no record can "
                "name; make it inside the function, or give it as a knob"
            )
        if literal is not None and literal != _literal_of(default):
            first, last = default.lineno - 1, (default.end_lineno or default.lineno) - 1
            text = lines[first][: default.col_offset] + literal.encode() + lines[last][default.end_col_offset :]
            lines[first : last + 1] = [text]
    return b"".join(lines).decode()


def with_method_defaults(who: str, value: type, source: str, look_up: Callable[[str], Any]) -> str:
    """The same for the methods of a class."""
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    nodes = [part for part in body.body if isinstance(part, ast.FunctionDef)]
    for node in reversed(nodes):
        found = vars(value).get(node.name)
        method = inspect.unwrap(getattr(found, "__func__", found))  # type: ignore[arg-type]
        if inspect.isfunction(method) and sum(each.name == node.name for each in nodes) == 1:
            source = (
                with_defaults(who, method, source, node, look_up) if method.__code__.co_name == node.name else source
            )
    return source


def renamed(source: str, name: str, to: str) -> str:
    """A function under another name."""
    return re.sub(rf"(?m)^def\s+{name}\b", f"def {to}", source, count=1)


def _literal_of(node: ast.expr) -> str | None:
    try:
        return as_literal(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _stands_for(node: ast.expr, value: Any, look_up: Callable[[str], Any]) -> bool:
    """Whether a name, or attributes of it, still is the value."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return False
    found = look_up(node.id)
    for name in reversed(names):
        found = getattr(found, name, _MISSING)
    return found is value


# Attributes


def function_state(who: str, definition: Definition) -> dict[str, str]:
    """Attributes of a function with their values, as source."""
    attributes = {name: value for name, value in vars(definition.value).items() if not is_dunder(name)}
    return {name: _written(who, definition.name, name, value) for name, value in attributes.items()}


def class_state(who: str, value: type, source: str) -> dict[str, str]:
    """Attributes of a class that are not those of its source, as source. HarnessError where no record can name them."""
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.ClassDef)
    if type(value) not in (type, ABCMeta):
        return {}  # an Enum makes members of its attributes
    written: dict[str, ast.expr | None] = {}
    methods: dict[str, list[ast.FunctionDef]] = {}
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            methods.setdefault(part.name, []).append(part)
        for target in part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]:
            if isinstance(target, ast.Name):
                written[target.id] = getattr(part, "value", None)
    _refuse_other_methods(who, value, source, methods)
    state = {}
    for name, found in vars(value).items():
        if is_dunder(name) or name.startswith("_abc_") or hasattr(found, "__get__"):
            continue
        default = written.get(name)
        literal = as_literal(found)
        if literal is None and default is not None and _literal_of(default) is None:
            continue  # an expression, written as it stands
        if literal is None or default is None or literal != _literal_of(default):
            state[name] = _written(who, value.__name__, name, found)
    return state


def _refuse_other_methods(who: str, value: type, source: str, methods: dict[str, list[ast.FunctionDef]]) -> None:
    for name, found in vars(value).items():
        function = inspect.unwrap(getattr(found, "__func__", found))
        if not inspect.isfunction(function) or function.__module__ != value.__module__:
            continue
        nodes = methods.get(name, [])
        is_decorated = bool(nodes) and bool(nodes[0].decorator_list) and function.__code__.co_name != name
        if function.__code__.co_filename == "<string>" or len(nodes) > 1 or is_decorated or _is_rewritten(function):
            continue  # dataclasses make methods of strings
        if not any(same_code(function.__code__, each) for each in _methods_in(source, value.__name__, function)):
            raise HarnessError(
                f"{who}: {name} of class {value.__name__} is not the one that the class was written with; write it in "
                "the class"
            )


def _methods_in(source: str, name: str, function: FunctionType) -> Iterator[CodeType]:
    flags = function.__code__.co_flags & __future__.annotations.compiler_flag
    compiled = compile(source, "<class>", "exec", flags, dont_inherit=True)
    for body in compiled.co_consts:
        if isinstance(body, CodeType) and body.co_name == name:
            alike = (each for each in body.co_consts if isinstance(each, CodeType))
            yield from (each for each in alike if each.co_name == function.__code__.co_name)


def _is_rewritten(function: FunctionType) -> bool:
    """Whether its module is not compiled from the file as it stands: pytest rewrites assertions."""
    loader = function.__globals__.get("__loader__")
    return loader is not None and not isinstance(loader, InspectLoader)


def _written(who: str, owner: str, name: str, value: Any) -> str:
    literal = as_literal(value)
    if literal is None:
        raise HarnessError(
            f"{who}: it uses {owner}.{name}, a {type(value).__name__} of this session, which no record can name; make "
            "it inside the function, give it as a knob, or put both into a .py file"
        )
    return literal
