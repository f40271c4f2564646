"""Import a plugin and bind its knobs: the only place where the harness imports plugins."""

from __future__ import annotations

import copy
import importlib
import inspect
import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from harness.errors import HarnessError, Skipped
from harness.registry.beside import plain
from harness.registry.entry import Entry
from harness.registry.guard import Guarded, failure, guarded
from harness.registry.moved import MOVED, has_function, moved_use, new_name
from harness.registry.settings import did_you_mean

POSITIONAL_ARGUMENTS = {
    "defenses": ("sources", "weights", "rng"),
    "attacks": ("observation", "rng"),
    "metrics": ("images", "originals"),
}
"""What a plugin of each section receives before its knobs; arguments of data sets are checked by their functions."""


def bind(entry: Entry) -> Callable[..., Any]:
    """The plugin's function with its knobs bound; raises HarnessError for a missing or unknown knob."""
    try:
        with guarded(entry) if entry.is_foreign else nullcontext():
            function = getattr(importlib.import_module(entry.module), entry.function)
    except Exception as error:  # a plugin may raise anything while it is imported
        raise HarnessError(f"{entry.noun} {entry.name!r} is unavailable: {_reason(entry, error)}") from error
    if not callable(function):
        raise HarnessError(f"{entry.noun} {entry.name!r}: {entry.use} is {type(function).__name__}, not a function")
    _check_knobs(entry, function)
    called = Guarded(entry, function) if entry.is_foreign else function
    return partial(called, **copy.deepcopy(entry.params))


def _reason(entry: Entry, error: Exception) -> str:
    missing = plain(str(error.name)) if isinstance(error, ModuleNotFoundError) and error.name else None
    module = plain(entry.module)
    if missing and f"{module}.".startswith(f"{missing}.") and (advice := moved_use(module, entry.function)):
        return advice
    if isinstance(error, ImportError) and (error.name or "") in MOVED:  # a package at the place of an old module
        name = re.search(r"cannot import name '(\w+)'", str(error))
        missing = error.name if name and has_function(MOVED[str(error.name)], name[1]) else missing
    reason = plain(str(error)) if isinstance(error, ImportError | AttributeError) else failure(error, of=entry)
    hint = f"; it has moved to {moved}" if missing and (moved := new_name(missing)) else ""
    return " ".join(reason.split()) + hint


def why_not_ready(entry: Entry) -> str | None:
    """What the plugin lacks on this machine (credentials, weights), or None. Called before anything runs.

    A plugin that may lack something defines in its module `check_ready(**knobs)`, which raises `Skipped`; or its entry
    names such a function elsewhere (`ready: module:function`), where importing the plugin itself takes seconds.
    """
    try:
        with guarded(entry) if entry.is_foreign else nullcontext():
            name = entry.ready.partition(":")[2] or "check_ready"
            check = getattr(importlib.import_module(entry.ready_module), name, None)
            if check is None and entry.ready:
                raise HarnessError(
                    f"{entry.noun} {entry.name!r}: ready is {entry.ready}, and there is no such function"
                )
            if check is not None:
                check(**copy.deepcopy(entry.params))
    except Skipped as reason:
        return str(reason)
    return None


def _check_knobs(entry: Entry, function: Callable[..., Any]) -> None:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return  # compiled, without a signature: the call itself fails
    kinds = inspect.Parameter
    who = f"{entry.noun} {entry.name!r}"
    first = POSITIONAL_ARGUMENTS.get(entry.section, ())
    positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    if len(positional) < len(first) and not any(p.kind is kinds.VAR_POSITIONAL for p in parameters):
        raise HarnessError(f"{who}: {entry.use} must take ({', '.join(first)}) before its knobs")
    knobs = {
        p.name: p
        for p in [*positional[len(first) :], *parameters]
        if p.kind is kinds.KEYWORD_ONLY or (p.kind is kinds.POSITIONAL_OR_KEYWORD and p not in positional[: len(first)])
    }
    for name, value in entry.params.items():
        if name not in knobs and not any(p.kind is kinds.VAR_KEYWORD for p in parameters):
            near = did_you_mean(name, knobs)
            fix = f"{near} Fix" if near else "; fix"
            raise HarnessError(f"{who}: {entry.use} has no knob {name!r}{fix} params in {entry.origin}")
        is_integer = name in knobs and knobs[name].annotation in (int, "int")
        if is_integer and isinstance(value, float) and not value.is_integer():
            raise HarnessError(f"{who}: {name} is {value}; it must be a whole number")
    for name, p in knobs.items():
        if p.default is kinds.empty and name not in entry.params and (first or p.kind is kinds.KEYWORD_ONLY):
            raise HarnessError(f"{who}: {entry.use} needs {name!r}; add it to params in {entry.origin}")
