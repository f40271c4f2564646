"""Where a module is, found on the path without running it or one of its packages."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
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
