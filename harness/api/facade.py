"""Registered plugins as functions with a signature and a documentation: what `harness.metrics` and others hand out."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from harness.registry import Entry, Registry, load_registry
from harness.registry.settings import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])
REGISTERED = "__registered__"
"""The attribute of such a function that holds its entry: `harness.evaluate` takes it for the plugin's name."""


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The built-in plugins and those of installed packages."""
    return load_registry()


def names(section: str) -> list[str]:
    return list(registry().section(section))


def entry(section: str, name: str) -> Entry:
    return registry().get(section, name)


def unknown(module: str, section: str, name: str) -> str:
    """What an AttributeError says of a name that is not registered."""
    return f"{module} has no {name!r}{did_you_mean(name, names(section))} (harness list {section})"


def described(function: F, of: Entry, first: Sequence[inspect.Parameter]) -> F:
    """The function with the name, the documentation and the settings of an entry.

    first  what it takes before the settings
    """
    settings = {**of.params, **(of.mixing or {})}
    keyword = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=settings[name]) for name in settings]
    function.__name__ = function.__qualname__ = of.name
    function.__doc__ = _documentation(of)
    function.__signature__ = inspect.Signature([*first, *keyword])  # type: ignore[attr-defined]
    setattr(function, REGISTERED, of)
    return function


def _documentation(of: Entry) -> str:
    try:
        found = getattr(importlib.import_module(of.module), of.function).__doc__
    except Exception:  # a plugin of somebody else's: calling it says why
        found = None
    return f"{inspect.cleandoc(found or of.name)}\n\nSource: {of.cite}"
