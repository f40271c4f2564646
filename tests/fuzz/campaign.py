"""Many inputs at a door, in child processes with limits; what happened is counted, and every fault is kept as a line.

The input of a number is always the same: `random.Random(f"{target}:{number}")` makes it. A child that hangs or dies is
replaced, and the next number goes on.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from harness.cli import TRACEBACK
from harness.errors import HarnessError
from harness.system.text import LONGEST_LINE
from tests.fuzz.inputs import Input
from tests.fuzz.material import Material, silence
from tests.fuzz.targets import TARGETS

SECONDS = 10.0
MEMORY = 2 * 2**30
START = 60.0  # seconds that the real command may take: it starts Python and torch on a busy machine


@dataclass
class Count:
    """What came of the inputs of one target.

    memory  bytes, the most that one child's resident set grew by
    faults  a line each: the number of the input and what happened
    """

    target: str
    inputs: int = 0
    refused: int = 0
    tracebacks: int = 0
    codes: int = 0
    hangs: int = 0
    memory: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.tracebacks + self.codes + self.hangs + (self.memory > MEMORY)

    def row(self) -> list[str]:
        shown = (self.target, self.inputs, self.refused, self.tracebacks, self.codes, self.hangs)
        return [*map(str, shown), f"{self.memory / 2**20:.0f} MB", f"{self.seconds:.0f}"]


HEADS = ("target", "inputs", "refused", "tracebacks", "wrong exit codes", "hangs", "memory", "seconds")


def make(target: str, number: int, place: Path, material: Material) -> Input:
    """Input `number` of a target, with its files in `place`, which is emptied before."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TARGETS[target](random.Random(f"{target}:{number}"), place, material)


def outcome(given: Input) -> str | None:
    """None: accepted. `refused`, or what should not have happened."""
    try:
        with silence(), warnings.catch_warnings(), mock.patch.dict(os.environ, {TRACEBACK: "1"}):
            warnings.simplefilter("ignore")
            given.call()
    except HarnessError:
        return "refused"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:160]} ({Path(last.filename).name}:{last.lineno} {last.name})"
    return None


def in_process(target: str, first: int, last: int, material: Material) -> Count:
    """Inputs first to last - 1, each in a child that is ended after `SECONDS` without an end of one input."""
    count = Count(target)
    start = time.monotonic()
    shared = mmap.mmap(-1, 64)
    number = first
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        log = Path(folder) / "log"
        while number < last:
            _put(shared, number, 0)
            child = context.Process(target=_work, args=(target, number, last, material, shared, log))
            child.start()
            stuck = _watch(child, shared)
            reached, grown = _get(shared)
            count.memory = max(count.memory, grown)
            if stuck:
                count.hangs += 1
                count.faults.append(f"{target}:{reached} hangs")
            elif child.exitcode:
                count.tracebacks += 1
                count.faults.append(f"{target}:{reached} ends the process: {child.exitcode}")
            number = reached + 1 if stuck or child.exitcode else last
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    count.inputs = last - first
    count.refused = lines.count("refused")
    wrong = [line for line in lines if line != "refused"]
    count.tracebacks += len(wrong)
    count.faults += wrong
    count.seconds = time.monotonic() - start
    return count


def _work(target: str, first: int, last: int, material: Material, shared: mmap.mmap, log: Path) -> None:
    """In the child. Its address space is bounded, so that an input that wants gigabytes fails in it."""
    place = material.root / f"place{os.getpid()}"
    used = _pages(0)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEMORY, used + 2 * MEMORY))
    resident = _pages(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libpng and OpenCV print what they think of a damaged picture
    with log.open("a", encoding="utf-8", errors="replace", buffering=1) as lines:
        for number in range(first, last):
            _put(shared, number, max(_get(shared)[1], _peak() - resident))
            found = outcome(make(target, number, place, material))
            if found:
                lines.write(
                    "refused\n" if found == "refused" else " ".join(f"{target}:{number} {found}".split()) + "\n"
                )
        _put(shared, last - 1, max(_get(shared)[1], _peak() - resident))
    shutil.rmtree(place, ignore_errors=True)
    os._exit(0)


def _watch(child: Any, shared: mmap.mmap) -> bool:
    """Wait for the child's end; True where it was ended for an input that took too long."""
    before, since = _get(shared)[0], time.monotonic()
    while child.is_alive():
        child.join(0.2)
        now = _get(shared)[0]
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > 3 * SECONDS or _busy(child.pid, since) > SECONDS:
            child.kill()
            child.join()
            return True
    return False


_spent: dict[tuple[int, float], float] = {}


def _busy(pid: int, since: float) -> float:
    """Processor seconds since the input began: on a busy machine the clock says less than that."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent - _spent.setdefault((pid, since), spent)


def _put(shared: mmap.mmap, number: int, grown: int) -> None:
    shared[:16] = struct.pack("qq", number, grown)


def _get(shared: mmap.mmap) -> tuple[int, int]:
    number, grown = struct.unpack("qq", shared[:16])
    return number, grown


def _pages(which: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[which]) * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    """Bytes of the largest resident set so far."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def by_command(target: str, first: int, last: int, material: Material) -> Count:
    """The same inputs through `python -m harness.cli`, which ends with 0, 1, 2 or 3 and at most one line for 2."""
    count = Count(target)
    start = time.monotonic()
    place = material.root / f"place{os.getpid()}"
    for number in range(first, last):
        command = make(target, number, place, material).command
        if command is None or not _can_be_given(command):
            continue
        count.inputs += 1
        _judge(count, number, command, place)
    shutil.rmtree(place, ignore_errors=True)
    count.seconds = time.monotonic() - start
    return count


def _can_be_given(command: list[str]) -> bool:
    """Whether the system can hand over these words: no NUL, no half of a surrogate pair."""
    try:
        return not any(b"\0" in os.fsencode(word) for word in command)
    except UnicodeEncodeError:
        return False


def _judge(count: Count, number: int, command: list[str], place: Path) -> None:
    where = f"{count.target}:{number} harness {' '.join(command)[:200]!r}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *map(os.fsencode, command)],
        cwd=place,
        env=os.environ | {TRACEBACK: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said = process.communicate(timeout=START)[1].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()
        count.hangs += 1
        count.faults.append(f"{where}: no end after {START:.0f} s")
        return
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    count.memory = max(count.memory, after.ru_maxrss * 1024)
    if after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime > SECONDS + START / 4:
        count.hangs += 1
        count.faults.append(f"{where}: too long")
    count.refused += process.returncode == 2
    if "Traceback" in said:
        count.tracebacks += 1
        count.faults.append(f"{where}: {' '.join(said.splitlines()[-1:])[:200]}")
    elif process.returncode not in (0, 1, 2, 3):
        count.codes += 1
        count.faults.append(f"{where}: exit {process.returncode}: {said[-200:]!r}")
    elif process.returncode == 2 and not _one_line(said):
        count.codes += 1
        count.faults.append(f"{where}: exit 2 with {said[-300:]!r}")


def _one_line(said: str) -> bool:
    """Whether the last line is a message, and the lines before are messages and progress too."""
    *before, last = said.splitlines() or [""]
    if any("Error" in line for line in before):
        return False
    return last.startswith("harness: ") and len(last) < LONGEST_LINE + 40


def one_of_each_kind(count: Count, most: int = 40) -> list[str]:
    """Its faults, one of each kind first."""
    kinds: Counter[str] = Counter()
    first = []
    for line in count.faults:
        kind = line.partition(" ")[2][:60]
        kinds[kind] += 1
        if kinds[kind] == 1:
            first.append(line)
    return [f"{line}  (x {kinds[line.partition(' ')[2][:60]]})" for line in first[:most]]
