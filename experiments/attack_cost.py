"""The cost of an attack: CPU-seconds and memory against pixels, originals N and releases T.

    python experiments/attack_cost.py ../shared/datasets/imagenette10_96 --points auto:64:500x20,auto:256:500x20

Every point is a whole piece of work, the attack and its scoring, on one thread in a process of its own. Two peaks of
memory: all that was resident, with mapped releases, which the system takes back where it needs room, and what the
process itself had allocated. The points are kept in a JSON file beside the table; those measured again are replaced.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

POINTS = ",".join(
    [
        *(f"multi_release:64:{n}x{t}" for n, t in ((500, 5), (500, 20), (2000, 20))),
        *(f"{attack}:{size}:500x20" for size in (128, 256) for attack in ("multi_release", "inversion", "auto")),
    ]
)
HEADS = ("attack", "px", "N", "public", "T", "CPU seconds", "resident GiB", "allocated GiB", "dSSIM: worst case")
POLL = 0.05  # seconds


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset")
    arguments.add_argument("--defense", default="noise_mix")
    arguments.add_argument("--points", default=POINTS, help="attack:size:NxT, separated by commas")
    arguments.add_argument("--point", help="measure this one and print a line of JSON")
    arguments.add_argument("--out", type=Path, default=Path("leaderboards/attack_cost.md"))
    given = arguments.parse_args()
    if given.point:
        print(json.dumps(measure(given.dataset, given.defense, given.point)))
        return
    kept = given.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for point in given.points.split(","):
        command = [sys.executable, __file__, given.dataset, "--defense", given.defense, "--point", point]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(point, said, flush=True)
        found[f"{given.defense} {point}"] = said
        kept.write_text(json.dumps(found, indent=1) + "\n")
        write(given.out, found)


def measure(dataset: str, defense: str, point: str) -> dict[str, Any]:
    """The cost of one piece of work, in this process."""
    peak = _Peak()
    from harness.registry import load_registry
    from harness.run.engine import RunOptions, crossed
    from harness.system.device import keep_freed_memory, use_threads

    keep_freed_memory()
    use_threads(1)
    attack, size, numbers = point.split(":")
    originals, releases = map(int, numbers.split("x"))
    registry = load_registry()
    with tempfile.TemporaryDirectory() as records:
        options = RunOptions(
            defense,
            attack,
            dataset,
            epochs=releases,
            size=int(size),
            limit=originals,
            utility=False,
            threads=1,
            records=Path(records),
        )
        entries = [registry.choose(section, name, {}) for section, name in (("defenses", defense), ("attacks", attack))]
        bench = crossed(options, registry, *entries).bench
        piece = bench.attack_piece(entries[0][0], entries[1][0], 0)
        wall, cpu = time.perf_counter(), time.process_time()
        result = bench.do(piece)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if result.status != "ok":
        raise SystemExit(f"{point}: {result.status}: {result.reason}")
    data = piece.spec.inputs["dataset"]
    return {
        "defense": defense,
        "attack": attack,
        "px": int(size),
        "N": data["private"],
        "public": data["public"],
        "T": releases,
        "seconds": round(wall, 1),
        "CPU seconds": round(cpu, 1),
        "resident GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "allocated GiB": round(peak.bytes / 2**30, 2),
        "dSSIM: worst case": round(result.scores["worst_dssim"]["mean"], 3),
    }


class _Peak:
    """The most memory that this process had allocated, watched from a thread."""

    def __init__(self) -> None:
        self.bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.bytes = max(self.bytes, int(status.split("RssAnon:")[1].split()[0]) * 1024)
            time.sleep(POLL)


def write(out: Path, found: dict[str, Any]) -> None:
    from harness.report.markdown import grid

    points = sorted(found.values(), key=lambda point: [point[name] for name in ("attack", "px", "N", "T")])
    figure = out.with_suffix(".png")
    text = (
        "Of a whole piece of work on `noise_mix`: the attack and its scoring, one thread, one seed. Resident memory "
        "holds mapped releases, which the system takes back where it needs room; allocated memory is the process's "
        "own. Images that are smaller by origin are enlarged."
    )
    table = grid(HEADS, [[str(point[head]) for head in HEADS] for point in points])
    out.write_text("\n".join(["# The cost of attacks", "", text, "", *table, f"![cost]({figure.name})", ""]))
    draw(points, figure)


def draw(points: list[dict[str, Any]], file: Path) -> None:
    """CPU-seconds and allocated memory against the bytes of all releases, by attack."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for panel, value in zip(panels, ("CPU seconds", "allocated GiB"), strict=True):
        for attack in sorted({point["attack"] for point in points}):
            own = [point for point in points if point["attack"] == attack]
            sizes = [point["T"] * point["N"] * 3 * point["px"] ** 2 / 2**30 for point in own]
            panel.plot(sizes, [point[value] for point in own], "o", label=attack)
            for point, size in zip(own, sizes, strict=True):
                said = f" {point['px']} px, {point['N']} x {point['T']}"
                panel.annotate(said, (size, point[value]), fontsize=6, va="center")
        panel.set_xlabel("all releases, GiB of bytes")
        panel.set_ylabel(value)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
