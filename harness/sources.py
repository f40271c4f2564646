"""A hash of modules that only their code can move."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from harness.imports import LIBRARIES, parse
from harness.locate import locate


def source_hash(modules: Iterable[str]) -> str:
    """sha256 over the code of these modules: comments, docstrings and formatting do not count, anything else does."""
    digest = hashlib.sha256()
    for name in sorted(set(modules)):
        digest.update(f"{name}\0{_code_of(name)}\0".encode())
    return digest.hexdigest()


def _code_of(module: str) -> str:
    top = module.split(".")[0]
    if top in LIBRARIES:
        try:
            return importlib.metadata.version(LIBRARIES[top])
        except importlib.metadata.PackageNotFoundError:
            pass  # installed under another name: its files then
    place = locate(module)
    if place is None or place.file is None:
        return "no source"
    return _normalised(place.file, place.file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _normalised(file: Path, changed: int) -> str:  # `changed` only keeps an edited file out of the cache
    if file.suffix == ".py":
        try:
            return _shape(parse(file))
        except (SyntaxError, ValueError):
            pass
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _shape(node: object) -> str:
    """A syntax tree as text, the same from every Python (which ast.dump is not): empty fields are left out."""
    if isinstance(node, list):
        return "[" + ",".join(map(_shape, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for field, value in ast.iter_fields(node):
        if field == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            value = value[1:] if ast.get_docstring(node, clean=False) is not None else value
        if value is not None and value != [] and field != "type_comment":
            fields.append(f"{field}={_shape(value)}")
    return f"{type(node).__name__}({','.join(fields)})"
