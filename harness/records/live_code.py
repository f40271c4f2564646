"""Whether the code that is imported in this process is the code in its files, by which records are named.

A module that was imported and then edited, or whose constants, functions or classes were replaced in memory, runs other
code than its file holds. Compared are the definitions of users' modules that a plugin reaches: constants that are
literals, the byte code and literal defaults of functions, literal attributes and methods of classes, and what `from x
import y` binds. Not compared: values of expressions, names that functions of these modules themselves change (counters,
caches), what decorators return, and modules that were not loaded from a Python file.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import sys
from abc import ABCMeta
from collections.abc import Iterable, Iterator
from importlib.abc import InspectLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from harness.errors import HarnessError
from harness.records import definitions, module_source
from harness.records.module_source import Import, Module
from harness.records.statements import bound_names, change, leftmost
from harness.registry.beside import plain
from harness.registry.source import parse
from harness.system.schema import shown

_FIX = "reload the module or restart"
_HAS_DOCSTRING = 0x4000000
"""A flag of code since Python 3.13; before, the first constant of a function is its docstring or None."""
_MISSING = object()


def refuse_changed(roots: Iterable[tuple[str, str]]) -> None:
    """HarnessError where a definition that these (module, name) pairs reach differs from its file in this process."""
    definitions.forget()
    reached = [node for node in definitions.reached(roots) if node.module.partition(".")[0] != "harness"]
    modules = {node.module: module_source.read(node.module) for node in reached}
    found = [_changed_by_functions(module) for module in modules.values() if module is not None]
    changing = {name for bound, _ in found for name in bound}
    filled = {name for _, written in found for name in written}
    for node in reached:
        module, live = modules[node.module], sys.modules.get(node.module)
        if module is None or live is None:
            continue
        names = list(module.statements) if node.name is None else [node.name] if node.name else []
        for name in names:
            is_filled = name in filled and isinstance(vars(live).get(name), list | dict | set)
            if name not in changing and not is_filled:
                _compare(name, module, live, changing)
    for module in [each for each in modules.values() if each is not None]:
        if module.name in sys.modules:
            _compare_imports(module, sys.modules[module.name], changing | filled)


def as_literal(value: Any) -> str | None:
    """Python source of a constant that is the same in every process (sets are sorted); None where there is none."""
    try:
        return _literal(value)
    except (TypeError, RecursionError):
        return None


def _literal(value: Any) -> str:
    kind = type(value)
    if (kind is float and not math.isfinite(value)) or (kind is int and value.bit_length() > 10_000):
        raise TypeError  # Python writes no decimal numbers of more than 4300 digits
    if value is None or kind in (bool, int, float, str, bytes):
        return repr(value)
    if kind is list:
        return f"[{', '.join(map(_literal, value))}]"
    if kind is tuple:
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    if kind is dict:
        return f"{{{', '.join(f'{_literal(key)}: {_literal(part)}' for key, part in value.items())}}}"
    if kind is set:
        return f"{{{', '.join(sorted(map(_literal, value)))}}}" if value else "set()"
    if kind is frozenset:
        return f"frozenset({_literal(set(value)) if value else ''})"
    raise TypeError


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same; lines, files and docstrings do not count."""
    return _signature(one) == _signature(other)


def _signature(code: CodeType) -> tuple[Any, ...]:
    constants = list(code.co_consts)
    documented = code.co_flags & _HAS_DOCSTRING or sys.version_info < (3, 13)
    if documented and code.co_flags & inspect.CO_NEWLOCALS and not code.co_name.startswith("<"):
        constants[:1] = [None] if constants and isinstance(constants[0], str) else constants[:1]
    if "__firstlineno__" in code.co_names:  # of a class inside a function
        constants = [None if each == code.co_firstlineno else each for each in constants]
    return (
        code.co_code,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~_HAS_DOCSTRING),
        *(_signature(each) if isinstance(each, CodeType) else as_literal(each) or repr(each) for each in constants),
    )


# One definition


def _compare(name: str, module: Module, live: ModuleType, changing: set[str]) -> None:
    statements = module.statements.get(name, [])
    binding = [statement for statement in statements if name in bound_names(statement)]
    if len(binding) != 1:
        return  # alternatives: which of them counts is for the run to say
    (statement,) = binding
    full, value = f"{plain(module.name)}.{name}", vars(live).get(name, _MISSING)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        _compare_function(full, statement, value, module, live, _codes(module, live))
    elif isinstance(statement, ast.ClassDef):
        _compare_class(full, statement, value, module, live, changing if len(statements) == 1 else None)
    elif len(statements) == 1:
        for target, literal in _literals([statement]):
            if target == name:
                _compare_literal(full, literal, value, module)


def _compare_class(
    full: str, node: ast.ClassDef, value: Any, module: Module, live: ModuleType, changing: set[str] | None
) -> None:
    """changing  attributes that functions change; None: statements at the top of the module do"""
    if not inspect.isclass(value):
        if not node.decorator_list:
            _refuse(full, value, f"a class in {_file(module)}")
        return
    inside = _inside(_codes(module, live), node)
    bound = [name for part in node.body for name in bound_names(part)]
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and bound.count(part.name) == 1:
            method = vars(value).get(part.name, _MISSING)
            _compare_function(f"{full}.{part.name}", part, method, module, live, inside)
    if changing is not None and type(value) in (type, ABCMeta):
        for name, literal in _literals(node.body):
            found = vars(value).get(name, _MISSING)
            described = found is not _MISSING and hasattr(found, "__get__")
            if bound.count(name) == 1 and not described and f"{node.name}.{name}" not in changing:
                _compare_literal(f"{full}.{name}", literal, found, module)


def _compare_function(
    full: str,
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    value: Any,
    module: Module,
    live: ModuleType,
    codes: list[CodeType] | None,
) -> None:
    function, layers = value, 0
    while node.decorator_list and (inner := _inside_wrapper(function)) is not None and layers < 100:
        function, layers = inner, layers + 1
    is_its = isinstance(function, FunctionType) and function.__globals__ is vars(live)
    if node.decorator_list and not (is_its and function.__code__.co_name == node.name):
        return
    if codes is None:
        return
    written = _code_of(node, codes)
    if written is None:
        return
    if layers > len(node.decorator_list) or not is_its or not same_code(function.__code__, written):
        raise HarnessError(f"{full} in this process is not the one in {_file(module)}; {_FIX}")
    given, named = function.__defaults__ or (), function.__kwdefaults__ or {}
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][-len(arguments.defaults) or sys.maxsize :]
    if len(names) != len(given):
        raise HarnessError(f"{full} in this process has other defaults than in {_file(module)}; {_FIX}")
    pairs = list(zip(names, arguments.defaults, given, strict=True))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            pairs.append((argument.arg, default, named.get(argument.arg, _MISSING)))
    for name, default, found in pairs:
        _compare_literal(f"{full}: the default of {name}", default, found, module)


def _inside_wrapper(value: Any) -> Any:
    """What a static method, a property, a compiled function or a wrapper of functools is made of."""
    for attribute in ("__func__", "fget", "py_func", "__wrapped__"):
        inner = vars(type(value)).get(attribute) and getattr(value, attribute, None)
        inner = inner or getattr(value, "__dict__", {}).get(attribute)
        if inner is not None:
            return inner
    return None


def _compare_literal(full: str, node: ast.expr, value: Any, module: Module) -> None:
    try:
        written = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return
    literal = as_literal(written)
    if as_literal(value) != literal if literal is not None else type(value) is not type(written) or value != written:
        _refuse(full, value, f"{_text(written)} in {_file(module)}")


def _compare_imports(module: Module, live: ModuleType, changing: set[str]) -> None:
    """Of a module that was reloaded, or in which a name was replaced: `from x import y` may bind an older y."""
    for name, bindings in module.imports.items():
        if len(bindings) != 1 or name in module.statements or name in changing or name not in vars(live):
            continue
        (source,) = bindings
        expected = _imported(source)
        value = vars(live)[name]
        if value is expected or expected is _MISSING:
            continue
        if isinstance(value, FunctionType):
            differs = not isinstance(expected, FunctionType) or not same_code(value.__code__, expected.__code__)
        else:
            differs = as_literal(expected) is not None and as_literal(value) != as_literal(expected)
            differs = differs and module_source.is_own(source.module) and source.name not in changing
        if differs or (isinstance(expected, FunctionType) and not isinstance(value, FunctionType)):
            raise HarnessError(
                f"{plain(module.name)}.{name} in this process is not {plain(source.module)}.{source.name}; {_FIX}"
            )


def _imported(source: Import) -> Any:
    found = sys.modules.get(source.module)
    return _MISSING if found is None or source.name is None else getattr(found, source.name, _MISSING)


def _refuse(full: str, value: Any, written: str) -> None:
    said = "missing" if value is _MISSING else _text(value)
    raise HarnessError(f"{full} is {said} in this process and {written}; {_FIX}")


def _text(value: Any) -> str:
    literal = as_literal(value)
    return f"of type {type(value).__name__}" if literal is None else shown(literal) if len(literal) > 60 else literal


def _file(module: Module) -> str:
    file = module.place.file
    assert file is not None
    return f"{file.parent.name}/{file.name}" if file.name == "__init__.py" else file.name


# What stands in a file


def _literals(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """The names that single assignments bind, with the expressions."""
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from ((target.id, statement.value) for target in targets if isinstance(target, ast.Name))


def _codes(module: Module, live: ModuleType) -> list[CodeType] | None:
    """The code objects at the top of the module's file, compiled as its loader does; None where it cannot be."""
    loader, file = getattr(live, "__loader__", None), module.place.file
    if not isinstance(loader, InspectLoader) or file is None:
        return None  # the assertions of a test module are rewritten by pytest
    state = file.stat()
    return _compiled(loader, file, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=256)
def _compiled(loader: InspectLoader, file: Path, changed: int, size: int) -> list[CodeType] | None:
    try:
        code = loader.source_to_code(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return None
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _code_of(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, codes: list[CodeType]) -> CodeType | None:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    alike = (code for code in codes if code.co_name == node.name and code.co_firstlineno == first)
    return next(alike, None)


def _inside(codes: list[CodeType] | None, node: ast.ClassDef) -> list[CodeType] | None:
    body = _code_of(node, codes) if codes is not None else None
    return None if body is None else [each for each in body.co_consts if isinstance(each, CodeType)]


def _changed_by_functions(module: Module) -> tuple[set[str], set[str]]:
    """What the functions of a module change when they are called: names and `Class.attribute` that they bind anew, and
    names of containers that they write into.
    """
    assert module.place.file is not None
    bound: set[str] = set()
    filled: set[str] = set()
    for statement in parse(module.place.file).body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                bound |= set(node.names)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                filled |= change(node, inside=True).changed
                bound |= {name for part in ast.walk(node) for name in _stored(part, statement)}
    return bound, filled


def _stored(node: ast.AST, around: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        first, *attributes = leftmost(node)
        if first in ("cls", "type") and isinstance(around, ast.ClassDef):
            yield f"{around.name}.{attributes[-1]}"
        elif first != "self":
            yield from (f"{first}.{attributes[-1]}", attributes[-1])
