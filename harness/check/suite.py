"""The run behind a check: every piece of work that the suite asks for, on its first seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness import engine as engines
from harness.engine import Cell, Cross, Engine, Order
from harness.errors import HarnessError
from harness.records import RunResult
from harness.registry import Registry

if TYPE_CHECKING:
    from harness.terminal import Watch


def builtin_suite() -> Path:
    """ci.yaml: inside the package in a wheel, under experiments/ in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "ci.yaml"
    return inside if inside.is_file() else package.parent / "experiments" / "ci.yaml"


def run(
    suite: Path, registry: Registry, records: Path, seeds: int | None, engine: Engine, watch: Watch | None = None
) -> list[RunResult]:
    """The results of all pieces, each once.

    records  folder that finished pieces are kept in, and found in
    seeds    how many of the suite's seeds; None: all
    """
    orders = [replace(order, records=records, seeds=seeds or order.seeds) for order in _orders(suite)]
    crosses: list[Cross] = []
    for order in orders:
        crosses.append(engines.prepare(order, registry, progress=watch.progress if watch else None))
    if watch:
        watch.expect(len({item["key"] for cross in crosses for item in cross.plan() if not item["done"]}))
    found = engines.run(crosses, engine, watch.step if watch else None)
    return _parts(cell for cells in found for cell in cells)


def _parts(cells: Iterable[Cell]) -> list[RunResult]:
    """With what they are read beside: the undefended rows are part of the suite."""
    parts = [part for cell in cells for part in (*cell.parts, *cell.beside)]
    return list({part.spec.key: part for part in parts}.values())


def _orders(suite: Path) -> list[Order]:
    try:
        asked = yaml.safe_load(suite.read_text())
    except OSError as error:
        raise HarnessError(f"suite {suite}: {error.strerror or error}; name one with --suite") from None
    fixed = {
        name: asked[name]
        for name in ("dataset", "size", "limit", "targets", "seeds", "utility", "threads", "device")
        if name in asked
    }
    return [
        Order(defense, attack, defense_settings=knobs, attack_settings=more, epochs=epochs, **fixed)
        for epochs in asked["epochs"]
        for defense, knobs in map(_named, asked["defenses"])
        for attack, more in map(_named, asked["attacks"])
    ]


def _named(entry: Any) -> tuple[str, dict[str, Any]]:
    return next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})
