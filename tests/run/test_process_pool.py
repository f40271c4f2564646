"""What a plugin does to its worker fails its own piece or nothing: pieces after it are done in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from harness.records import RunResult
from harness.run.process_pool import Pool, _WorkerProcess
from harness.system.process_tree import _rows
from tests.helpers.planted import picture_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

ATTACKS = """
import builtins, os, resource, signal, subprocess, sys, time
import torch
from harness.types import Guess


def _sees(observation):
    return Guess(candidates=observation.images[observation.targets][:, None])


def forks(observation, rng):
    os.fork()
    return _sees(observation)


def leaves(observation, rng):
    if not os.fork():
        time.sleep(600)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    return _sees(observation)


def changes(observation, rng):
    sys.path[:] = []
    torch.set_default_device("meta")
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
    builtins.open = None
    return _sees(observation)


def orphans(observation, rng):
    os.kill(os.getppid(), signal.SIGKILL)
    return _sees(observation)
"""
NAMES = ("forks", "leaves", "changes", "orphans")


def test_a_piece_after_a_plugin_is_as_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(ATTACKS)
    (tmp_path / "random.py").write_text("open('RUN', 'w').close()")
    entries = {name: {"use": f"mine:{name}", "version": 1, "kind": "reconstruction", "cite": "x"} for name in NAMES}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"attacks": entries}))
    picture_folder(tmp_path / "stripes", each=8)
    options = "--dataset stripes --epochs 1 --no-utility --workers 1 --json --registry mine.yaml"
    words = ["run", "--defense", "mix,blur_mix", "--attack", ",".join([*NAMES, "smooth"]), *options.split()]

    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert "Traceback" not in done.stderr, done.stderr
    cells = {(cell["defense"], cell["attack"]): cell for cell in json.loads(done.stdout)["cells"]}
    for defense in ("mix", "blur_mix"):
        for attack in ("forks", "leaves", "orphans", "smooth"):
            assert cells[defense, attack]["status"] == "ok", (defense, attack, done.stdout)
    assert not (tmp_path / "RUN").exists()
    assert not [process for process in _rows() if _folder(process) == tmp_path]


def _folder(process: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{process}/cwd"))
    except OSError:
        return None


def test_a_second_result_of_a_piece_is_not_taken_for_that_of_the_next() -> None:
    ours, theirs = Pipe()
    alive, writing = os.pipe()
    child = SimpleNamespace(sentinel=alive, has_ended=False)
    pool = Pool(1, "cpu", SimpleNamespace(files=()), Path())  # type: ignore[arg-type]
    job = SimpleNamespace(key="b")
    pool._processes = [_WorkerProcess(child, ours, job, number=2)]  # type: ignore[arg-type]
    theirs.send((1, "late"))

    assert pool.wait() is None
    theirs.send((1, "later"))
    theirs.send((2, RunResult(None, "ok", None)))  # type: ignore[arg-type]

    finished = pool.wait()
    assert finished is not None and finished[0] is job and finished[1].status == "ok"  # type: ignore[union-attr]
    os.close(writing)
    os.close(alive)
