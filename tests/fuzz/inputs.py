"""What an input is: a call into this process, and the command that reads the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.fuzz.material import Material


@dataclass(frozen=True)
class Input:
    """One input. Its call may return, or raise HarnessError with one line; anything else that leaves it is a fault.

    command  arguments of `harness`; None: it would work for minutes, as the input is valid
    """

    call: Callable[[], object]
    command: list[str] | None


Maker: TypeAlias = Callable[[random.Random, Path, Material], Input]
"""From random numbers, an empty folder for files, and the valid material."""
