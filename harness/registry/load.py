"""registry.yaml -> Entry: which plugins there are. harness.registry.binding makes a function of an entry.

Three layers, one name space: the built-in file, files announced by installed packages (entry point group
`harness.registries`), and the user's own files (--registry). No plugin is imported, and no torch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.registry.beside import is_beside, package_of
from harness.registry.entry import BUILT_IN, SECTIONS, Entry, Layer, read_layer
from harness.registry.settings import did_you_mean
from harness.registry.source import locate
from harness.registry.thresholds import Thresholds, refuse_twice

ALL = "all"
_PLUGIN_FOLDERS = ("attacks", "defenses", "evaluators")


@dataclass(frozen=True)
class Registry:
    """Every plugin that is known, in the order of the files.

    problems  what is wrong with installed packages that announce a registry; nothing else suffers from it
    files     the user's own files, for processes that have to load the same registry
    thresholds  calibrated ones, of the images of one data set and size each
    """

    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    thresholds: tuple[Thresholds, ...] = ()

    @property
    def worker_modules(self) -> list[str]:
        """Modules that every worker needs, of which none is somebody else's: imported once for all of them."""
        needed = ("defenses", "metrics", "evaluators")
        entries = (entry for entry in self.entries if entry.section in needed and not entry.is_foreign)
        return [
            "harness.run.worker",
            "harness.run.probe",
            "harness.run.work",
            *sorted({entry.module for entry in entries}),
        ]

    def section(self, section: str) -> dict[str, Entry]:
        """The entries of 'defenses', 'attacks', 'metrics' or 'datasets', by name."""
        return dict(self._sections.get(section, {}))

    @cached_property
    def _sections(self) -> dict[str, dict[str, Entry]]:
        found: dict[str, dict[str, Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.section, {})[entry.name] = entry
        return found

    def get(self, section: str, name: str) -> Entry:
        entries = self._sections.get(section, {})
        if name not in entries:
            near = did_you_mean(name, entries)
            raise HarnessError(f"no {SECTIONS[section]} called {name!r}{near} (harness list {section})")
        return entries[name]

    def find(self, name: str) -> Entry:
        """The entry of that name in any section; `attacks/blur` where several sections have a `blur`."""
        section, slash, short = name.partition("/")
        if slash and section in SECTIONS:
            return self.get(section, short)
        found = [entry for entry in self.entries if entry.name == name]
        if len(found) > 1:
            choices = " or ".join(f"{entry.section}/{name}" for entry in found)
            raise HarnessError(f"{name!r} names several things; say {choices}")
        if not found:
            near = did_you_mean(name, [entry.name for entry in self.entries])
            raise HarnessError(f"nothing is called {name!r}{near} (harness list)")
        return found[0]

    def choose(self, section: str, names: str | Sequence[str], settings: Mapping[str, Any]) -> list[Entry]:
        """The named entries (or "all") with the settings.

        Of several, each takes the knobs that it has; one that none has is refused. A mixing setting is not for
        references that do not mix: they have a single weight.
        """
        asked = [names] if isinstance(names, str) else list(names)
        if "" in asked:
            raise HarnessError(f"an empty {SECTIONS[section]} name; remove the comma")
        every = self.section(section)
        entries = [self.get(section, name) for name in (every if ALL in asked else asked)]
        if len(entries) == 1:
            return [entries[0].with_settings(settings)]
        known = {knob for entry in entries for knob in entry.knobs}
        for knob in settings:
            if knob not in known:
                raise HarnessError(f"none of these {section} has a knob {knob!r}{did_you_mean(knob, known)}")
        return [entry.with_settings({k: v for k, v in settings.items() if _takes(entry, k)}) for entry in entries]


def _takes(entry: Entry, knob: str) -> bool:
    alone = entry.mixing is not None and entry.mixing["weights"] == [1.0]
    return knob in entry.params or (knob in entry.knobs and not alone)


def load_registry(extra_files: Sequence[Path] = ()) -> Registry:
    """The built-in file, then installed packages, then `extra_files`; a name announced twice is an error.

    `use: mydefense:fn` finds mydefense.py beside an extra file, whatever else has that name (harness.registry.beside).
    Its folder also joins the end of sys.path, for what a plugin imports by a name that it computes.
    """
    layers = [read_layer(builtin_file(), BUILT_IN)]
    seen = {builtin_file().resolve()}
    problems = []
    for point in _announcements():
        distribution = point.dist.name if point.dist else point.name
        try:
            file = _announced_file(point.value)
            layer = Layer([], []) if file.resolve() in seen else read_layer(file, distribution)
        except HarnessError as error:
            problems.append(f"package {distribution!r} is unavailable: {error}")
            continue
        layers.append(layer)
        seen.add(file.resolve())
    for file in map(Path, extra_files):
        if file.resolve() in seen:
            continue
        name = file.name if file.name != BUILT_IN else str(file.resolve())
        layer = read_layer(file, name)
        layers.append(replace(layer, entries=_beside(file.resolve().parent, layer.entries)))
        seen.add(file.resolve())
        _make_importable(file.resolve().parent)
    entries = tuple(entry for layer in layers for entry in layer.entries)
    _refuse_duplicates(entries)
    calibrated = [each for layer in layers for each in layer.thresholds]
    refuse_twice(calibrated)
    files = tuple(Path(file).resolve() for file in extra_files)
    return Registry(entries, tuple(problems), files, tuple(calibrated))


def builtin_file() -> Path:
    """registry.yaml: inside this package in a wheel, at the root of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "registry.yaml"
    return inside if inside.is_file() else package.parent / "registry.yaml"


def _announcements() -> list[importlib.metadata.EntryPoint]:
    points = importlib.metadata.entry_points(group="harness.registries")
    return sorted(points, key=lambda point: (point.dist.name if point.dist else "", point.name))


def _announced_file(package: str) -> Path:
    """`harness.registries` entry points name a package; its registry.yaml is read, the package is not imported."""
    place = locate(package)
    if place is None:
        raise HarnessError(f"No module named {package!r}")
    for folder in place.folders:
        if (folder / "registry.yaml").is_file():
            return folder / "registry.yaml"
    raise HarnessError(f"{package!r} holds no registry.yaml; add it to the package's data")


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # at the end: a user's file hides no installed module
    if not any(isinstance(finder, _OutsideCheckout) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OutsideCheckout())
    importlib.invalidate_caches()


def _beside(folder: Path, entries: Iterable[Entry]) -> list[Entry]:
    """The entries, those whose module is in the folder of their file with its package."""
    package = package_of(folder)
    return [replace(each, package=package) if is_beside(folder, *_module_of(each)) else each for each in entries]


def _module_of(entry: Entry) -> tuple[str, list[str]]:
    return entry.use.partition(":")[0], [entry.function]


class _OutsideCheckout:
    """Looks for top-level `attacks`, `defenses` and `evaluators` everywhere but in a checkout of the harness.

    An editable install has its checkout on sys.path, before the folder of a user's file: its folders would hide the
    user's. As top-level packages they are not needed: the harness imports them as harness.plugins.*. Where there are no
    others, they are found as before.
    """

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name not in _PLUGIN_FOLDERS:
            return None
        return PathFinder.find_spec(name, [place for place in sys.path if not _is_plugin_folder(Path(place, name))])


def _is_plugin_folder(folder: Path) -> bool:
    """Whether a harness beside this folder links to it as its built-in plugins; in a wheel there are no links."""
    return (folder.parent / "harness" / "plugins" / folder.name).resolve() == folder.resolve()


def _refuse_duplicates(entries: Iterable[Entry]) -> None:
    seen: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        first = seen.setdefault((entry.section, entry.name), entry)
        if first is not entry:
            raise HarnessError(
                f"{entry.noun} {entry.name!r} is announced twice, by {first.origin} and by {entry.origin}; "
                f"rename it in {entry.origin}"
            )
