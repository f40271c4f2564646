"""A benchmark of image obfuscation: every defense against every attack, measured the same way."""

from __future__ import annotations

import random
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "AttackPlugin",
    "DefensePlugin",
    "Evaluation",
    "HarnessError",
    "Obfuscate",
    "attacks",
    "defenses",
    "evaluate",
    "load_records",
    "metrics",
]

if TYPE_CHECKING:
    from harness import attacks, defenses, metrics
    from harness.api.evaluate import evaluate
    from harness.api.evaluation import Evaluation
    from harness.api.functions import AttackPlugin, DefensePlugin
    from harness.api.tables import load_records
    from harness.errors import HarnessError
    from harness.transforms import Obfuscate

_PLACES = {
    "AttackPlugin": "api.functions",
    "DefensePlugin": "api.functions",
    "Evaluation": "api.evaluation",
    "HarnessError": "errors",
    "Obfuscate": "transforms",
    "evaluate": "api.evaluate",
    "load_records": "api.tables",
}


def __getattr__(name: str) -> Any:
    # On demand: importing the harness must not import torch. No import statements: code hashes follow those, and what
    # is handed out here changes no figure.
    if name in ("attacks", "defenses", "metrics"):
        return _module(name)
    if name in _PLACES:
        return getattr(_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _module(name: str) -> Any:
    """A module of the harness; its import leaves the state of Python's `random`, which rich draws from when loaded."""
    state = random.getstate()
    try:
        return import_module(f"harness.{name}")
    finally:
        random.setstate(state)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
