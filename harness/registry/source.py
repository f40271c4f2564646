"""Where a module is and what it imports, read from its source: nothing is imported and nothing runs."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from harness.registry.beside import folder_of, resolved


@dataclass(frozen=True)
class Location:
    """Where a module is: its file (None for a namespace package or a built-in), a package's folders."""

    file: Path | None
    folders: tuple[Path, ...] = ()

    @property
    def is_python(self) -> bool:
        return self.file is not None and self.file.suffix == ".py"

    @property
    def is_package(self) -> bool:
        return bool(self.folders)

    @property
    def is_namespace(self) -> bool:
        return self.is_package and self.file is None


def locate(module: str) -> Location | None:
    """Where `module` would be imported from, found without running any of its parents.

    What was found on a path stays found on it; what is missing is looked for again.
    """
    key = module, *sys.path
    if key not in _located:
        place = _look_for(module)
        if place is None:
            return None
        _located[key] = place
    return _located[key]


_located: dict[tuple[str, ...], Location] = {}


def _look_for(module: str) -> Location | None:
    top, *rest = module.split(".")
    folder = folder_of(top)
    if folder is not None:
        return _below(Location(None, (folder,)), rest)
    try:
        spec = importlib.util.find_spec(top)  # a name without dots runs nothing
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    return _below(Location(Path(spec.origin) if spec.origin and spec.has_location else None, folders), rest)


def _below(package: Location, names: Iterable[str]) -> Location | None:
    place: Location | None = package
    for name in names:
        place = submodule(place.folders, name) if place else None
    return place


def submodule(folders: Iterable[Path], name: str) -> Location | None:
    """The module or package of that name in one of these folders."""
    namespace = []
    for folder in folders:
        package = folder / name
        if (package / "__init__.py").is_file():
            return Location(package / "__init__.py", (package,))
        for suffix in (".py", *EXTENSION_SUFFIXES):
            if (folder / f"{name}{suffix}").is_file():
                return Location(folder / f"{name}{suffix}")
        if package.is_dir():
            namespace.append(package)
    return Location(None, tuple(namespace)) if namespace else None


LIBRARIES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "numba": "numba",
    "numpy": "numpy",
    "filelock": "filelock",
    "google": "google-cloud-vision",
    "grpc": "grpcio",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "piq": "piq",
    "platformdirs": "platformdirs",
    "plotly": "plotly",
    "ray": "ray",
    "rich": "rich",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
    "yaml": "pyyaml",
}
"""Packages whose source is not read, with the distributions that they come from."""


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
            yield from (resolved(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            base = base if node.level else resolved(module, base, [alias.name for alias in node.names])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def defines(body: Iterable[ast.stmt], name: str) -> bool:
    """Whether the statements at the top of a module bind the name, or may."""
    return any(bound in (name, "*", "__getattr__") for statement in body for bound in _bound_names(statement))


def first_sentence(body: Iterable[ast.stmt], name: str) -> str:
    """Of the docstring of the function of this name at the top of a module; empty where it has none."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            paragraph = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]
    return ""


def _bound_names(node: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a module binds, also inside `if`, `try` and `with`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (found.id for target in targets for found in ast.walk(target) if isinstance(found, ast.Name))
    elif isinstance(node, ast.If | ast.Try | ast.With):
        for child in ast.walk(node):
            if isinstance(child, ast.stmt) and child is not node:
                yield from _bound_names(child)
