"""Griffe extension: the argument blocks of the docstrings as definition lists, and their code as code.

In the source an argument stands in a block of its own, its text in a column beside it:

    images   (N, 3, H, W) float32 in [0, 1]
    block    side of a block, in pixels
"""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

_COLUMN = re.compile(r"^(\**[A-Za-z_][\w.*-]*(?:, \**[A-Za-z_][\w.*-]*)*)( {2,}| )(\S.*)$")


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            names = {each.name.lstrip("*") for each in getattr(obj, "parameters", [])}
            obj.docstring.value = converted(obj.docstring.value, names)


def converted(text: str, names: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """names  of the parameters: one of them begins a column also after a single blank"""
    return "\n\n".join(_block(block, names) for block in re.split(r"\n\s*\n", text))


def _block(block: str, names: set[str]) -> str:
    lines = block.split("\n")
    if block.startswith("    ") or lines[0].lstrip().startswith(("* ", "- ", "|", "```")):
        return block
    if _is_code(block):
        return f"```python\n{block}\n```"
    entries: list[tuple[str, list[str]]] = []
    said: list[str] = []
    for line in lines:
        found = _COLUMN.match(line)
        starts = found and (len(found[2]) > 1 or {each.lstrip("*") for each in found[1].split(", ")} <= names)
        if starts and found:
            entries.append((found[1], [found[3]]))
        elif entries and line.startswith("  "):
            entries[-1][1].append(line.strip())
        elif entries:
            return block  # a sentence in the middle: no block of arguments
        else:
            said.append(line)
    if not entries:
        return block
    listed = [f"`{name}`\n:   " + "\n    ".join(text) for name, text in entries]
    return "\n\n".join(filter(None, ("\n".join(said), "\n\n".join(listed))))


def _is_code(block: str) -> bool:
    """Whether it is a program that does something: a sentence is none."""
    try:
        body = ast.parse(block).body
    except SyntaxError:
        return False
    return any(
        isinstance(node, ast.Call | ast.Subscript | ast.Assign | ast.Import) for each in body for node in ast.walk(each)
    )
