"""A command that ends early has failed, whatever its exit code; signals reach it; stdout holds results alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

PROGRAM = """
import os, signal, sys, threading, time
from harness.system.messages import shown
from harness.system.output import open_standard_streams, results
from harness.system.supervisor import noted, supervised

def command():
    {body}
    print("result", file=results(), flush=True)
    return {code}

if __name__ == "__main__":
    open_standard_streams()
    with shown():
        sys.exit(supervised(command, "goes on"))
"""


def program(body: str, code: int = 3) -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(body=body.replace("\n", "\n    "), code=code)]


def run(body: str, code: int = 3, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(program(body, code), capture_output=True, text=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_the_exit_code_and_the_result_are_the_commands() -> None:
    done = run("pass")

    assert (done.returncode, done.stdout, done.stderr) == (3, "result\n", "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os._exit(0)", "something ended the process (exit code 0); the same command goes on"),
        ("os._exit(3)", "something ended the process (exit code 3)"),
        ("with noted(\"defense 'bye'\"): os._exit(0)", "defense 'bye' ended the process (exit code 0)"),
        ("with noted('a'):\n    with noted('b'): pass\n    os._exit(0)", "harness: a ended the process"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "something crashed (signal 11, SIGSEGV)"),
        ("os.abort()", "something crashed (signal 6, SIGABRT)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed (signal 9, SIGKILL); out of memory?"),
        ("os.closerange(0, 256); os._exit(0)", "ended the process (exit code 0)"),
    ],
)
def test_a_process_that_ends_without_its_work_has_failed(body: str, said: str) -> None:
    done = run(body, 0)

    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "body",
    [
        "print('noise')",
        "os.write(1, b'noise')",
        "os.system('echo noise')",
        "os.close(1)",
        "sys.stdout.close()",
        "threading.Thread(target=time.sleep, args=(600,)).start()",
        "import atexit; atexit.register(os._exit, 0)",
        "import atexit; atexit.register(sys.exit, 0)",
    ],
)
def test_what_a_plugin_does_to_its_process_reaches_neither_the_result_nor_the_exit_code(body: str) -> None:
    done = run(body)

    assert (done.returncode, done.stdout) == (3, "result\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_as_ctrl_c_does(number: signal.Signals) -> None:
    body = "try:\n    print('up', file=sys.stderr, flush=True)\n    time.sleep(60)\nfinally: "
    body += "print('cleaned', file=sys.stderr)"
    started = subprocess.Popen(
        program(body), stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
    )
    assert started.stderr is not None
    with started:
        assert started.stderr.readline() == "up\n"
        started.send_signal(number)
        rest = started.stderr.read()

    assert rest.startswith("cleaned\n")
    assert "Interrupted" in rest


def test_a_signal_at_the_end_of_the_work_reaches_nobody_else() -> None:
    """While exit handlers run, the command's own process handles signals once more."""
    body = "import atexit; atexit.register(time.sleep, 60); os.kill(os.getpid(), 0)\n"
    body += "threading.Timer(1, lambda: print('ending', os.getpid(), file=sys.stderr, flush=True)).start()"
    caller = "import signal, subprocess, sys; got = []; signal.signal(signal.SIGTERM, lambda *_: got.append(1))\n"
    caller += f"started = subprocess.Popen({program(body)!r}, stderr=subprocess.PIPE, text=True)\n"
    caller += (
        "line = started.stderr.readline()\nwhile not line.startswith('ending'): line = started.stderr.readline()\n"
    )
    caller += "import os; os.kill(int(line.split()[1]), signal.SIGTERM)\n"
    caller += "print(started.wait(timeout=30), started.stderr.read(), len(got))"

    done = subprocess.run(
        [sys.executable, "-c", caller], capture_output=True, text=True, timeout=60, start_new_session=True, check=False
    )

    assert done.stdout.split() == ["result", "3", "0"], done.stdout + done.stderr


def test_a_signal_that_the_caller_ignores_is_ignored() -> None:
    """`nohup`."""
    done = run(
        "os.kill(os.getppid(), signal.SIGHUP); os.kill(os.getpid(), signal.SIGHUP)",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )

    assert (done.returncode, done.stdout) == (3, "result\n")


def test_the_command_ends_with_the_process_that_was_started(tmp_path: Path) -> None:
    started = subprocess.Popen(
        program("print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"), stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    with started:
        child = int(started.stderr.readline())
        started.kill()

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _lives(child):
        time.sleep(0.02)
    assert not _lives(child)


def test_a_command_whose_starter_was_killed_has_nothing_to_say() -> None:
    """Where the system does not end it at once. stderr ends with the last process that writes to it."""
    body = "parent = os.getppid(); os.kill(parent, signal.SIGKILL)"
    body += "\nwhile os.getppid() == parent: time.sleep(0.01)"
    command = program(body)
    command[-1] = command[-1].replace("open_standard_streams()", "open_standard_streams()\n    " + _STAYS)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


_STAYS = "from harness.system import supervisor; supervisor._end_with = lambda *_: None"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_are_opened_on_nothing(closed: tuple[int, ...]) -> None:
    """`>&-`: no file that is opened later gets the number of stdout."""
    done = run("print('noise'); assert os.open('/dev/null', 0) > 2", preexec_fn=lambda: [os.close(n) for n in closed])

    assert done.returncode == 3
    assert done.stdout == ("" if 1 in closed else "result\n")
