"""A sweep that is killed a hundred times, driver and workers at random moments, against an undisturbed one.

    python experiments/kills.py --out leaderboards/kills.md

SIGKILL ends the driver or one of its workers. Then the sweep is run to its end, and every record is compared with the
undisturbed run's: it exists once, is valid, and equal except for its times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.report.markdown import grid

SWEEP = """
dataset: photos
size: 32
limit: 60
targets: 40
epochs: 2
seeds: {seeds}
defenses: [none, mix, graft_mix, shuffle_mix, noise_mix, pixelize_mix, blur_mix, pixelize]
attacks: [smooth, mean_image, random_other, oracle, denoise, wiener]
model: mcpherson_face
"""

HEADS = ("cells", "records", "kills of the driver", "kills of a worker", "sweeps", "records that differ or are missing")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seeds", type=int, default=2)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="kills.") as folder:
        place = Path(folder)
        file = place / "sweep.yaml"
        file.write_text(SWEEP.format(seeds=given.seeds))
        start = time.monotonic()
        assert start_sweep(file, place / "alone").wait() == 0
        undisturbed = time.monotonic() - start
        expected = contents(place / "alone")
        drivers = workers = rounds = 0
        findings: list[str] = []
        while drivers + workers < given.kills:
            rounds += 1
            records = place / f"round{rounds}"
            while drivers + workers < given.kills:
                driver = start_sweep(file, records)
                killed, finished = disturb(driver, rng, given.kills - drivers - workers)
                workers += killed
                drivers += not finished
                print(f"{drivers} drivers, {workers} workers, {count(records)} of {len(expected)} records", flush=True)
                if finished:
                    break
            assert start_sweep(file, records).wait() == 0
            findings += compare(expected, contents(records), records)
    cells = 8 * 6 * given.seeds
    lines = [
        "# A sweep that is killed",
        "",
        "`python experiments/kills.py`: SIGKILL at random moments, then the same command to its end, compared record",
        "by record with an undisturbed sweep (times apart; arrays bit for bit).",
        "",
        *grid(HEADS, [[str(n) for n in (cells, len(expected), drivers, workers, rounds, len(findings))]]),
        f"Undisturbed, on two workers, the sweep takes {undisturbed:.0f} s.",
    ]
    print("\n".join([*lines, *findings]))
    if given.out:
        given.out.write_text("\n".join([*lines, *findings]) + "\n")
    sys.exit(1 if findings else 0)


def start_sweep(file: Path, records: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness.cli", "sweep", str(file), "--workers", "2", "--records", str(records)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def disturb(driver: subprocess.Popen[bytes], rng: random.Random, most: int) -> tuple[int, bool]:
    """Kill workers of this driver, then the driver: the number of workers killed, and whether it finished before."""
    killed = 0
    while killed < most:
        while rng.random() < 0.999 and driver.poll() is None and not workers_of(driver.pid):
            time.sleep(0.1)  # one in some tens of drivers dies before it has begun
        try:
            code = driver.wait(timeout=rng.uniform(0, 5))
            assert code in (0, 1), f"the sweep ended with {code}"  # 1: a piece lost three workers and is tried again
            return killed, True
        except subprocess.TimeoutExpired:
            pass
        victims = workers_of(driver.pid)
        if victims and rng.random() < 0.7:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
        else:
            driver.kill()
            driver.wait()
            return killed, False
    return killed, driver.wait() in (0, 1)


def workers_of(pid: int) -> list[int]:
    """The worker processes: children of the fork server, whose parent does the command for the driver."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    level = {pid}
    for _ in range(3):
        level = {child for child, parent in parents.items() if parent in level}
    return sorted(level)


def count(records: Path) -> int:
    return len(list(records.glob("*.json")))


def contents(records: Path) -> dict[str, object]:
    """The content of every record, without its times."""
    found: dict[str, object] = {}
    for path in records.glob("*.json"):
        document = json.loads(path.read_text())
        del document["seconds"], document["finished"], document["digest"]  # which covers the times
        numbers = {}
        if path.with_suffix(".npz").is_file():
            with np.load(path.with_suffix(".npz")) as file:
                numbers = {name: file[name].tobytes() for name in file.files}
        found[path.stem] = document, numbers
    return found


def compare(expected: dict[str, object], found: dict[str, object], records: Path) -> list[str]:
    wrong = [f"{key}: missing" for key in expected.keys() - found.keys()]
    wrong += [f"{key}: not in the undisturbed sweep" for key in found.keys() - expected.keys()]
    wrong += [f"{key}: differs" for key in expected.keys() & found.keys() if expected[key] != found[key]]
    return wrong + [f"{path.name}: set aside" for path in records.glob("*.corrupt")]


if __name__ == "__main__":
    main()
