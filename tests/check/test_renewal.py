"""`harness check --update` takes no other program's folder, and what others write meanwhile is never lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.check import baseline as baselines
from harness.check import renewal
from harness.check.renewal import copied
from harness.errors import HarnessError
from harness.records import Records, RunResult
from tests.check.conftest import GOOD, LEVEL, WORSE, kept
from tests.helpers.checked import release
from tests.helpers.no_locks import refuse_locks
from tests.helpers.paths import ROOT

MADE = sorted(record.spec.key for record in GOOD)
KEY = "0123456789abcdef01234567"


def content(folder: Path) -> dict[str, bytes | None]:
    every = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in every}


# ---- whose suite.json it is


FOREIGN = {
    "another tool's tests": {"tests": ["a", "b"], "precious": 1},
    "names that are alphanumeric": {"records": ["data", "results"]},
    "nothing": {},
    "no names": {"records": []},
    "names of hashes, and none of them a record": {"records": [KEY]},
    "another format": {"format": "npm", "records": MADE},
    "fields of another program": {"records": MADE, "name": "suite"},
    "a list": MADE,
    "text": "suite",
    "a name in capitals": {"records": [KEY.upper()]},
    "a name of another folder": {"records": [f"../../{KEY}"]},
    "a name with a line end": {"records": [f"{KEY}\n"]},
}


@pytest.mark.parametrize("said", FOREIGN.values(), ids=FOREIGN)
def test_another_programs_suite_json_is_refused_before_anything_runs(check, tmp_path, said):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "suite.json").write_text(json.dumps(said))
    for name in ("data.json", "results.npz", f"{KEY}.json", f"{KEY}.npz", "notes.txt"):
        (folder / name).write_text("mine")
    before = content(tmp_path)

    code, _, err = check(["never made"], folder, "--update")

    assert code == 2 and err.count("\n") == 1 and "is no baseline" in err and "suite.json" in err
    assert content(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing", "no JSON"])
def test_a_suite_json_that_is_no_document_is_refused(check, baseline, kind):
    mark = baseline / "suite.json"
    if kind == "folder":
        mark.mkdir()
    elif kind == "pipe":
        os.mkfifo(mark)
    elif kind == "link to nothing":
        mark.symlink_to("nowhere")
    else:
        mark.write_text("{")

    code, _, err = check(["never made"], baseline, "--update")

    assert code == 2 and err.count("\n") == 1 and "is no baseline" in err


def test_a_baseline_of_an_earlier_version_is_renewed_and_gets_its_format(check, baseline):
    (baseline / "suite.json").write_text(json.dumps({"records": MADE}))
    Records(baseline).write(release(LEVEL, seed=7))  # not of the suite: without suite.json it would be refused
    assert not json.loads((baseline / "suite.json").read_text()).get("format")

    assert check(GOOD[:1], baseline, "--update")[0] == 0

    assert json.loads((baseline / "suite.json").read_text()) == {
        "format": baselines.FORMAT,
        "records": [GOOD[0].spec.key],
    }
    assert GOOD[1].spec.key not in kept(baseline) and len(kept(baseline)) == 2


def test_the_committed_baseline_says_its_format():
    suite = json.loads((ROOT / "leaderboards/baseline/suite.json").read_text())

    assert suite["format"] == baselines.FORMAT and len(suite["records"]) > 100


def test_a_damaged_record_is_removed_only_where_a_suite_json_of_this_version_names_it(check, baseline):
    check(GOOD, baseline, "--update")
    damaged = baseline / f"{GOOD[1].spec.key}.json"
    damaged.write_text("damaged")
    (baseline / f"{KEY}.json").write_text("damaged, and not of the suite")

    check(GOOD[:1], baseline, "--update")

    assert not damaged.exists() and (baseline / f"{KEY}.json").exists()


# ---- while it runs


def updated(folder: Path, meanwhile, made: tuple[RunResult, ...] = GOOD) -> None:
    """Renew, with `meanwhile()` between the copy and the end of the run."""

    def run(copy: Path) -> list[RunResult]:
        for record in made:
            Records(copy).write(record)
        meanwhile()
        return list(made)

    baselines.renew(folder, run)


@pytest.fixture(params=["exchange", "two renames", "no links"])
def system(request, monkeypatch):
    """How folders change places, and whether a file can have two names."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if request.param == "two renames":
        monkeypatch.setattr(renewal, "_exchange", lambda *_: False)
    elif request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)
    return request.param


@pytest.mark.usefixtures("system")
def test_what_others_add_edit_replace_and_remove_meanwhile_stays_so(baseline):
    updated(baseline, lambda: None)
    stranger = release(LEVEL, seed=7)
    for name in ("edited", "replaced", "removed", "kept"):
        (baseline / name).write_text("before")
    (baseline / "link").symlink_to("kept")

    def meanwhile() -> None:
        (baseline / "sub/deep").mkdir(parents=True)
        (baseline / "sub/deep/note").write_text("mine")
        (baseline / ".hidden.1234.tmp").write_text("being written")
        with (baseline / "edited").open("r+") as file:
            file.write("after!")  # of the same length, in place
        (baseline / "other").write_text("after")
        (baseline / "other").replace(baseline / "replaced")
        (baseline / "removed").unlink()
        Records(baseline).write(stranger)

    updated(baseline, meanwhile, WORSE)

    assert (baseline / "sub/deep/note").read_text() == "mine"
    assert (baseline / ".hidden.1234.tmp").read_text() == "being written"
    assert (baseline / "edited").read_text() == "after!" and (baseline / "replaced").read_text() == "after"
    assert not (baseline / "removed").exists() and (baseline / "kept").read_text() == "before"
    assert os.readlink(baseline / "link") == "kept" and (baseline / "README.md").read_text() == "ours\n"
    assert set(kept(baseline)) == {stranger.spec.key, *(record.spec.key for record in WORSE)}
    assert os.listdir(baseline.parent) == ["baseline"]


@pytest.mark.usefixtures("system")
def test_what_comes_in_the_moment_of_the_exchange_is_moved(baseline, monkeypatch):
    updated(baseline, lambda: None)
    replace = renewal._replace

    def at_once(folder: Path, fresh: Path) -> Path | None:
        (folder / "note").write_text("mine")
        (folder / "README.md").write_text("edited at the last moment\n")
        (folder / "more").mkdir()
        (folder / "more/note").write_text("mine")
        return replace(folder, fresh)

    monkeypatch.setattr(renewal, "_replace", at_once)
    updated(baseline, lambda: None, WORSE)

    assert (baseline / "note").read_text() == (baseline / "more/note").read_text() == "mine"
    assert (baseline / "README.md").read_text() == "edited at the last moment\n"
    assert os.listdir(baseline.parent) == ["baseline"]


def test_a_file_that_is_open_for_writing_goes_on_to_be_the_same(baseline):
    log = (baseline / "run.log").open("w")
    updated(baseline, lambda: None)
    with log:
        log.write("written after the exchange")

    assert (baseline / "run.log").read_text() == "written after the exchange"


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path):
    new = tmp_path / "new"

    updated(new, lambda: (new.mkdir(), (new / "note").write_text("mine")))

    assert (new / "note").read_text() == "mine" and len(kept(new)) == 2


def test_a_folder_that_becomes_a_link_meanwhile_is_refused(baseline, tmp_path):
    """What the link names is no copy's former folder: nothing is moved out of it."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_text("mine")

    def meanwhile() -> None:
        baseline.rename(tmp_path / "moved")
        baseline.symlink_to(tmp_path / "theirs")

    with pytest.raises(HarnessError, match="became a link"):
        updated(baseline, meanwhile)

    assert os.listdir(tmp_path / "theirs") == ["file"] and (tmp_path / "moved/README.md").exists()
    assert baseline.is_symlink()


def test_a_suite_json_that_is_changed_meanwhile_is_refused(baseline):
    updated(baseline, lambda: None)
    changed = json.dumps({"format": baselines.FORMAT, "records": MADE[:1]})

    with pytest.raises(HarnessError, match=r"suite.json was changed while this ran; nothing was renewed"):
        updated(baseline, lambda: (baseline / "suite.json").write_text(changed), WORSE)

    assert (baseline / "suite.json").read_text() == changed and os.listdir(baseline.parent) == ["baseline"]


def test_a_claim_of_another_run_is_not_seen_in_the_copy_and_stays(baseline):
    claim = f".{KEY}.claim"
    (baseline / claim).touch()
    with copied(baseline) as copy:
        assert not (copy.path / claim).exists()
        copy.put_in_place(())

    assert (baseline / claim).exists()


def test_a_second_update_at_once_is_refused(check, baseline):
    with copied(baseline):
        code, _, err = check(["never made"], baseline, "--update")

    assert code == 2 and f"another run updates {baseline}" in err and err.count("\n") == 1


def test_without_locks_it_is_renewed(check, baseline, monkeypatch):
    refuse_locks(monkeypatch, 38)

    assert check(WORSE, baseline, "--update")[0] == 0 and os.listdir(baseline.parent) == ["baseline"]


def test_a_folder_whose_place_is_taken_is_not_lost(baseline, monkeypatch):
    """Without an exchange there is a moment in which another program can make a folder of that name."""
    monkeypatch.setattr(renewal, "_exchange", lambda *_: False)
    rename = Path.rename

    def race(self: Path, target: Path) -> Path:
        if self.name == "fresh":
            target.mkdir()
            (target / "other").touch()
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", race)
        with pytest.raises(HarnessError, match="the former folder is now"):
            updated(baseline, lambda: None)
    (left,) = baseline.parent.glob(".baseline.*.update")

    assert (left / "stale/README.md").read_text() == "ours\n"
    updated(baseline, lambda: None)
    assert (left / "stale/README.md").exists()


def test_a_users_own_folder_with_the_name_of_a_copy_stays(baseline):
    own = baseline.with_name(".baseline.0123abcd.update")
    own.mkdir()
    (own / "thesis.txt").write_text("mine")

    updated(baseline, lambda: None)

    assert (own / "thesis.txt").read_text() == "mine"


# ---- killed


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.check import renewal
MOMENT
with renewal.copied(Path(sys.argv[1])) as copy:
    (copy.path / "made").touch()
    copy.put_in_place(())
"""
IN_THE_RUN = "renewal.Copy.put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
BETWEEN = """
renewal._exchange = lambda *_: False
rename = Path.rename
Path.rename = lambda self, new: os.kill(os.getpid(), signal.SIGKILL) if self.name == "fresh" else rename(self, new)
"""


@pytest.mark.parametrize("moment", [IN_THE_RUN, BETWEEN], ids=["in the run", "between two renames"])
def test_what_a_killed_update_left_is_removed_by_the_next_and_the_baseline_is_there(check, baseline, moment):
    before = content(baseline)
    others = [baseline.parent / name for name in (".baseline.notes", ".baseline.0123abcd", ".other.0123abcd.update")]
    for other in others:
        other.mkdir()
    command = [sys.executable, "-c", KILLED.replace("MOMENT", moment), str(baseline)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert list(baseline.parent.glob(".baseline.*.update"))

    with copied(baseline) as copy:
        assert content(copy.path) == before and content(baseline) == before
        assert [each.parent for each in baseline.parent.glob(".baseline.*.update/fresh")] == [copy.path.parent]

    assert sorted(path.name for path in baseline.parent.iterdir()) == sorted(["baseline", *(o.name for o in others)])


def test_a_folder_in_it_that_is_read_only_leaves_nothing_behind(baseline):
    (baseline / "read").mkdir()
    (baseline / "read/only").write_text("mine")
    (baseline / "read").chmod(0o555)
    try:
        updated(baseline, lambda: None)
        assert (baseline / "read/only").read_text() == "mine" and os.listdir(baseline.parent) == ["baseline"]
        assert (baseline / "read").stat().st_mode & 0o777 == 0o555
    finally:
        (baseline / "read").chmod(0o755)


def test_records_that_are_kept_elsewhere_are_not_written_into_the_baselines_files(baseline, tmp_path):
    """The copy shares its files with the baseline: a file is replaced, never written to."""
    Records(tmp_path / "kept").write(GOOD[0])
    shared = baseline / f"{GOOD[0].spec.key}.json"
    os.link(shared, tmp_path / "second name")
    number = shared.stat().st_ino

    shutil.copytree(baseline, tmp_path / "copy", copy_function=os.link)
    baselines.copy_records(GOOD[:1], tmp_path / "kept", tmp_path / "copy")

    assert shared.stat().st_ino == number != (tmp_path / "copy" / shared.name).stat().st_ino


def test_where_the_result_cannot_be_printed_the_line_says_that_the_baseline_was_renewed(check, baseline, monkeypatch):
    def full() -> None:
        raise OSError(28, "No space left on device", "stdout")

    monkeypatch.setattr("harness.commands.common.finish_results", full)
    code, _, err = check(WORSE, baseline, "--update")

    assert code == 2 and f"No space left on device; but {baseline} is there, complete" in err
    assert set(kept(baseline)) == {record.spec.key for record in WORSE}
