"""What a module imports, however deep: read with `ast`, and nothing is run."""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.locate import Location, locate

LIBRARIES = {
    "cv2": "opencv-python-headless",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "piq": "piq",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""Packages whose version stands for their source: thousands of files that nobody edits in place."""


def parse(file: Path) -> ast.Module:
    """The file's syntax tree; read again once it has changed. Not to be written into."""
    state = file.stat()
    return _parsed(file, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, changed: int, size: int) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in someone's docstring is not news here
        return ast.parse(file.read_bytes(), filename=str(file))


def imported(nodes: Iterable[ast.AST], module: str, is_package: bool) -> Iterator[str]:
    """Absolute names of what the import statements among `nodes` bring in, `from a import b` as `a` and `a.b`."""
    package = module if is_package else module.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def reachable_modules(modules: Sequence[str]) -> list[str]:
    """These modules and, transitively, the modules of their own packages that they import, sorted.

    A single file counts the files beside it as its own. Libraries (see LIBRARIES) are not entered.
    """
    found: set[str] = set()
    parents: set[str] = set()  # run before their modules, so their code counts; what they import counts if asked for
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        place = locate(name)
        if name in found or place is None or place.file is None:
            continue
        found.add(name)
        parents |= {parent for parent in _parents(name) if (above := locate(parent)) and above.file}
        if name.split(".")[0] in LIBRARIES or not place.is_python:
            continue
        try:
            tree = parse(place.file)
        except (SyntaxError, ValueError, OSError):
            continue
        names = imported(_run(tree), name, place.is_package)
        waiting += [other for other in names if _is_own(other, name, place)]
    return sorted(found | parents)


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`, which never run."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        waiting += node.orelse if typing_only else ast.iter_child_nodes(node)  # type: ignore[attr-defined]


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _is_own(other: str, module: str, place: Location) -> bool:
    top = module.split(".")[0]
    if other.split(".")[0] == top:
        return True
    if "." in module or place.is_package or place.file is None or place.file.parent.name.endswith("-packages"):
        return False
    neighbour = locate(other.split(".")[0])
    return neighbour is not None and neighbour.file is not None and place.file.parent in neighbour.file.parents
