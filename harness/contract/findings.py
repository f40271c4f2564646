"""What a check is, and what comes of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from harness.errors import HarnessError, Inapplicable, Skipped

Check: TypeAlias = tuple[str, Callable[[], None]]
"""What is asked, and the function that raises where it does not hold."""


@dataclass(frozen=True)
class Finding:
    """One check: what was asked, whether it holds, and if not why."""

    check: str
    ok: bool
    why: str = ""


class Broken(Exception):  # noqa: N818  (a finding, not an error)
    """A check does not hold; the message says why."""


def tried(name: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except (Broken, HarnessError) as error:
        return Finding(name, False, str(error))
    except (Skipped, Inapplicable) as reason:
        return Finding(name, True, f"not checked: {reason}")
    except Exception as error:  # a plugin may raise anything; that is the finding
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Finding(name, True)


def require(holds: bool, why: str) -> None:
    if not holds:
        raise Broken(why)
