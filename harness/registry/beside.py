"""Modules beside a registry file, imported as parts of a package of their own.

`use: glob:glob` means the `glob.py` beside the file. Under its plain name Python would find its own `glob`, or that of
an installed package, or the one beside another registry file. So every folder with a registry file is a package with a
name made of its path, and the import statements of the modules in it look there first, as those of a script do beside
the script. Nothing else sees these modules: a library that imports `glob` gets Python's.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "harness_registry_"
_NAME = re.compile(rf"{_PREFIX}[0-9a-f]{{12}}\.?")
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)
_folders: dict[str, Path] = {}


def package_of(folder: Path) -> str:
    """The package of the modules in this folder; from now on it can be imported. Equal in every process."""
    folder = folder.resolve()
    name = _PREFIX + hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:12]
    _folders[name] = folder
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return name


def folder_of(package: str) -> Path | None:
    """The folder that this package stands for."""
    return _folders.get(package)


def is_beside(folder: Path, module: str, names: Sequence[str] = ()) -> bool:
    """Whether `import module` or `from module import names` finds the module in this folder.

    A folder without `__init__.py` counts where it holds what is asked for: pictures in `torch/` hide no torch.
    """
    top, *_ = parts = module.split(".")
    if top == "harness":
        return False
    for part in parts:
        if (folder / part / "__init__.py").is_file() or any((folder / f"{part}{end}").is_file() for end in _SUFFIXES):
            return True
        folder = folder / part
        if not folder.is_dir():
            return False
    return any(is_beside(folder, name) for name in names if name.isidentifier())


def resolved(importer: str, module: str, names: Sequence[str] = ()) -> str:
    """The full name of what an import statement in the module `importer` means by `module`.

    A module that imports its own name means the one that it hides.
    """
    package = importer.partition(".")[0]
    folder = _folders.get(package)
    if folder is None or not is_beside(folder, module, names):
        return module
    inside = f"{package}.{module}"
    return module if inside == importer and PathFinder.find_spec(module.partition(".")[0]) is not None else inside


def plain(text: str) -> str:
    """A message with the names of modules as their authors wrote them."""
    return _NAME.sub("", text)


class _Finder:
    """Finds the packages of folders, and their modules."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        folder = _folders.get(name.partition(".")[0])
        if folder is None:
            return None
        if "." not in name:
            spec: ModuleSpec | None = ModuleSpec(name, None, is_package=True)
            assert spec is not None
            spec.submodule_search_locations = [str(folder)]
            return spec
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        found = {**vars(builtins), "__import__": partial(_import, module.__name__)}
        module.__dict__["__builtins__"] = found  # where import statements look for what they call
        super().exec_module(module)


def _import(
    importer: str,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    full = name if level else resolved(importer, name, fromlist or ())
    if full == name or fromlist:
        return builtins.__import__(full, globals, locals, fromlist or (), level)
    importlib.import_module(full)
    return sys.modules[".".join(full.split(".")[:2])]  # `import a.b` binds a
