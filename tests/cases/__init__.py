"""Inputs that once failed, each a shell script that exits zero where the right thing happens: `python -m tests.cases`.

A script has a folder, a cache and the build under test to itself. Those that mount a file system need root and are
skipped without.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT

FOLDER = Path(__file__).parent
LIBRARIES = ("lib.sh", "break_lib.sh")
LONGEST = 400.0  # seconds after which a script is ended
COMMAND = """#!{python}
from harness.cli import entry_point

if __name__ == "__main__":
    entry_point()
"""


@dataclass(frozen=True)
class Outcome:
    """What a script did: its name, its exit code, its seconds, and what it printed, both streams together."""

    name: str
    code: int
    seconds: float
    output: str

    @property
    def last_line(self) -> str:
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else ""


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.sh") if path.name not in LIBRARIES)


def needs_root(name: str) -> bool:
    """Whether the script says so."""
    return "eeds root" in (FOLDER / f"{name}.sh").read_text(encoding="utf-8")


def may_mount() -> bool:
    """Whether this process may mount file systems: root, outside a container that forbids it."""
    command = "mkdir -p $0 && mount -t tmpfs none $0 && umount $0"
    try:
        tried = subprocess.run(["unshare", "-m", "sh", "-c", command, "/tmp/may_mount"], capture_output=True)
    except OSError:
        return False
    return tried.returncode == 0


def run(name: str, place: Path) -> Outcome:
    """Run one script, with `place` (empty) for the command that starts this tree's harness by this interpreter."""
    harness = place / "harness"
    harness.write_text(COMMAND.format(python=sys.executable), encoding="utf-8")
    harness.chmod(harness.stat().st_mode | stat.S_IXUSR)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HARNESS_", "PYTEST_"))}
    environment = kept | {"HARNESS": str(harness), "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    with subprocess.Popen(
        ["bash", str(FOLDER / f"{name}.sh")],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as script:
        try:
            output, _ = script.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(script.pid, signal.SIGKILL)
            output = f"{script.communicate()[0]}\nended after {LONGEST:.0f} s"
    return Outcome(name, script.returncode, time.monotonic() - start, output)
