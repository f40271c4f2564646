"""The cost of engines: a few cells of equal size, and ten thousand that do next to nothing.

    python experiments/engine_cost.py --out leaderboards/engines.md

A cell of the first table is `invert` on blur_mix, each with another seed, its release included. Wall seconds include
loading the data and starting the workers; in brackets the seconds of work inside the cells. A cell of the second is
`smooth` on `none`, each with another setting, at 16 px and scored for ten originals: memory has to stay as it is while
their number grows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.registry import load_registry
from harness.report.markdown import grid
from harness.run.cross import Cross
from harness.run.engine import Engine, RunOptions, check_plugins, crossed, prepare, run
from harness.system.process_tree import below

CELLS = (1, 2, 4, 8)
PARTS = 4
"""How often memory is looked at."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--limit", type=int, default=120)
    arguments.add_argument("--many", type=int, default=10_000, help="cells of the second table (10000)")
    given = arguments.parse_args()
    heads = ("engine", "workers", *(f"{cells} cell{'s' if cells > 1 else ''}" for cells in CELLS))
    looks = [given.many * part // PARTS for part in range(1, PARTS + 1)]
    text = [
        "# The cost of engines",
        "",
        f"`python experiments/engine_cost.py --limit {given.limit}`: wall seconds of so many cells of equal size",
        "(`invert` on blur_mix, one thread each; in brackets the seconds of work inside them), with loading the data",
        "and starting the workers.",
        "",
        *grid(heads, list(equal_cells(given.limit))),
        "",
        f"{given.many:,} cells of `smooth` on `none`, each with another setting (16 px, ten originals), two workers:",
        "wall seconds of all, and MB of resident memory of the command and of its largest other process after so many.",
        "",
        *grid(("engine", "seconds", *(f"{look:,}" for look in looks)), list(many_cells(given.many, looks))),
    ]
    print("\n".join(text))
    if given.out:
        given.out.write_text("\n".join(text) + "\n")


def equal_cells(limit: int) -> Iterator[Sequence[str]]:
    for name, engine in (
        ("this process", Engine(workers=1)),
        ("local", Engine(workers=2)),
        ("ray", Engine("ray", workers=1)),
        ("ray", Engine("ray", workers=2)),
    ):
        row = []
        for cells in CELLS:
            with tempfile.TemporaryDirectory() as folder:
                options = RunOptions(
                    "blur_mix", "invert", seeds=cells, limit=limit, utility=False, records=Path(folder), threads=1
                )
                start = time.perf_counter()
                (cells_done,) = run([prepare(options, load_registry())], engine)
                seconds = time.perf_counter() - start
                assert all(cell.status == "ok" for cell in cells_done)
                work = sum(part.seconds for cell in cells_done for part in cell.parts)
                row.append(f"{seconds:.1f} ({work:.1f})")
                print(name, engine.workers, cells, row[-1], flush=True)
        yield name, str(engine.workers), *row


def many_cells(count: int, looks: Sequence[int]) -> Iterator[Sequence[str]]:
    for name in ("local", "ray"):
        with tempfile.TemporaryDirectory() as folder:
            memory = Memory(frozenset(looks))
            start = time.perf_counter()
            (done,) = run([small_cross(count, Path(folder))], Engine(name, workers=2), memory.look)
            seconds = time.perf_counter() - start
        assert len(done) == count and all(cell.status == "ok" for cell in done)
        yield name, f"{seconds:.0f}", *memory.seen
        print(name, f"{seconds:.0f}", *memory.seen, flush=True)


def small_cross(count: int, records: Path) -> Cross:
    options = RunOptions(
        "none", "smooth", size=16, limit=40, targets=10, epochs=1, utility=False, records=records, threads=1
    )
    registry = load_registry()
    smooth = registry.get("attacks", "smooth")
    settings = ({"gaussians": [0.5 + number / count], "medians": [3]} for number in range(count))
    attacks = [smooth.with_settings(each) for each in settings]
    cross = crossed(options, registry, [registry.get("defenses", "none")], attacks)
    check_plugins([cross])
    return cross


@dataclass
class Memory:
    """Called as each piece begins; looks at the memory of this process and of those below it after some of them."""

    at: frozenset[int]
    begun: int = 0
    seen: list[str] = field(default_factory=list)

    def look(self, _: str) -> None:
        self.begun += 1
        if self.begun in self.at:
            others = max((resident(process) for process in below(os.getpid())), default=0)
            self.seen.append(f"{resident(os.getpid())}, {others}")


def resident(process: int) -> int:
    """MB of a process's resident memory."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:  # it has ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
