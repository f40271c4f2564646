"""Plugins are asked in a process that ends, without a word, with the process that asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harness.system.process_tree import _rows
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed on Linux")

PROGRAM = """
import os, signal, sys
from multiprocessing.connection import Pipe
from pathlib import Path
sys.path.append({root!r})
from harness.registry import load_registry
from harness.run import probe

registry = load_registry([Path({file!r})])
question = probe.Question([registry.get("attacks", "mine")], None, (0, 0))
{body}
"""
PATIENCE = 60.0  # seconds


def program(folder: Path, plugin: str, body: str) -> list[str]:
    (folder / "mine.py").write_text(plugin + "\ndef attack(observation, rng): ...\n")
    entry = {"use": "mine:attack", "version": 1, "kind": "reconstruction", "cite": "x"}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"attacks": {"mine": entry}}))
    text = PROGRAM.format(root=str(ROOT), file=str(folder / "mine.yaml"), body=body)
    return [sys.executable, "-c", text]


def test_who_is_asked_ends_when_who_asked_is_killed(tmp_path: Path) -> None:
    """Its plugin would be busy for ten minutes. stderr ends with the last process that writes to it."""
    busy = "import os, sys, time\nprint(os.getpid(), file=sys.stderr, flush=True)\ntime.sleep(600)"
    asks = subprocess.Popen(program(tmp_path, busy, "probe.ask_apart(question, registry)"), stderr=subprocess.PIPE)
    assert asks.stderr is not None
    with asks:
        asked = int(asks.stderr.readline())
        asks.kill()
        until = time.monotonic() + PATIENCE
        while asked in _rows() and time.monotonic() < until:
            time.sleep(0.02)
        left = asked in _rows()
        if left:
            os.kill(asked, signal.SIGKILL)
        said = asks.stderr.read()

    assert not left and said == b""


@pytest.mark.parametrize("moment", ["imported", "answered"])
def test_who_is_asked_has_nothing_to_say_to_nobody(tmp_path: Path, moment: str) -> None:
    """The connection is closed before the thread that waits for its end has seen it."""
    body = f"""
probe._end_with_sender = lambda connection: None
ours, theirs = Pipe()
if {moment!r} == "answered":
    bind = probe.bind
    def closes(entry):
        bind(entry)
        ours.close()
        raise ValueError("planted")
    probe.bind = closes
else:
    ours.close()
probe._serve(dict(os.environ), theirs, question, registry.files)
"""
    done = subprocess.run(program(tmp_path, "", body), capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
