"""One's own functions as defenses and attacks: a registry file that names them, as others write one by hand.

A function at the top of a module is named there. Any other (of a notebook, of the script that runs, inside another
function) is written out as a module with what it uses (harness.api.written). Either way a record's identity is the
function's code, as for every plugin of somebody else's.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from harness.api.arguments import as_lists
from harness.api.facade import REGISTERED
from harness.api.written import source_of
from harness.errors import HarnessError
from harness.registry import ALL, Entry, Registry, load_registry, read_registry
from harness.registry.binding import POSITIONAL_ARGUMENTS
from harness.registry.entry import SECTIONS
from harness.registry.settings import MIXING, did_you_mean, is_json_value
from harness.registry.source import locate
from harness.system.files import write_atomically
from harness.system.private import passing_folder
from harness.system.schema import shown

Function: TypeAlias = Callable[..., Any]
_MIXING: dict[str, Any] = {
    "weights": [0.75, 0.25],
    "pairing": "permutation",
    "intra_class": False,
    "label": "dominant",
}
_FILE = "functions.yaml"
_MODULE = "functions"


@dataclass(frozen=True)
class DefensePlugin:
    """A defense of one's own, with what the registry says of others.

    function  `function(sources, weights, rng, *, knobs) -> Images | Mixture`, see `harness.types.Defense`
    name      None: the function's
    params    its knobs; those that are not given have the defaults of the function
    mixing    weights, pairing, intra_class, label; what is not given is that of `shuffle_mix`
    traits    what attacks may assume, such as "linear"
    """

    function: Function
    name: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    mixing: Mapping[str, Any] = field(default_factory=dict)
    traits: Sequence[str] = ()

    @property
    def section(self) -> str:
        return "defenses"

    def fields(self) -> dict[str, Any]:
        return {"mixing": {name: as_lists(value) for name, value in {**_MIXING, **self.mixing}.items()}}


@dataclass(frozen=True)
class AttackPlugin:
    """An attack of one's own, with what the registry says of others.

    function  `function(observation, rng, *, knobs) -> Guess`, see `harness.types.Attack`
    name      None: the function's
    params    its knobs; those that are not given have the defaults of the function
    kind      reconstruction, recognition, reidentification or attribute: which scores it gets
    granted   what it may see beside release 0 (harness.observation): labels, releases, defense, public, gallery
    traits    such as "learned"
    """

    function: Function
    name: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "reconstruction"
    granted: Sequence[str] = ("labels", "releases", "defense", "public")
    traits: Sequence[str] = ()

    @property
    def section(self) -> str:
        return "attacks"

    def fields(self) -> dict[str, Any]:
        return {"kind": self.kind, "granted": list(self.granted)}


Plugin: TypeAlias = DefensePlugin | AttackPlugin
Named: TypeAlias = "str | Function | Plugin"
"""How a defense or an attack is given: a name, a function with the plugin contract, a plugin."""
Several: TypeAlias = "Named | Sequence[Named]"


def with_functions(
    given: Mapping[str, Several], registry: Registry, more: Sequence[Path] = ()
) -> tuple[Registry, dict[str, list[str]]]:
    """A registry that holds the functions among these, and the names of all, by section.

    given  section ("defenses", "attacks") -> what was given for it
    more   further registry files
    Raises HarnessError for what is neither a name nor a function with the contract.
    """
    names: dict[str, list[str]] = {}
    files = list(more)
    seen: dict[tuple[str, str], Plugin] = {}
    for section, several in given.items():
        names[section] = []
        for each in several if isinstance(several, list | tuple) else [several]:
            one = _name_or_plugin(section, each, registry)
            if isinstance(one, str):
                names[section].append(one)
                continue
            name, file = _written_entry(one, registry)
            before = seen.setdefault((section, name), one)
            if before is one:
                files.append(file)
            elif before != one:
                fix = f"give one another name: {_class(section)}(f, name=...)"
                raise HarnessError(f"two {section} are called {name!r}; {fix}")
            names[section].append(name)
        if not names[section]:
            raise HarnessError(f"no {SECTIONS[section]} is given; give a name (harness list {section}) or {ALL!r}")
    return (load_registry([*registry.files, *files]) if files else registry), names


def entry_of(section: str, given: Named, registry: Registry) -> tuple[Entry, Registry]:
    """The entry of one defense or attack, and the registry that holds it."""
    if isinstance(given, list | tuple):
        raise HarnessError(f"{SECTIONS[section]} {shown(given)} is a list; give one")
    registry, names = with_functions({section: given}, registry)
    return registry.get(section, names[section][0]), registry


def _name_or_plugin(section: str, given: Any, registry: Registry) -> str | Plugin:
    noun, expected = SECTIONS[section], _class(section)
    if isinstance(given, str):
        return given
    registered = getattr(given, REGISTERED, None)
    if registered is not None:
        if registered.section != section:
            raise HarnessError(f"{noun} {registered.name!r} is of the {registered.section}; give one of the {section}")
        return str(registered.name)
    if isinstance(given, DefensePlugin | AttackPlugin):
        if given.section != section:
            raise HarnessError(f"{noun} {given.function!r} is a {type(given).__name__}; give a {expected}")
        return _checked(section, given)
    if not callable(given):
        raise HarnessError(
            f"{noun} {shown(given)} is {type(given).__name__}; expected a name, a function, or a list of them"
        )
    for entry in registry.section(section).values():
        if entry.name == entry.function == getattr(given, "__name__", "") and entry.module == given.__module__:
            return entry.name
    plugin: Plugin = DefensePlugin(given) if section == "defenses" else AttackPlugin(given)
    return _checked(section, plugin)


def _class(section: str) -> str:
    return {"defenses": "DefensePlugin", "attacks": "AttackPlugin"}[section]


def _checked(section: str, plugin: Plugin) -> Plugin:
    """The plugin with a plain function: the knobs of a `functools.partial` are its params."""
    function, params = plugin.function, dict(plugin.params)
    while isinstance(function, functools.partial):
        if function.args:
            raise HarnessError(
                f"{SECTIONS[section]} {function!r} binds {len(function.args)} arguments by position; bind knobs by name"
            )
        params = {**function.keywords, **params}
        function = function.func
    if not inspect.isfunction(function):
        kind = "a class" if inspect.isclass(function) else f"of type {type(function).__name__}"
        raise HarnessError(
            f"{SECTIONS[section]} {shown(repr(function))} is {kind}; expected a function: its code is what records are "
            "named by"
        )
    return replace(plugin, function=function, params=params)


def _written_entry(plugin: Plugin, registry: Registry) -> tuple[str, Path]:
    """The name of a plugin, and a registry file that holds it."""
    function, section = plugin.function, plugin.section
    name = plugin.name or function.__name__
    noun = SECTIONS[section]
    if name in registry.section(section):
        raise HarnessError(
            f"{noun} {name!r} is the name of a registered one; rename the function, or give {_class(section)}(f, "
            "name=...)"
        )
    source = None if _is_importable(function) else source_of(function, f"{noun} {name!r}")
    fields = {
        "use": f"{function.__module__ if source is None else _MODULE}:{function.__name__}",
        "version": 1,
        "params": _params(plugin, name),
        "traits": list(plugin.traits),
        "cite": "a function that the caller gave",
        **plugin.fields(),
    }
    for what, value in {**fields["params"], **fields.get("mixing", {})}.items():
        if not is_json_value(value):
            raise HarnessError(
                f"{noun} {name!r}: {what} is {shown(value)}, which cannot be recorded; use numbers, text, true or "
                "false, or lists of them"
            )
    text = yaml.safe_dump({section: {name: fields}}, sort_keys=False)
    digest = hashlib.sha256(f"{text}\0{source}".encode(errors="backslashreplace")).hexdigest()[:16]
    folder = passing_folder() / f"functions-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if source is not None:
        _write(folder / f"{_MODULE}.py", source)
    _write(folder / _FILE, text)
    try:
        (entry,) = read_registry(folder / _FILE, _FILE)
    except HarnessError as error:
        raise HarnessError(f"{noun} {str(error).replace(f'{folder / _FILE}: ', '')}") from None
    if source is not None:
        sys.modules.pop(entry.module, None)  # it may hold what its last run changed, or modules before a reload
    return name, folder / _FILE


def _write(file: Path, text: str) -> None:
    if not file.exists():
        write_atomically(file, lambda stream: stream.write(text.encode()))


def _params(plugin: Plugin, name: str) -> dict[str, Any]:
    """Every knob of the function with its value: as given, else the function's default."""
    noun, first = SECTIONS[plugin.section], POSITIONAL_ARGUMENTS[plugin.section]
    kinds = inspect.Parameter
    parameters = list(inspect.signature(plugin.function).parameters.values())
    positional = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    if len(positional) < len(first) and not any(each.kind is kinds.VAR_POSITIONAL for each in parameters):
        raise HarnessError(f"{noun} {name!r}: the function must take ({', '.join(first)}) before its knobs")
    knobs = [*positional[len(first) :], *(each for each in parameters if each.kind is kinds.KEYWORD_ONLY)]
    params: dict[str, Any] = {}
    for knob in knobs:
        if knob.name in MIXING and plugin.section == "defenses":
            raise HarnessError(f"{noun} {name!r}: the knob {knob.name} is a part of mixing; give it another name")
        if knob.name in plugin.params:
            params[knob.name] = plugin.params[knob.name]
        elif knob.default is kinds.empty:
            raise HarnessError(
                f"{noun} {name!r}: its knob {knob.name} has no value; give it a default, or "
                f"functools.partial({plugin.function.__name__}, {knob.name}=...)"
            )
        elif is_json_value(knob.default):
            params[knob.name] = knob.default
    if not any(each.kind is kinds.VAR_KEYWORD for each in parameters):
        for other in plugin.params:
            if other not in params:
                known = did_you_mean(other, params) or f" (knobs: {', '.join(params) or 'it has none'})"
                raise HarnessError(f"{noun} {name!r}: the function has no knob {other!r}{known}")
    return {knob: as_lists(value) for knob, value in {**params, **plugin.params}.items()}


def _is_importable(function: Function) -> bool:
    """Whether every process finds the function by its module and its name."""
    module, name = function.__module__, function.__qualname__
    if module in ("__main__", "__mp_main__", None) or not name.isidentifier():
        return False
    place = locate(module)
    found = getattr(sys.modules.get(module), name, None)
    return found is function and place is not None and place.is_python
