"""Processes run no file of the current folder, start whatever became of the fork server, and leave none behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.system.process_tree import _rows

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed on Linux")

PROGRAM = """
import os, signal, subprocess, sys, time
from multiprocessing import forkserver
from multiprocessing.connection import Pipe
from pathlib import Path
sys.path.append({tests!r})
from harness.system import fork_server
from tests.system import test_fork_server as here

if __name__ == "__main__":
    fork_server.start(["harness.system.fork_server"])
    {body}
"""
ROOT = Path(__file__).parents[2]


def says_where(environment, connection):
    """In the new process: what it would import, and its number."""
    fork_server_begin(environment)
    import random

    connection.send((random.__file__, os.environ.get("PYTHONPATH"), os.getpid()))


def leaves(environment, connection, how):
    """In the new process: leave another one behind, in a way that escapes who looks for children or sessions."""
    fork_server_begin(environment)
    idle = [sys.executable, "-c", "import time; time.sleep(100)"]
    if how == "daemon":
        shell = f"setsid {sys.executable} -c 'import time; time.sleep(100)' >/dev/null 2>&1 & echo $!"
        process = int(subprocess.run(["sh", "-c", shell], stdout=subprocess.PIPE, timeout=9, check=True).stdout)
    elif how == "fork":
        process = os.fork()
        if not process:
            time.sleep(100)
            os._exit(0)
    else:
        process = subprocess.Popen(idle, start_new_session=True).pid
    connection.send(process)
    if how == "fork":
        os._exit(7)
    time.sleep(100)


def fork_server_begin(environment):
    from harness.system import fork_server

    fork_server.begin(environment)


def run(folder, body, *options):
    program = PROGRAM.format(tests=str(ROOT), body=body.replace("\n", "\n    "))
    file = folder.parent / "program.py"
    file.write_text(program)
    command = [sys.executable, *options, str(file)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "pictures"
    place.mkdir()
    return place


ASKS = """
ours, theirs = Pipe()
child = fork_server.launch(here.says_where, (theirs,), "")
theirs.close()
print(*ours.recv()[:2])
child.end()
"""


def test_no_file_of_the_current_folder_is_run(folder):
    for name in ("random", "selectors", "queue", "socket", "signal", "harness", "tempfile", "runpy"):
        (folder / f"{name}.py").write_text(f"open('RUN_{name}', 'w').close()\n")

    done = run(folder, ASKS)

    assert done.returncode == 0, done.stderr
    assert not list(folder.glob("RUN_*")) and str(folder) not in done.stdout


def test_a_process_has_the_environment_of_its_caller(folder):
    done = run(folder, "os.environ['PYTHONPATH'] = '/of the caller'\n" + ASKS)

    assert done.stdout.strip().endswith("random.py /of the caller")


def test_modules_that_the_caller_finds_are_found(folder):
    (folder / "mine.py").write_text(
        "import harness.system.fork_server\ndef f(environment): open('CALLED', 'w').close()\n"
    )
    body = f"sys.path.append({str(folder)!r})\nimport mine\nfork_server.launch(mine.f, (), '').process.join(9)"

    done = run(folder, body)

    assert (folder / "CALLED").exists(), done.stderr


@pytest.mark.parametrize(
    "done_to_it",
    [
        "os.kill(server, signal.SIGTERM)",
        "os.kill(server, signal.SIGKILL); time.sleep(0.3)",
        "os.kill(server, signal.SIGSTOP)",
        "os.unlink(forkserver._forkserver._forkserver_address)",
    ],
)
def test_a_process_is_started_whatever_became_of_the_fork_server(done_to_it, folder):
    body = "server = forkserver._forkserver._forkserver_pid\n"

    done = run(folder, ASKS + body + done_to_it + "\n" + ASKS)

    assert done.returncode == 0 and done.stdout.count("random.py") == 2, done.stderr


def test_a_process_ends_although_it_has_stopped_the_fork_server(folder):
    stops = ASKS.replace(
        "child.end()", "os.kill(forkserver._forkserver._forkserver_pid, signal.SIGSTOP)\nprint(child.end())"
    )

    done = run(folder, stops)

    assert done.returncode == 0 and done.stdout.split()[-1] in ("0", "-9"), done.stderr


def test_a_current_folder_that_is_gone_is_named(folder):
    done = run(folder, f"os.rmdir({str(folder)!r})\n" + ASKS)

    assert "HarnessError: the current folder" in done.stderr and "cd to one that is there" in done.stderr


@pytest.mark.parametrize("how", ["daemon", "fork", "session"])
def test_what_a_process_leaves_behind_ends_with_it(how, folder):
    body = f"""
ours, theirs = Pipe()
child = fork_server.launch(here.leaves, (theirs, {how!r}), "")
theirs.close()
print(ours.recv())
if {how!r} == "fork": child.process.join(9)
print(child.end())
"""
    done = run(folder, body)

    left, code = map(int, done.stdout.split())
    assert code == (7 if how == "fork" else -9)
    assert ends(left), done.stderr


def test_a_command_ends_what_plugins_left_in_sessions_of_their_own(folder):
    body = """
from harness.system.supervisor import supervised

def work():
    process = subprocess.Popen(
        [sys.executable, "-c", "import os; os.fork() and os._exit(0); import time; time.sleep(100)"],
        start_new_session=True,
    )
    process.wait()
    print(process.pid, file=sys.stderr)
    return 0

sys.exit(supervised(work, "goes on"))
"""
    done = run(folder, body)

    assert done.returncode == 0
    session = int(done.stderr)
    assert not [row for row in _rows().values() if row.session == session]


def ends(process):
    until = time.monotonic() + 5
    while process in _rows() and time.monotonic() < until:
        time.sleep(0.02)
    return process not in _rows()
