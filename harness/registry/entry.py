"""One entry of a registry file: its fields, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.registry.moved import current_use
from harness.registry.settings import MIXING, RegistryYaml, check_mixing, convert_like, did_you_mean, is_json_value
from harness.registry.tune_field import check_tune

SECTIONS = {
    "defenses": "defense",
    "attacks": "attack",
    "metrics": "metric",
    "evaluators": "evaluator",
    "datasets": "dataset",
}
COMMON = ("use", "version", "params", "traits", "cite")
FIELDS = {
    "defenses": (*COMMON, "mixing", "tune"),
    "attacks": (*COMMON, "kind", "granted"),
    "metrics": (*COMMON, "higher_is"),
    "evaluators": COMMON,
    "datasets": COMMON,
}
REQUIRED = {
    "use": "where its function is, as module:function",
    "version": "a whole number, raised when the code's meaning changes",
    "cite": "where it comes from",
    "mixing": "a table with " + ", ".join(MIXING),
    "kind": "recognition, reconstruction, reidentification or attribute",
    "higher_is": "farther or closer",
}
CHOICES = {
    "kind": ("recognition", "reconstruction", "reidentification", "attribute"),
    "higher_is": ("farther", "closer"),
}
BUILT_IN = "built-in"
PLUGIN_FOLDERS = ("attacks", "defenses", "evaluators")
GRANTS = ("labels", "releases", "defense", "public", "gallery", "plans")


@dataclass(frozen=True)
class Entry:
    """One plugin as a registry file announces it; the fields are those of the file.

    origin  'built-in', the name of a file, or the name of an installed distribution
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

    @property
    def sees_all_releases(self) -> bool:
        """Whether an attack is granted something of every release: what it does then depends on R."""
        return not {"releases", "plans"}.isdisjoint(self.granted)

    @property
    def noun(self) -> str:
        return SECTIONS[self.section]

    @property
    def module(self) -> str:
        """The module to import; the built-in file names its plugins relative to `harness.plugins`."""
        module = self.use.partition(":")[0]
        relative = self.origin == BUILT_IN and module.partition(".")[0] in PLUGIN_FOLDERS
        return f"harness.plugins.{module}" if relative else module

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


def read_registry(file: Path, origin: str) -> list[Entry]:
    """The entries of one registry file, every field checked."""
    try:
        content = yaml.load(file.read_bytes(), RegistryYaml)
    except FileNotFoundError:
        raise HarnessError(f"{file}: no such registry file") from None
    except OSError as error:
        raise HarnessError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise HarnessError(f"{file}:{line} not YAML: {reason}") from None
    if not isinstance(content, dict):
        raise HarnessError(f"{file}: holds no table; write one of {', '.join(SECTIONS)} and entries under it")
    entries = []
    for section, table in content.items():
        if section not in SECTIONS:
            near = did_you_mean(str(section), SECTIONS)
            raise HarnessError(f"{file}: no section {section!r}{near} (sections: {', '.join(SECTIONS)})")
        if not isinstance(table, dict | None):
            raise HarnessError(f"{file}: {section} is {table!r}; expected a table of entries by name")
        entries += [_entry(file, origin, section, name, fields) for name, fields in (table or {}).items()]
    return entries


def _entry(file: Path, origin: str, section: str, name: Any, fields: Any) -> Entry:
    where = f"{file}: {section}.{name}"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name) or name == "all":
        raise HarnessError(f"{where}: not a name; use letters, digits, _ and - (quote it if YAML reads it otherwise)")
    if not isinstance(fields, dict):
        raise HarnessError(f"{where}: is {fields!r}; expected a table with {', '.join(FIELDS[section])}")
    for key in fields:
        if key not in FIELDS[section]:
            near = did_you_mean(str(key), FIELDS[section])
            raise HarnessError(f"{where}: no field {key!r}{near} (fields: {', '.join(FIELDS[section])})")
    for key, meaning in REQUIRED.items():
        if key in FIELDS[section] and fields.get(key) in (None, ""):
            raise HarnessError(f"{where}: no {key}; add {key}: {meaning}")
    _check_fields(where, section, fields)
    mixing = check_mixing(where, fields["mixing"]) if "mixing" in fields else None
    return Entry(
        name,
        section,
        use=current_use(where, fields["use"]),
        version=fields["version"],
        params=fields.get("params") or {},
        mixing=mixing,
        traits=tuple(fields.get("traits") or ()),
        granted=tuple(fields.get("granted") or ()),
        kind=fields.get("kind"),
        higher_is=fields.get("higher_is"),
        cite=fields["cite"],
        origin=origin,
        tune=check_tune(where, fields["tune"], fields) if "tune" in fields else None,
    )


def _check_fields(where: str, section: str, fields: Mapping[str, Any]) -> None:
    use, version, params = fields["use"], fields["version"], fields.get("params") or {}
    if not isinstance(use, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", use):
        raise HarnessError(f"{where}: use is {use!r}; expected module:function, such as defenses.mix:mix")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise HarnessError(f"{where}: version is {version!r}; expected a whole number from 1")
    if not isinstance(fields["cite"], str):
        raise HarnessError(f"{where}: cite is {fields['cite']!r}; expected text")
    if not isinstance(params, dict) or not is_json_value(params):
        raise HarnessError(f"{where}: params are {params!r}; expected a table of numbers, text, true or false, lists")
    reserved = [knob for knob in params if section == "defenses" and knob in MIXING]
    if reserved:
        raise HarnessError(f"{where}: params.{reserved[0]} is a part of mixing; give the knob another name")
    for key in ("traits", "granted"):
        words = fields.get(key) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise HarnessError(f"{where}: {key} is {words!r}; expected a list of words")
    for key, allowed in CHOICES.items():
        if key in fields and fields[key] not in allowed:
            raise HarnessError(f"{where}: {key} is {fields[key]!r}; use {' or '.join(allowed)}")
    for grant in fields.get("granted") or []:
        if grant not in GRANTS:
            raise HarnessError(f"{where}: granted {grant!r} is unknown{did_you_mean(grant, GRANTS)}")
        if grant == "gallery" and fields["kind"] != "reidentification":
            raise HarnessError(f"{where}: granted gallery is for kind: reidentification only; drop it")
        if grant == "plans" and "control" not in (fields.get("traits") or []):
            raise HarnessError(f"{where}: granted plans is for controls only; add control to its traits, or drop it")
