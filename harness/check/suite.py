"""Run the suite of a check: every piece of work that it lists, on the first seeds of each table or on named ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import RunResult, RunSpec
from harness.registry import Registry
from harness.report.run_summary import jobs_left
from harness.run import engine as engines
from harness.run import sweep
from harness.run.cross import Cell, Cross
from harness.run.engine import Engine
from harness.run.options import seeds_of

if TYPE_CHECKING:
    from harness.system.progress import ProgressDisplay


def builtin_suite() -> Path:
    """ci.yaml: inside the package in a wheel, under experiments/ in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "ci.yaml"
    return inside if inside.is_file() else package.parent / "experiments" / "ci.yaml"


def own_registry(suite: Path) -> list[Path]:
    """The registry file of the suite's own defenses, NAME/registry.yaml beside NAME.yaml; none where there is none."""
    beside = suite.parent / suite.stem / "registry.yaml"
    return [beside] if suite.suffix and beside.is_file() else []


def all_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """What a baseline holds."""
    return seeds


def choice(given: int | Sequence[int] | None) -> Callable[[Sequence[int]], Sequence[int]]:
    """What a check runs of a table's seeds: so many of the first, or those named; None: a third, two at least.

    What is noisy has more seeds in its table, and then more of them are run too.
    """

    def chosen(seeds: Sequence[int]) -> Sequence[int]:
        if given is not None and not isinstance(given, int):
            return given
        return seeds[: given or max(2, len(seeds) // 3)]

    return chosen


def crosses(
    suite: Path, registry: Registry, records: Path, seeds: Callable[[Sequence[int]], Sequence[int]], **given: Any
) -> list[Cross]:
    """What is run: the crosses of a sweep file with the seeds that are chosen of each table's.

    given  further arguments of harness.run.sweep.crosses
    """
    every = sweep.crosses(suite, registry, records, **given)
    chosen = [seeds(seeds_of(cross.seeds)) for cross in every]
    return [
        replace(cross, seeds=some, options=replace(cross.options, seeds=some))
        for cross, some in zip(every, chosen, strict=True)
    ]


def run(
    suite: Path,
    registry: Registry,
    records: Path,
    seeds: Callable[[Sequence[int]], Sequence[int]],
    engine: Engine,
    threads: int | None,
    watch: ProgressDisplay,
    planned: Callable[[Sequence[RunSpec]], object] = lambda _: None,
) -> list[RunResult]:
    """The results of all pieces, each once.

    suite    a sweep file
    records  folder that finished pieces are written to and read from
    seeds    which to run, given those of a table (see `choice`)
    planned  called with the work that there is, before any of it is done
    """
    found = crosses(suite, registry, records, seeds, report=watch.step, progress=watch.progress, threads=threads)
    planned([piece.spec for cross in found for piece in cross.pieces])
    watch.expect(jobs_left(found))
    made = engines.run(found, engine, watch.step)
    return _parts(cell for cells in made for cell in cells)


def _parts(cells: Iterable[Cell]) -> list[RunResult]:
    """Their records, with those of the undefended rows that they are compared with."""
    parts = [part for cell in cells for part in (*cell.parts, *cell.beside)]
    return list({part.spec.key: part for part in parts}.values())
