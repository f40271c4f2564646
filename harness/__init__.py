"""A benchmark of image obfuscation: every defense against every attack, measured the same way."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["evaluate"]

if TYPE_CHECKING:
    from harness.run.engine import evaluate


def __getattr__(name: str) -> Any:
    if name == "evaluate":  # on demand: importing the harness must not import torch
        # not an import statement: code hashes follow those, and the engine changes no figure
        return import_module("harness.run.engine").evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
