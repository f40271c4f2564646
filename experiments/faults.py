"""Faults of disks, memory, clocks and neighbours at a small run: tried, detected, recovered, lost.

    python experiments/faults.py --out leaderboards/faults.md

Detected: the command ended otherwise than with 0, or set a damaged file aside. Recovered: the same command without the
fault then has every record as an undisturbed run has it (times apart; arrays bit for bit). Lost: it has not.
Kills are in experiments/kills.py.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.kills import compare, contents
from harness.cli import main as harness
from harness.data.load import load
from harness.records import Records
from harness.report.markdown import grid

HEADS = ("fault", "tried", "detected", "recovered", "lost")
PLACES = 16


@dataclass
class Tally:
    """What came of one kind of fault."""

    fault: str
    tried: int = 0
    detected: int = 0
    recovered: int = 0

    def add(self, detected: bool, recovered: bool) -> None:
        self.tried += 1
        self.detected += detected
        self.recovered += recovered
        print(f"{self.fault}: {self.tried} tried, {self.detected} detected, {self.recovered} recovered", flush=True)

    def row(self) -> list[str]:
        return [self.fault, *map(str, (self.tried, self.detected, self.recovered, self.tried - self.recovered))]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--every", type=int, default=1, metavar="N", help="each N-th damage alone is repaired (1)")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults.") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        trial = Trial(Path(folder))
        tallies = [
            trial.damaged_records(given.every),
            trial.damaged_cache(),
            trial.changed_data(),
            trial.full_disk(),
            trial.little_memory(),
            trial.two_runs(),
            trial.clock_ahead(),
        ]
    lines = ["# Faults", "", *(__doc__ or "").splitlines()[4:], "", *grid(HEADS, [tally.row() for tally in tallies])]
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")
    sys.exit(any(tally.tried > tally.recovered for tally in tallies))


class Trial:
    """A folder with pictures, and the records of an undisturbed run on them."""

    def __init__(self, root: Path):
        self.root = root
        self.pictures = root / "pictures"
        for number in range(36):
            self.write_picture(number, number)
        self.sound = root / "sound"
        assert self.run(self.sound) == 0
        self.expected = contents(self.sound)

    def write_picture(self, number: int, seed: int) -> Path:
        file = self.pictures / "abc"[number % 3] / f"{number:03d}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        low = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(low).resize((16, 16), Image.Resampling.BICUBIC).save(file)
        return file

    def command(self, records: Path) -> list[str]:
        names = ["run", "--defense", "none,mix", "--attack", "look", "--dataset", str(self.pictures), "--epochs", "1"]
        return [*names, "--no-utility", "--workers", "1", "--records", str(records)]

    def run(self, records: Path) -> int:
        with quiet():
            return harness(self.command(records))

    def repaired(self, records: Path) -> bool:
        """Whether the same command makes every record what it should be; files set aside do not matter."""
        code = self.run(records)
        wrong = [line for line in compare(self.expected, contents(records), records) if ".corrupt" not in line]
        return code == 0 and not wrong

    def copy(self) -> Path:
        records = self.root / "records"
        shutil.rmtree(records, ignore_errors=True)
        shutil.copytree(self.sound, records)
        return records

    def damaged_records(self, every: int) -> Tally:
        """A byte flipped, and the end cut off, at each sixteenth of every file."""
        tally = Tally("a record damaged (byte flipped, end cut off, at each 16th of each file)")
        number = 0
        for name in sorted(path.name for path in self.sound.iterdir() if path.suffix in (".json", ".npz")):
            for place, damage in damages():
                number += 1
                records = self.copy()
                damage(records / name, place)
                with quiet():
                    found = list(Records(records).all())
                detected = len(found) < len(self.expected)
                harmless = not detected and not compare(self.expected, contents(records), records)  # its times
                tally.add(detected, harmless or (detected and (number % every != 0 or self.repaired(records))))
        return tally

    def damaged_cache(self) -> Tally:
        """The same for the decoded images: another load gives the same pixels."""
        tally = Tally("the data cache damaged (the same)")
        cache = self.root / "images"
        expected = pixels(self.pictures, cache)
        whole = self.root / "whole"
        shutil.copytree(cache, whole)
        for name in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
            for place, damage in damages():
                shutil.rmtree(cache)
                shutil.copytree(whole, cache)
                if (cache / name).stat().st_size:
                    damage(cache / name, place)
                    same = pixels(self.pictures, cache) == expected
                    repaired = (cache / name).exists() and (cache / name).read_bytes() == (whole / name).read_bytes()
                    tally.add(repaired, same)
        return tally

    def changed_data(self) -> Tally:
        """A picture replaced by one of equal length and times: the records of the old pictures are not used."""
        tally = Tally("a picture replaced between runs, length and times kept")
        before = pixels(self.pictures, self.root / "images")
        for number in range(6):
            file = self.pictures / "abc"[number % 3] / f"{number:03d}.bmp"
            times = file.stat()
            self.write_picture(number, 1000 + number)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            seen = pixels(self.pictures, self.root / "images") != before
            self.write_picture(number, number)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            tally.add(seen, seen and pixels(self.pictures, self.root / "images") == before)
        return tally

    def full_disk(self) -> Tally:
        """No file may grow beyond a limit: writes end in the middle of each kind of file."""
        tally = Tally("writes that end at a size (RLIMIT_FSIZE), from 0 to 100 kB")
        for limit in (0, 1, 100, 1000, 3000, 5000, 8000, 20_000, 100_000):
            records = self.root / f"full{limit}"

            def limited(limit: int = limit) -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

            code = self.child(records, limited)
            tally.add(code in (1, 2), self.repaired(records))
        return tally

    def little_memory(self) -> Tally:
        tally = Tally("little memory (RLIMIT_AS of 0.3 to 6 GB)")
        for limit in (0.3, 0.8, 1.5, 3, 6):
            records = self.root / f"memory{limit}"

            def limited(limit: float = limit) -> None:
                resource.setrlimit(resource.RLIMIT_AS, (int(limit * 1e9), int(limit * 1e9)))

            code = self.child(records, limited)
            tally.add(code != 0, self.repaired(records))
        return tally

    def two_runs(self) -> Tally:
        tally = Tally("two runs at once in one folder")
        for number in range(3):
            records = self.root / f"two{number}"
            both = [start(self.command(records)) for _ in range(2)]
            codes = [each.wait() for each in both]
            same = not compare(self.expected, contents(records), records)
            tally.add(codes != [0, 0], same and codes == [0, 0])
        return tally

    def clock_ahead(self) -> Tally:
        """Records whose clock was two hours ahead: the same command uses them and makes none again."""
        tally = Tally("records of a clock two hours ahead")
        records = self.copy()
        for path in records.glob("*.json"):
            os.utime(path, (4e9, 4e9))
            tally.add(False, self.repaired(records))
        return tally

    def child(self, records: Path, before: Callable[[], None]) -> int:
        """The exit code of the command in a process of its own; a traceback counts as -1000."""
        process = start(self.command(records), before)
        said = process.communicate()[1]
        return -1000 if b"Traceback" in said else process.returncode


def start(command: list[str], before: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "harness.cli", *command]
    return subprocess.Popen(line, preexec_fn=before, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def damages() -> Iterator[tuple[int, Callable[[Path, int], None]]]:
    for place in range(PLACES):
        yield place, flip
        yield place, cut


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) * place // PLACES] ^= 16
    file.write_bytes(content)


def cut(file: Path, place: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * place // PLACES])


def pixels(folder: Path, cache: Path) -> str:
    """What a load gives: images, labels and names of all three roles."""
    with quiet():
        splits = load(str(folder), cache=cache)
    parts = (splits.private, splits.public, splits.test)
    return json.dumps([[p.images.tobytes().hex(), p.labels.tolist(), list(p.names)] for p in parts])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    main()
