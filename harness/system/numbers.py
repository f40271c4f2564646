"""Numbers that people type: finite decimals, and whole numbers within bounds that are stated.

A count in the billions is a slip of the hand, and is refused before anything is planned, loaded or allocated.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

from harness.errors import HarnessError
from harness.system.schema import shown

MOST = {
    "at_most": 1_000_000,
    "epochs": 100_000,
    "images": 1_000,
    "limit": 100_000_000,
    "most": 10_000,
    "releases": 10_000,
    "seed": 2**31 - 1,
    "seeds": 1_000,
    "size": 4_096,
    "targets": 1_000_000,
    "threads": 1_024,
    "train_epochs": 1_000_000,
    "workers": 1_024,
}
"""The most that each option takes, wherever it is given: on the command line, in a sweep file, from Python."""
_SIZES = ("limit", "seed", "size")
LARGEST = 1e15
"""The largest setting of a plugin, in size: its square is still a number in single precision."""
LARGEST_WHOLE = 1_000_000
"""The same where the registry's value is a whole number."""
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def finite(text: str) -> float | None:
    """A number with a decimal point as people write it; None for anything else that Python's float() takes."""
    value = float(text) if len(text) <= 100 and _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def check_count(name: str, value: int, least: int = 1) -> None:
    """HarnessError where an option's value is below the least or above MOST[name]."""
    few, many, fewer = ("small", "large", "less") if name in _SIZES else ("few", "many", "fewer")
    if value < least:
        raise HarnessError(f"{name} {shown(value)} is too {few}; use {least} or more")
    if value > MOST[name]:
        raise HarnessError(f"{name} {shown(value)} is too {many}; use {MOST[name]:,} or {fewer}")


def count(name: str, least: int = 1) -> Callable[[str], int]:
    """Reads the option of that name (see MOST) for argparse."""

    def read(text: str) -> int:
        number = whole(text)
        if number is None:
            raise argparse.ArgumentTypeError(f"{shown(text)} is no count; use a whole number, {least} or more")
        try:
            check_count(name, number, least)
        except HarnessError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return number

    return read


def decimal(text: str) -> float:
    """Reads a finite number for argparse."""
    number = finite(text.strip())
    if number is None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number; use one with a decimal point")
    return number


def whole(text: str) -> int | None:
    """A whole number of at most 18 digits; None for anything else, also `1_000` and digits of other scripts."""
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,18}", text.strip()) else None
