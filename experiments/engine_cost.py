"""The cost of engines: 1, 2, 4 and 8 cells of equal size, on one worker and on two, local and on Ray.

    python experiments/engine_cost.py --out leaderboards/engines.md

A cell is `invert` on blur_mix, each with another seed, its release included. Wall seconds include loading the data and
starting the workers; in brackets the seconds of work inside the cells.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from harness.registry import load_registry
from harness.report.markdown import grid
from harness.run.engine import Engine, RunOptions, prepare, run

CELLS = (1, 2, 4, 8)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--limit", type=int, default=120)
    given = arguments.parse_args()
    lines = []
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
                    "blur_mix", "invert", seeds=cells, limit=given.limit, utility=False, records=Path(folder), threads=1
                )
                start = time.perf_counter()
                (cells_done,) = run([prepare(options, load_registry())], engine)
                seconds = time.perf_counter() - start
                assert all(cell.status == "ok" for cell in cells_done)
                work = sum(part.seconds for cell in cells_done for part in cell.parts)
                row.append(f"{seconds:.1f} ({work:.1f})")
                print(name, engine.workers, cells, row[-1], flush=True)
        lines.append((name, str(engine.workers), *row))
    heads = ("engine", "workers", *(f"{cells} cell{'s' if cells > 1 else ''}" for cells in CELLS))
    table = grid(heads, lines)
    text = [
        "# The cost of engines",
        "",
        "`python experiments/engine_cost.py`: wall seconds of so many cells of equal size (`invert` on blur_mix, one",
        "thread each; in brackets the seconds of work inside them), with loading the data and starting the workers.",
        "",
        *table,
    ]
    print("\n".join(text))
    if given.out:
        given.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
