"""The contract tests that `harness validate NAME` runs on any plugin: being listed means being tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from harness.contract import attacks, defenses, metrics
from harness.contract.checks import Check, Finding, tried
from harness.errors import HarnessError
from harness.registry import Entry, Registry, bind


def validate(entry: Entry, registry: Registry) -> list[Finding]:
    """Run every check for the entry's section. The first, that it can be bound, stops the rest where it fails."""
    try:
        function = bind(entry)
    except HarnessError as error:
        return [Finding("can be imported and given its knobs", False, str(error))]
    suites: dict[str, Callable[[], Iterator[Check]]] = {
        "defenses": partial(defenses.checks, entry, function),
        "attacks": partial(attacks.checks, entry, function, registry),
        "metrics": partial(metrics.checks, entry, function),
    }
    checks = suites.get(entry.section, lambda: iter(()))()
    return [Finding("can be imported and given its knobs", True), *(tried(name, check) for name, check in checks)]


__all__ = ["Finding", "validate"]
