"""The contract of plugins: the checks of `harness validate`, and the templates of `harness new`, which pass them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from harness.contract import attacks, defenses, metrics
from harness.contract.checks import Check, Finding, run_check
from harness.errors import HarnessError
from harness.registry import Entry, Registry, bind


def validate(entry: Entry, registry: Registry) -> list[Finding]:
    """Run every check for the entry's section; only the first where the plugin cannot be imported and bound."""
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
    return [Finding("can be imported and given its knobs", True), *(run_check(name, check) for name, check in checks)]


__all__ = ["Finding", "validate"]
