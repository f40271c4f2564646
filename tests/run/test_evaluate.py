"""The front: `evaluate` from Python, and options that are checked before anything is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import evaluate
from harness.errors import HarnessError
from harness.records import Records
from harness.registry import load_registry
from harness.run.engine import RunOptions, prepare
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder


def test_evaluate_is_the_command_from_python(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = picture_folder(tmp_path / "stripes", each=10)
    monkeypatch.setattr(sys, "path", list(sys.path))
    extra = tmp_path / "extra_look.yaml"
    extra.write_text(
        "attacks: {extra_look: {use: 'tests.helpers.planted:the_release', version: 1, kind: reconstruction, cite: me}}"
    )

    options = {"utility": False, "threads": 1, "records": tmp_path / "records"}

    document = evaluate("mix", "extra_look", str(folder), registry=[extra], **options)

    (cell,) = document["cells"]
    assert (cell["dataset"], cell["defense"], cell["attack"], cell["status"]) == ("stripes", "mix", "extra_look", "ok")
    assert cell["scores"]["attacked_dssim"]["mean"] == pytest.approx(cell["scores"]["dssim"]["mean"], abs=1e-5)


THREADS = """
import multiprocessing, os, threading
from multiprocessing import spawn, util
import harness
from harness.errors import HarnessError

def work(workers, records="one"):
    options = dict(dataset=SET, utility=False, threads=1, workers=workers, records=records)
    try:
        return [cell["status"] for cell in harness.evaluate(["none", "mix"], "smooth", **options)["cells"]]
    except HarnessError as error:
        return str(error)

def state():
    return os.environ.get("PYTHONPATH"), util._args_from_interpreter_flags(), spawn.get_preparation_data

if __name__ == "__main__":
    before = state()
    threads = [threading.Thread(target=lambda: print(*work(2), flush=True)) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print("unchanged" if state() == before else state())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.apply(work, (1, "two")))
    process = multiprocessing.get_context("fork").Process(target=lambda: print(work(2, "three"), flush=True))
    process.start()
    process.join()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_threads_and_forks_of_a_process_that_has_run_workers_may_run_them_too(tmp_path):
    script = THREADS.replace("SET", repr(str(picture_folder(tmp_path / "stripes", each=10))))
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )

    done = "['ok', 'ok']"
    assert (ran.stdout.splitlines(), ran.returncode) == (["ok ok"] * 2 + ["unchanged", done, done], 0), ran.stderr


@pytest.mark.parametrize("given", ("stdin", "a file"))
def test_workers_do_not_run_the_calling_script_again(tmp_path, given):
    folder = picture_folder(tmp_path / "stripes", each=10)
    script = f"""
import harness
print("begun")
options = dict(dataset={str(folder)!r}, utility=False, threads=1, workers=2, records={str(tmp_path / "records")!r})
print(*(cell["status"] for cell in harness.evaluate(["none", "mix"], "smooth", **options)["cells"]))
"""
    (tmp_path / "script.py").write_text(script)
    ran = subprocess.run(
        [sys.executable, "-" if given == "stdin" else tmp_path / "script.py"],
        input=script, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("begun\nok ok\n", 0), ran.stderr


def test_workers_that_a_process_may_not_start_are_refused_in_a_line(tmp_path):
    """A daemonic process, as those of a `multiprocessing.Pool` are."""
    folder = picture_folder(tmp_path / "stripes", each=10)
    script = f"""
import multiprocessing

def work():
    import harness
    from harness.errors import HarnessError
    options = dict(dataset={str(folder)!r}, utility=False, threads=1, workers=2, records={str(tmp_path / "records")!r})
    try:
        harness.evaluate(["none", "mix"], "smooth", **options)
    except HarnessError as error:
        print(error)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work, daemon=True)
    process.start()
    process.join()
"""
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )

    refused = "cannot start a process: daemonic processes are not allowed to have children; use --workers 1\n"
    assert (ran.stdout, ran.stderr) == (refused, "")


def test_nothing_is_written_before_everything_has_been_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = picture_folder(tmp_path / "stripes", each=10)
    order = RunOptions(["mix", "pixelize"], "cnn", str(folder), {"grid": 99}, records=tmp_path / "records", threads=1)

    with pytest.raises(HarnessError, match="grid 99"):
        prepare(order, load_registry())

    assert not (tmp_path / "records").exists()
    assert list(Records(tmp_path / "records").all()) == []
