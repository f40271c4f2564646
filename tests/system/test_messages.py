"""What is said beside the result: by level, on what stderr is now, and by `logging` in the program of somebody else."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from harness.cli import main
from harness.system.messages import NORMAL, QUIET, VERBOSE, log, shown
from harness.system.progress import ProgressDisplay, ProgressReporter
from tests.helpers.planted import picture_folder


def say_all():
    log.debug("detail")
    log.info("wrote it")
    log.warning("left out")
    log.error("refused")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (QUIET, ["harness: left out", "harness: refused"]),
        (NORMAL, ["wrote it", "harness: left out", "harness: refused"]),
    ],
)
def test_what_is_shown_is_of_the_level_and_above(capsys, level, expected):
    with shown(level):
        say_all()

    assert capsys.readouterr().err.splitlines() == expected


def test_details_come_with_the_time_of_day(capsys):
    with shown(VERBOSE):
        say_all()

    said = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in said] == ["detail", "wrote it", "harness: left out", "harness: refused"]
    assert all(line[2] == line[5] == ":" and line[:2].isdecimal() for line in said)


def test_after_the_block_nothing_is_shown_any_more(capsys):
    level, handlers = log.level, list(logging.getLogger().handlers)
    with shown(VERBOSE):
        pass
    log.error("nobody listens")

    assert log.level == level and logging.getLogger().handlers == handlers
    assert capsys.readouterr().err == ""


def test_warnings_of_libraries_are_shown_and_their_details_are_not(capsys):
    with shown(VERBOSE):
        logging.getLogger("some.library").info("a detail")
        logging.getLogger("some.library").warning("beware")

    assert capsys.readouterr().err.endswith("harness: beware\n") and "a detail" not in capsys.readouterr().err


def test_names_control_no_terminal(capsys):
    with shown():
        log.warning("%s is left out", "a\x1b[2Jb\u202e.png")

    assert capsys.readouterr().err == "harness: a\\x1b[2Jb\\u202e.png is left out\n"


def test_a_message_goes_to_what_stderr_is_at_that_time(monkeypatch):
    """While a bar is drawn, rich takes the place of stderr."""
    with shown():
        later = io.StringIO()
        monkeypatch.setattr(sys, "stderr", later)
        log.info("above the bar")

    assert later.getvalue() == "above the bar\n"


def test_a_program_that_has_set_up_logging_gets_the_messages_as_it_wants_them(capsys):
    """In a process of its own: here pytest has a handler."""
    program = (
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout, format='%(name)s %(levelname)s %(message)s')\n"
        "from harness.system.messages import log, shown\n"
        "with shown(None):\n"
        "    log.info('wrote it')\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("harness INFO wrote it\n", "")


def test_a_program_that_has_not_is_shown_them_on_stderr():
    program = "from harness.system.messages import log, shown\nwith shown(None):\n    log.info('wrote it')\n"
    program += "log.info('and this is not shown')\n"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "wrote it\n")


def test_quiet_work_says_nothing_of_its_progress(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown(QUIET), ProgressDisplay() as display:
        display.expect([("mix", None)])
        display.step("mix")
        display.progress("obfuscating", 1, 2)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
        ProgressReporter("photos: unpacking").update(1, 2)

    assert capsys.readouterr().err == ""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = picture_folder(tmp_path / "stripes", each=12)

    def call(*options):
        given = ["--dataset", str(folder), "--epochs", "1", "--threads", "1", "--no-utility"]
        code = main(["run", "--defense", "mix", "--attack", "look", *given, *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_result_is_the_same_however_much_is_said(run, tmp_path):
    """And of a quiet run the result is all there is."""
    code, result, err = run()
    quiet, verbose = run("--quiet"), run("--verbose")

    assert code == 0 and "[1/3]" in err
    assert quiet == (0, result, "")
    assert verbose[:2] == (0, result)


def test_verbose_names_data_records_and_each_piece(run):
    _, _, err = run("-v")

    for expected in ("data set stripes", "0 recorded in results, 3 to do", "device cpu", "attack mix look, seed 0: ok"):
        assert expected in err, expected


def test_quiet_still_says_why_nothing_was_done(run):
    code, out, err = run("--quiet", "--size", "0")

    assert (code, out) == (2, "") and err.startswith("harness: ")


def test_quiet_and_verbose_exclude_each_other(run):
    assert run("--quiet", "--verbose")[0] == 2
