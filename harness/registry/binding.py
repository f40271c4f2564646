"""Entry -> bound function: the only place where the harness meets plugins. Here they are imported."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.errors import HarnessError, Skipped
from harness.registry.entry import Entry
from harness.registry.moved import new_name
from harness.registry.settings import did_you_mean

POSITIONAL_ARGUMENTS = {
    "defenses": ("sources", "weights", "rng"),
    "attacks": ("observation", "rng"),
    "metrics": ("images", "originals"),
}
"""What a plugin of each section receives before its knobs; a data set's own arguments are the loader's business."""


def bind(entry: Entry) -> Callable[..., Any]:
    """The plugin's function with its knobs in place: imports it, and refuses knobs that are missing or unknown."""
    try:
        function = getattr(importlib.import_module(entry.module), entry.function)
    except Exception as error:  # a plugin may raise anything while it is imported
        raise HarnessError(f"{entry.noun} {entry.name!r} is unavailable: {_reason(entry, error)}") from error
    if not callable(function):
        raise HarnessError(f"{entry.noun} {entry.name!r}: {entry.use} is {type(function).__name__}, not a function")
    _check_knobs(entry, function)
    return partial(function, **copy.deepcopy(entry.params))


def _reason(entry: Entry, error: Exception) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and f"{entry.module}.".startswith(f"{missing}.") and (moved := new_name(entry.module)):
        return f"{entry.module} has moved; write use: {moved}:{entry.function}"
    reason = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
    hint = f"; it has moved to {moved}" if missing and (moved := new_name(missing)) else ""
    return " ".join(reason.split()) + hint


def why_not_ready(entry: Entry) -> str | None:
    """What the plugin lacks on this machine (credentials, weights), or None. Asked before anything runs.

    A plugin that may lack something has in its module `check_ready(**knobs)`, which raises `Skipped`.
    """
    check = getattr(importlib.import_module(entry.module), "check_ready", None)
    try:
        if check is not None:
            check(**copy.deepcopy(entry.params))
    except Skipped as reason:
        return str(reason)
    return None


def _check_knobs(entry: Entry, function: Callable[..., Any]) -> None:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return  # compiled, without a signature: the call itself will tell
    kinds = inspect.Parameter
    who = f"{entry.noun} {entry.name!r}"
    data = POSITIONAL_ARGUMENTS.get(entry.section, ())
    places = [one for one in parameters if one.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    if len(places) < len(data) and not any(one.kind is kinds.VAR_POSITIONAL for one in parameters):
        raise HarnessError(f"{who}: {entry.use} must take ({', '.join(data)}) before its knobs")
    knobs = {
        one.name: one
        for one in [*places[len(data) :], *parameters]
        if one.kind is kinds.KEYWORD_ONLY
        or (one.kind is kinds.POSITIONAL_OR_KEYWORD and one not in places[: len(data)])
    }
    for name, value in entry.params.items():
        if name not in knobs and not any(one.kind is kinds.VAR_KEYWORD for one in parameters):
            near = did_you_mean(name, knobs)
            raise HarnessError(f"{who}: {entry.use} has no knob {name!r}{near}; mend params in {entry.origin}")
        whole = name in knobs and knobs[name].annotation in (int, "int")
        if whole and isinstance(value, float) and not value.is_integer():
            raise HarnessError(f"{who}: {name} is {value}; it must be a whole number")
    for name, one in knobs.items():
        if one.default is kinds.empty and name not in entry.params and (data or one.kind is kinds.KEYWORD_ONLY):
            raise HarnessError(f"{who}: {entry.use} needs {name!r}; add it to params in {entry.origin}")
