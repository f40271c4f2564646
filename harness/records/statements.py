"""What a statement defines and what it may change, from its syntax alone."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "fill", "insert", "pop"}
_MUTATORS |= {"popitem", "popleft", "remove", "reverse", "setdefault", "sort", "update", "__setitem__", "__delitem__"}
"""Methods that change the container that they are called on, and nothing else."""
_CALLED_METHODS = ("__init__", "__new__", "__post_init__", "__call__", "__set_name__")
"""Methods that run when an object is made, or is called as a decorator."""


@dataclass
class Change:
    """What running a statement, or calling what it defines, may change.

    changed         names whose value is written into
    effects         what is called for its effect, its value unused
    called          what is called for its value
    decorators      of the definitions in it
    sets_globals    whether there is a `global` statement
    sets_arguments  whether a function writes into what it is given
    """

    changed: set[str] = field(default_factory=set)
    effects: list[ast.expr] = field(default_factory=list)
    called: list[ast.expr] = field(default_factory=list)
    decorators: list[ast.expr] = field(default_factory=list)
    sets_globals: bool = False
    sets_arguments: bool = False


def change(statement: ast.stmt, *, inside: bool = False) -> Change:
    """inside  of calling what the statement defines, rather than of running it"""
    found = Change()
    discarded: set[ast.AST] = set()
    local: set[str] = set()
    for node in _running(statement, inside):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            discarded.add(node.value)
            _effect(node.value, found)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            found.changed |= _names(node.value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.changed.add(node.target.id)
        elif isinstance(node, ast.Delete):
            found.changed |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Call) and node not in discarded:
            first, *attributes = leftmost(node.func)
            if attributes and attributes[-1] in _MUTATORS:
                found.changed.add(first)
            else:
                found.called.append(node.func)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.decorators += node.decorator_list
        elif isinstance(node, ast.Global):
            found.sets_globals = True
        elif isinstance(node, ast.arg):
            local.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            local.add(node.id)
    if inside:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            found.sets_arguments = bool(found.changed & {each.arg for each in statement.args.args})
        found.changed -= local
        found.effects = [each for each in found.effects if leftmost(each)[0] not in local]
    return found


def _effect(call: ast.Call, found: Change) -> None:
    first, *attributes = leftmost(call.func)
    if attributes and attributes[-1] in _MUTATORS:
        found.changed.add(first)
    elif first in ("setattr", "delattr") and call.args:
        found.changed |= _names(call.args[0])
    else:
        found.effects.append(call.func)
        if not hasattr(builtins, first):
            found.changed |= {name for part in (*call.args, *call.keywords) for name in _names(part)}
            found.changed |= {first} if attributes else set()


def _running(statement: ast.AST, inside: bool) -> Iterator[ast.AST]:
    """The nodes that run with a statement, a node before its children; bodies of functions where they are called."""
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and is_not_run(node):
            waiting += node.orelse
        elif isinstance(node, ast.ClassDef) and inside:
            waiting += [part for part in node.body if getattr(part, "name", "__init__") in _CALLED_METHODS]
        elif isinstance(node, _SCOPES) and not inside:
            waiting += [*getattr(node, "decorator_list", []), *node.args.defaults]
            waiting += [default for default in node.args.kw_defaults if default is not None]
        else:
            waiting += ast.iter_child_nodes(node)


def _names(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def leftmost(node: ast.expr) -> list[str]:
    """`a.b(x)[y].c` as a, b, c: the name that it starts from and the attributes; "" for anything else."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        if isinstance(node, ast.Attribute):
            attributes.append(node.attr)
        node = node.func if isinstance(node, ast.Call) else node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(attributes)]


def chain(node: ast.AST) -> list[str]:
    """`a.b.c` as its names; empty where something else than names is in it."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def at_top(statement: ast.stmt, not_run: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements that run at the top of a module: this one and those inside `if`, `try`, `with` and loops.

    Each with whether it is for type checkers or for running as a script alone.
    """
    yield statement, not_run
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for name in ("body", "orelse", "finalbody"):
        for child in getattr(statement, name, []):
            yield from at_top(child, not_run or (name == "body" and is_not_run(statement)))
    for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
        for child in part.body:
            yield from at_top(child, not_run)


def bound_names(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top defines, other than by importing."""
    for child, not_run in at_top(statement):
        if not_run or isinstance(child, ast.Import | ast.ImportFrom):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        else:
            yield from _bound_by_head(child)


def _bound_by_head(statement: ast.stmt) -> Iterator[str]:
    heads = [part for part in ast.iter_child_nodes(statement) if not isinstance(part, ast.stmt | ast.excepthandler)]
    for case in getattr(statement, "cases", []):
        heads += [case.pattern, *([case.guard] if case.guard else [])]
    for node in (inner for head in heads if not isinstance(head, ast.match_case) for inner in ast.walk(head)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest


def is_not_run(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:` and `if __name__ == "__main__":`, whose bodies no import runs."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq) and len(test.ops) == 1:
        sides = [test.left, *test.comparators]
        return any(chain(side) == ["__name__"] for side in sides) and any(
            isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
        )
    return chain(test)[-1:] == ["TYPE_CHECKING"]


def is_skipped(statement: ast.stmt) -> bool:
    """Docstrings and other bare constants, `__all__`, `sys.path`, and what no import runs."""
    if isinstance(statement, ast.Expr):
        listed = isinstance(statement.value, ast.Call) and leftmost(statement.value)[0] == "__all__"
        return isinstance(statement.value, ast.Constant) or listed or edits_path(statement)
    if is_not_run(statement) and not statement.orelse:  # type: ignore[attr-defined]
        return True
    return isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign) and set(bound_names(statement)) == {
        "__all__"
    }


def edits_path(statement: ast.stmt) -> bool:
    """`sys.path.append(...)`."""
    call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    return call and leftmost(statement.value)[:2] == ["sys", "path"]  # type: ignore[attr-defined]


def only_imports(statement: ast.stmt) -> bool:
    """`try: import x` does nothing else."""
    simple = (ast.Import, ast.ImportFrom, ast.Pass, ast.If, ast.Try)
    return all(not_run or isinstance(child, simple) for child, not_run in at_top(statement))


def exported(tree: ast.Module) -> set[str]:
    """The names in `__all__`."""
    return {
        node.value
        for statement in tree.body
        if "__all__" in bound_names(statement)
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
