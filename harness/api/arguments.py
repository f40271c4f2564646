"""Arguments of the Python API, checked by type: each refusal is one sentence."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.registry.settings import did_you_mean
from harness.system.schema import shown
from harness.trackers import TRACKERS

WHOLE = ("epochs", "releases", "limit", "targets", "size", "threads", "workers")
_NONE = ("releases", "limit", "size", "threads", "public_share", "model", "recipe", "checkpoint", "workers", "name")


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as `RunOptions` takes them. HarnessError for one of another type."""
    kinds: dict[str, Callable[[str, Any], Any]] = {
        **dict.fromkeys(WHOLE, whole),
        "seeds": _seeds,
        "public_share": _number,
        "utility": _flag,
        "model": _text,
        "recipe": _text,
        "name": _text,
        "device": _device,
        "records": path,
        "checkpoint": path,
        "defense_settings": _settings,
        "attack_settings": _settings,
    }
    return {
        name: value if value is None and (name in _NONE or name.endswith("_settings")) else kinds[name](name, value)
        for name, value in given.items()
    }


def refuse_unknown(who: str, unknown: Iterable[str], known: Iterable[str]) -> None:
    """HarnessError for arguments that there are none of."""
    for name in unknown:
        near = did_you_mean(name, known) or f"; it takes {', '.join(known)}"
        raise HarnessError(f"{who} takes no argument {name!r}{near}")


def files(name: str, given: Any) -> list[Path]:
    """One path or several."""
    several = given if isinstance(given, list | tuple) else [given]
    return [path(name, each) for each in several]


def trackers(given: Any) -> list[str]:
    """The names of trackers, each once."""
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, list | tuple):
        raise _refused("log", given, f"{' or '.join(TRACKERS)}, or a list of these")
    for name in several:
        if name not in TRACKERS:
            near = did_you_mean(name, TRACKERS) if isinstance(name, str) else ""
            raise HarnessError(f"log is {shown(name)}{near}; expected {' or '.join(TRACKERS)}, or a list of these")
    return list(dict.fromkeys(several))


def whole(name: str, value: Any) -> int:
    """A whole number. HarnessError for anything else."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # NumPy's integers too
        except (TypeError, ValueError, RuntimeError):  # RuntimeError: of tensors
            pass
    raise _refused(name, value, "a whole number")


def _seeds(name: str, value: Any) -> int | list[int]:
    if isinstance(value, Sequence | range) and not isinstance(value, str):
        return [whole(name, seed) for seed in value]
    try:
        return whole(name, value)
    except HarnessError:
        raise _refused(name, value, "how many, or a list of them") from None


def _number(name: str, value: Any) -> float:
    if not isinstance(value, bool) and hasattr(value, "__float__"):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):  # arrays and tensors of several numbers
            pass
    raise _refused(name, value, "a number")


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refused(name, value, "True or False")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refused(name, value, "text")
    return value


def _device(name: str, value: Any) -> str:
    text = str(value)  # a torch.device too
    if not isinstance(value, str) and type(value).__name__ != "device":
        raise _refused(name, value, "auto, cpu or cuda")
    return text


def path(name: str, value: Any) -> Path:
    """A path that a file may have. HarnessError for anything else."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise _refused(name, value, "a path")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        raise _refused(name, value, "a path") from None
    return Path(text)


def _settings(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(knob, str) for knob in value):
        raise _refused(name, value, "a table of knobs and their values, such as {'block': 4}")
    return dict(as_lists(dict(value)))


def as_lists(value: Any) -> Any:
    """A setting with its tuples as lists, as a record holds it; NumPy's arrays and numbers as lists and numbers."""
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.ma.MaskedArray):
        return as_lists(value.tolist()) if value.dtype.kind in "biufU" else value
    if isinstance(value, dict):
        return {name: as_lists(part) for name, part in value.items()}
    return list(map(as_lists, value)) if isinstance(value, list | tuple) else value


def _refused(name: str, value: Any, expected: str) -> HarnessError:
    return HarnessError(f"{name} is {' '.join(shown(value).split())}; expected {expected}")
