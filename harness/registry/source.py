"""Where a module is, found on the path without running it or one of its packages.

What a module imports, however deep: read with `ast`, and nothing is run.

A hash of modules that only their code can move.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


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
    try:
        spec = importlib.util.find_spec(top)  # a name without dots runs nothing
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    place: Location | None = Location(Path(spec.origin) if spec.origin and spec.has_location else None, folders)
    for name in rest:
        place = _child(place.folders, name) if place else None
    return place


def _child(folders: Iterable[Path], name: str) -> Location | None:
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
