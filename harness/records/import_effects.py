"""Which statements of a module count with each of its imports, because they change what is read elsewhere."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from harness.records.module_source import Import, Module, Reference, as_module, follow, read
from harness.records.statements import Change, change, leftmost


@functools.cache
def run_by_import(name: str) -> tuple[ast.stmt, ...]:
    """The statements of a module that count with each of its imports."""
    module = read(name)
    if module is None:
        return ()
    registering = (statement for statement, found in module.calling if _has_effect(statement, found, module))
    return (*module.always, *registering)


def _has_effect(statement: ast.stmt, found: Change, module: Module) -> bool:
    """Whether a definition is entered somewhere: by a decorator, a base class, or a function that is called for it."""
    for decorator in found.decorators:
        if leftmost(decorator)[-1].startswith("register"):
            return True
        if any(is_method or _changes_state(node, set()) for node, is_method in _called(decorator, module)):
            return True
    for node in (node for callee in found.called for node, _ in _called(callee, module)):
        if _changes_state(node, set()) or any(change(each, inside=True).sets_arguments for each in _statements(node)):
            return True
    return isinstance(statement, ast.ClassDef) and _has_hooks(Reference(module.name, statement.name), frozenset())


def _changes_state(node: Reference, seen: set[Reference]) -> bool:
    """Whether calling this may change what stands at the top of a module, or in a library."""
    module = read(node.module)
    if module is None or not node.name or node in seen:
        return False
    seen.add(node)
    known = module.statements.keys() | module.imports.keys()
    for statement in module.statements.get(node.name, ()):
        found = change(statement, inside=True)
        if found.sets_globals or found.changed & known:
            return True
        for callee in found.effects:
            if leftmost(callee)[0] in module.imports and not any(_called(callee, module)):
                return True
        is_variable = not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        named = [part for part in ast.walk(statement) if isinstance(part, ast.Name)] if is_variable else []
        for callee in (*found.effects, *found.called, *named):
            for each, is_method in _called(callee, module):
                is_class = any(isinstance(part, ast.ClassDef) for part in _statements(each))
                if (is_method and callee in found.effects) or (is_variable and is_class) or _changes_state(each, seen):
                    return True
    return False


def _statements(node: Reference) -> list[ast.stmt]:
    module = read(node.module)
    return module.statements.get(node.name or "", []) if module is not None else []


def _called(callee: ast.expr, module: Module) -> Iterator[tuple[Reference, bool]]:
    """The definitions that a call, a decorator or a base class names, and whether it is a method of theirs."""
    first, *rest = leftmost(callee)
    for binding in module.imports.get(first, [Import(module.name, first)] if first in module.statements else []):
        target, attributes = binding, list(rest)
        while attributes and (inner := as_module(target)) is not None:
            target, attributes = Import(inner, attributes[0]), attributes[1:]
        yield from ((node, bool(attributes)) for node in follow(target) if node.name)


def _has_hooks(node: Reference, seen: frozenset[Reference]) -> bool:
    """Whether a base of this class, or its metaclass, runs code for every class that derives from it."""
    module = read(node.module)
    for statement in _statements(node):
        if not isinstance(statement, ast.ClassDef) or module is None or node in seen:
            continue
        own_metaclass = any(key.arg == "metaclass" and any(_called(key.value, module)) for key in statement.keywords)
        methods = {child.name for child in statement.body if isinstance(child, ast.FunctionDef)}
        if own_metaclass or (seen and "__init_subclass__" in methods):
            return True
        bases = [base for each in statement.bases for base, _ in _called(each, module)]
        if any(_has_hooks(base, seen | {node}) for base in bases):
            return True
    return False
