"""Run the suite of a check: every piece of work that it lists, on its first seeds or on named ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records import RunResult
from harness.registry import Registry
from harness.report.run_summary import plan
from harness.run import engine as engines
from harness.run import sweep
from harness.run.cross import Cell
from harness.run.engine import Engine
from harness.run.options import seeds_of

if TYPE_CHECKING:
    from harness.system.progress import ProgressDisplay


def builtin_suite() -> Path:
    """ci.yaml: inside the package in a wheel, under experiments/ in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "ci.yaml"
    return inside if inside.is_file() else package.parent / "experiments" / "ci.yaml"


def run(
    suite: Path,
    registry: Registry,
    records: Path,
    seeds: int | Sequence[int] | None,
    engine: Engine,
    threads: int | None,
    watch: ProgressDisplay,
) -> list[RunResult]:
    """The results of all pieces, each once.

    suite    a sweep file
    records  folder that finished pieces are written to and read from
    seeds    how many of the suite's, or which; None: all of them
    """
    crosses = sweep.crosses(suite, registry, records, watch.step, watch.progress, threads=threads)
    if seeds is not None:
        chosen = [seeds if not isinstance(seeds, int) else seeds_of(cross.seeds)[:seeds] for cross in crosses]
        crosses = [
            replace(cross, seeds=some, options=replace(cross.options, seeds=some))
            for cross, some in zip(crosses, chosen, strict=True)
        ]
    watch.expect(sum(not item["done"] for item in plan(crosses)))
    found = engines.run(crosses, engine, watch.step)
    return _parts(cell for cells in found for cell in cells)


def _parts(cells: Iterable[Cell]) -> list[RunResult]:
    """Their records, with those of the undefended rows that they are compared with."""
    parts = [part for cell in cells for part in (*cell.parts, *cell.beside)]
    return list({part.spec.key: part for part in parts}.values())
