"""One entry of a registry file: its fields, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.registry.moved import current_use
from harness.registry.settings import MIXING, check_mixing, check_size, convert_like, did_you_mean
from harness.registry.thresholds import SECTION, Thresholds, read_section
from harness.registry.tune_field import check_tune
from harness.system.documents import read_yaml
from harness.system.numbers import LARGEST
from harness.system.schema import decode, shown

SECTIONS = {
    "defenses": "defense",
    "attacks": "attack",
    "metrics": "metric",
    "evaluators": "evaluator",
    "datasets": "dataset",
}
MODELS = "models"
"""Of networks of one's own (harness.registry.own_networks), which no registry file announces."""
BUILT_IN = "built-in"
PLUGIN_FOLDERS = ("attacks", "defenses", "evaluators")


@dataclass(frozen=True)
class Entry:
    """One plugin as a registry file announces it; the fields are those of the file.

    origin  'built-in', the name of a file, or the name of an installed distribution
    package of the modules beside that file (harness.registry.beside), where its module is one of them
    ready   what says, without importing the plugin, that it lacks something on this machine; "": its module does
    does    one sentence for `harness list`; empty: the first sentence of the function's docstring
    tune    which knob `harness tune` varies over which range (harness.registry.tune_field); no result depends on it
    """

    name: str
    section: str
    use: str
    version: int = 1
    params: dict[str, Any] = field(default_factory=dict)
    mixing: dict[str, Any] | None = None
    traits: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    kind: str | None = None
    higher_is: str | None = None
    cite: str = ""
    origin: str = BUILT_IN
    tune: dict[str, Any] | None = None
    package: str = ""
    ready: str = ""
    does: str = ""

    @property
    def sees_all_releases(self) -> bool:
        """Whether an attack is granted something of every release: what it does then depends on R."""
        return not {"releases", "plans"}.isdisjoint(self.granted)

    @property
    def noun(self) -> str:
        return "model" if self.section == MODELS else SECTIONS[self.section]

    @property
    def module(self) -> str:
        """The module to import; the built-in file names its plugins relative to `harness.plugins`."""
        return self._module(self.use)

    @property
    def ready_module(self) -> str:
        """The module that says whether the plugin lacks something."""
        return self._module(self.ready or self.use)

    def _module(self, use: str) -> str:
        module = use.partition(":")[0]
        if self.package:
            return f"{self.package}.{module}"
        relative = self.origin == BUILT_IN and module.partition(".")[0] in PLUGIN_FOLDERS
        return f"harness.plugins.{module}" if relative else module

    @property
    def is_foreign(self) -> bool:
        """Whether it is somebody else's: of a file of --registry, or of an installed package."""
        return self.origin != BUILT_IN

    @property
    def top(self) -> str:
        """The package that its module is in, all of which is the plugin's."""
        return self.package or self.module.partition(".")[0]

    @property
    def function(self) -> str:
        return self.use.partition(":")[2]

    @property
    def knobs(self) -> tuple[str, ...]:
        """Names that `with_settings` accepts: the plugin's knobs, then a defense's mixing."""
        return (*self.params, *(self.mixing or ()))

    def with_settings(self, overrides: Mapping[str, Any]) -> Entry:
        """A copy with other values of some knobs or parts of the mixing; raises HarnessError for unknown ones."""
        params, mixing = dict(self.params), dict(self.mixing or {})
        for knob, value in overrides.items():
            if knob in mixing:
                mixing[knob] = [value] if knob == "weights" and isinstance(value, (int, float)) else value
            elif knob in params:
                params[knob] = convert_like(params[knob], value, f"{self.name}: {knob}")
            else:
                known = ", ".join(self.knobs) or "it has none"
                near = did_you_mean(knob, self.knobs)
                raise HarnessError(f"{self.name}: no knob called {knob!r}{near} (knobs: {known})")
        return replace(self, params=params, mixing=check_mixing(self.name, mixing) if self.mixing else None)


@dataclass(frozen=True)
class Layer:
    """What one registry file holds."""

    entries: list[Entry]
    thresholds: list[Thresholds]


def read_registry(file: Path, origin: str) -> list[Entry]:
    """The plugins of one registry file, every field checked."""
    return read_layer(file, origin).entries


def read_layer(file: Path, origin: str) -> Layer:
    """Plugins and thresholds of one registry file, every field checked."""
    content = read_yaml(file, "registry file")
    if not isinstance(content, dict):
        raise HarnessError(f"{file}: holds no table; write one of {', '.join(SECTIONS)} and entries under it")
    entries: list[Entry] = []
    found: list[Thresholds] = []
    for section, table in content.items():
        if section == SECTION:
            found = read_section(file, origin, table)
            continue
        if section not in SECTIONS:
            known = [*SECTIONS, SECTION]
            near = did_you_mean(section, known)
            raise HarnessError(f"{file}: no section {shown(section)}{near} (sections: {', '.join(known)})")
        if not isinstance(table, dict | None):
            raise HarnessError(f"{file}: {section} is {shown(table)}; expected a table of entries by name")
        entries += [_entry(file, origin, section, name, fields) for name, fields in (table or {}).items()]
    return Layer(entries, found)


def _entry(file: Path, origin: str, section: str, name: str, given: Any) -> Entry:
    from harness.registry.fields import SHAPES

    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", name) or name == "all":
        raise HarnessError(f"{file}: {section}.{shown(name)}: not a name; use up to 100 letters, digits, _ and -")
    where = f"{file}: {section}.{name}"
    decode(given, SHAPES[section], where)
    fields: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    _check_fields(where, section, fields)
    mixing = check_mixing(where, fields["mixing"]) if "mixing" in fields else None
    return Entry(
        name,
        section,
        use=current_use(where, fields["use"]),
        version=fields["version"],
        params=fields.get("params", {}),
        mixing=mixing,
        traits=tuple(fields.get("traits", ())),
        granted=tuple(fields.get("granted", ())),
        kind=fields.get("kind"),
        higher_is=fields.get("higher_is"),
        cite=fields["cite"],
        origin=origin,
        ready=fields.get("ready", ""),
        does=fields.get("does", ""),
        tune=check_tune(where, fields["tune"], fields) if "tune" in fields else None,
    )


def _check_fields(where: str, section: str, fields: Mapping[str, Any]) -> None:
    """What the fields say together; each for itself has its type already."""
    reserved = [knob for knob in fields.get("params", {}) if section == "defenses" and knob in MIXING]
    if reserved:
        raise HarnessError(f"{where}: params.{reserved[0]} is a part of mixing; give the knob another name")
    check_size(fields.get("params", {}), LARGEST, f"{where}: params")
    granted = fields.get("granted", ())
    if "gallery" in granted and fields["kind"] != "reidentification":
        raise HarnessError(f"{where}: granted gallery is for kind: reidentification only; drop it")
    if "plans" in granted and "control" not in fields.get("traits", ()):
        raise HarnessError(f"{where}: granted plans is for controls only; add control to its traits, or drop it")
