"""Processes run no file of the current folder, start whatever became of the fork server, and leave none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.system.process_tree import _rows

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed on Linux")

STARTS = 'fork_server.start(["harness.system.fork_server"])'
PROGRAM = f"""
import os, signal, subprocess, sys, time
from multiprocessing import forkserver
from multiprocessing.connection import Pipe
from pathlib import Path
sys.path.append({{tests!r}})
from harness.system import fork_server
from tests.system import test_fork_server as here

if __name__ == "__main__":
    {STARTS}
    {{body}}
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


def waits(environment, connection):
    """In the new process: end with 7 on Ctrl-C."""
    fork_server_begin(environment)
    signal.signal(signal.SIGINT, lambda *_: os._exit(7))
    connection.send(os.getpid())
    time.sleep(100)


def fails():
    raise ArithmeticError("planted")


def fork_server_begin(environment):
    from harness.system import fork_server

    fork_server.begin(environment)


def write(folder, body, starts=True):
    """A program with a fork server, and the command that runs it."""
    text = PROGRAM if starts else PROGRAM.replace(STARTS, "")
    file = folder.parent / "program.py"
    file.write_text(text.format(tests=str(ROOT), body=body.replace("\n", "\n    ")))
    return [sys.executable, str(file)]


def run(folder, body):
    return subprocess.run(write(folder, body), cwd=folder, capture_output=True, text=True, check=False, timeout=60)


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


KILLED = """
from multiprocessing import popen_forkserver, reduction

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

{patch}
fork_server.launch(here.says_where, (Pipe()[1],), "")
"""


@pytest.mark.parametrize(
    "patch",
    [
        "forkserver.reduction.sendfds = die",
        "popen_forkserver.util.Finalize = die",
        (
            "write = os.write\n"
            "def open(file, mode, **_):\n"
            "    class Half:\n"
            "        def __enter__(self): return self\n"
            "        def __exit__(self, *_): pass\n"
            "        def write(self, data): write(file, data[: len(data) - 20]); die()\n"
            "    return Half()\n"
            "popen_forkserver.open = open"
        ),
    ],
    ids=["connected", "forked", "half of it said"],
)
def test_where_the_process_that_asked_is_killed_nothing_is_said(patch, folder):
    """stderr ends when the last process ends that writes to it."""
    done = run(folder, KILLED.format(patch=patch))

    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


def test_ctrl_c_while_the_fork_server_imports_is_for_the_command_alone(folder):
    """Both get it: they are of one process group. stderr ends with the last process that writes to it."""
    go_on = folder / "go on"
    (folder / "slow.py").write_text(
        "import os, sys, time\nprint('importing', file=sys.stderr, flush=True)\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\nprint('imported', file=sys.stderr)\n"
    )
    body = f"""
sys.path.append({str(folder)!r})
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    fork_server.start(["slow"])
    time.sleep(100)
except KeyboardInterrupt:
    print("stopped", file=sys.stderr, flush=True)
    while not os.path.exists({str(go_on)!r}): time.sleep(0.01)
"""
    program = write(folder, body, starts=False)
    with subprocess.Popen(program, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True) as command:
        assert command.stderr is not None
        lines = [command.stderr.readline()]
        os.killpg(command.pid, signal.SIGINT)
        lines.append(command.stderr.readline())
        go_on.touch()
        lines += command.stderr.readlines()

    assert lines == ["importing\n", "stopped\n", "imported\n"]


def test_a_process_gets_ctrl_c_though_the_fork_server_does_not(folder):
    body = """
ours, theirs = Pipe()
child = fork_server.launch(here.waits, (theirs,), "")
theirs.close()
os.kill(ours.recv(), signal.SIGINT)
child.process.join(30)
print(child.end())
"""
    assert run(folder, body).stdout == "7\n"


def test_an_error_of_a_process_that_is_asked_for_is_said(folder):
    body = """
class Fails:
    def __reduce__(self):
        return here.fails, ()

fork_server.launch(here.says_where, (Fails(),), "").process.join(9)
"""
    assert "ArithmeticError: planted" in run(folder, body).stderr


def ends(process):
    until = time.monotonic() + 5
    while process in _rows() and time.monotonic() < until:
        time.sleep(0.02)
    return process not in _rows()
