"""A full device at every write of every command that writes: tried, refused in one line, repaired, lost.

    sudo python -m experiments.full_device

Each command writes into a file system (tmpfs, under Linux, mounted here) that has room for so many more pages, from
one up to where the command succeeds, and then for so many more files. It has to end with 1 or 2 and one line that names
the reason, and to leave what stood there before; with room again, the same command has to do its work.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from experiments.faults import Trial, quiet
from experiments.kills import compare, contents
from harness.cli import main as harness
from harness.records import Records
from harness.report.markdown import grid

HEADS = ("command", "limits tried", "refused", "ended with 0", "repaired", "lost")
PAGE = os.sysconf("SC_PAGE_SIZE")
LIMIT = 400


@dataclass
class Door:
    """A command that writes to the device.

    prepare   makes what stands there before; called with the place
    says_all  of the place, what the command has to have written there in the end
    step      pages, or files, from one limit to the next
    """

    name: str
    arguments: Callable[[Path], list[str]]
    says_all: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda _: None
    environment: Callable[[Path], dict[str, str]] = lambda _: {}
    step: int = 1


@dataclass
class Tally:
    door: Door
    tried: int = 0
    refused: int = 0
    passed: int = 0
    repaired: int = 0
    faults: list[str] = field(default_factory=list)

    def row(self) -> list[str]:
        counts = (self.tried, self.refused, self.passed, self.repaired, self.tried - self.repaired)
        return [self.door.name, *map(str, counts)]


def main() -> None:
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="full.") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        trial = Trial(Path(folder))
        tallies = [measure(door, Path(folder)) for door in doors(trial) if not wanted or door.name in wanted]
    print("\n".join(grid(HEADS, [tally.row() for tally in tallies])))
    faults = [fault for tally in tallies for fault in tally.faults]
    sys.exit("\n".join(faults) or 0)


def doors(trial: Trial) -> list[Door]:
    records, mixed = str(trial.sound), ("--defense", "mix", "--dataset", str(trial.pictures))
    cross = [*trial.command(Path("R"))[:-2], "--records"]
    return [
        Door("run", lambda at: trial.command(at / "r"), lambda at: compare(trial.expected, contents(at / "r"), at)),
        Door(
            "run, its cache there",
            lambda at: [*cross, str(trial.root / "elsewhere")],
            lambda at: compare(trial.expected, contents(trial.root / "elsewhere"), at),
            lambda at: shutil.rmtree(trial.root / "elsewhere", ignore_errors=True),
            lambda at: {"XDG_CACHE_HOME": str(at)},
        ),
        Door(
            "run, its scratch there",
            lambda at: [*cross[:-3], "--workers", "2", "--records", str(trial.root / "elsewhere")],
            lambda at: compare(trial.expected, contents(trial.root / "elsewhere"), at),
            lambda at: shutil.rmtree(trial.root / "elsewhere", ignore_errors=True),
            lambda at: {"TMPDIR": str(at)},
        ),
        Door(
            "obfuscate",
            lambda at: ["obfuscate", *mixed, "--epochs", "2", "--out", str(at / "o"), "--secret", str(at / "s.npz")],
            released,
        ),
        Door(
            "external release",
            lambda at: ["external", "release", *mixed, "--out", str(at / "o"), "--secret", str(at / "s.npz")],
            released,
        ),
        Door(
            "rank, over an older board",
            lambda at: ["rank", "--records", records, "--out", str(at / "lb")],
            lambda at: texts(at / "lb"),
            lambda at: older_board(at / "lb", trial),
        ),
        Door(
            "report, over an older page",
            lambda at: ["report", "--records", records, "--out", str(at / "page.html")],
            lambda at: (at / "page.html").read_text().count("<table"),
            lambda at: (at / "page.html").write_text("<!doctype html>an older page" * 300),
            step=32,
        ),
    ]


def released(at: Path) -> object:
    """Of a release, how many pictures there are, and the parts of its secret."""
    import numpy as np

    with np.load(at / "s.npz") as secret:
        parts = sorted(secret.files)
    leftovers = sorted(path.name for path in at.iterdir() if path.name.startswith("."))
    return len(list((at / "o").rglob("*.png"))), parts, leftovers


def texts(folder: Path) -> object:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def older_board(folder: Path, trial: Trial) -> None:
    """Of the undefended records alone."""
    fewer = trial.root / "fewer"
    shutil.rmtree(fewer, ignore_errors=True)
    fewer.mkdir()
    for record in Records(trial.sound).all():
        if record.spec.names[0] == "none":
            for suffix in (".json", ".npz"):
                shutil.copy(trial.sound / (record.spec.key + suffix), fewer)
    with quiet():
        assert harness(["rank", "--records", str(fewer), "--out", str(folder)]) == 0


def measure(door: Door, root: Path) -> Tally:
    tally, at = Tally(door), root / "device"
    at.mkdir(exist_ok=True)
    with device(at):
        door.prepare(at)
        code, said = run(door, at)
        assert code == 0, said
        wanted, new = door.says_all(at), whole(at)
    for option in ("size", "nr_inodes"):
        for limit in range(1, LIMIT * door.step, door.step):
            with device(at):
                door.prepare(at)
                old = whole(at)
                restrict(at, option, limit)
                code = attempt(tally, f"{door.name}, {option} +{limit}", wanted, at, old, new)
            if code == 0:
                break
    print(*tally.row(), flush=True)
    return tally


def attempt(tally: Tally, name: str, wanted: object, at: Path, old: dict[Path, bytes], new: dict[Path, bytes]) -> int:
    """The command in the room that there is, and where it fails once more with all room; the first exit code."""
    code, said = run(tally.door, at)
    tally.tried += 1
    tally.passed += code == 0
    tally.refused += code in (1, 2)
    if code not in (0, 1, 2) or "Traceback" in said or "HARNESS_TRACEBACK" in said:
        tally.faults.append(f"{name}: ends with {code}: {said[-300:]}")
    tally.faults += [
        f"{name}: {path.name} is neither the old nor the new one"
        for path, content in old.items()
        if not path.exists() or path.read_bytes() not in (content, new.get(path))
    ]
    subprocess.run(["mount", "-o", "remount,size=256m,nr_inodes=100000", str(at)], check=True)
    again, said = (code, said) if code == 0 else run(tally.door, at)
    if again == 0 and tally.door.says_all(at) == wanted:
        tally.repaired += 1
    else:
        tally.faults.append(f"{name}: then ends with {again}: {said[-300:]}")
    return code


@contextlib.contextmanager
def device(at: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def restrict(at: Path, option: str, more: int) -> None:
    """Leave room for so many more pages, or files."""
    space = os.statvfs(at)
    used = space.f_blocks - space.f_bfree if option == "size" else space.f_files - space.f_ffree
    amount = (used + more) * space.f_frsize if option == "size" else used + more
    subprocess.run(["mount", "-o", f"remount,{option}={amount}", str(at)], check=True)


def whole(at: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in at.rglob("*") if path.is_file()}


def run(door: Door, at: Path) -> tuple[int, str]:
    said = io.StringIO()
    before = dict(os.environ)
    os.environ.update(door.environment(at))
    tempfile.tempdir = None
    try:
        with quiet(), contextlib.redirect_stderr(said):
            return harness(door.arguments(at)), said.getvalue()
    finally:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None


if __name__ == "__main__":
    main()
