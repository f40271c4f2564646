"""What has a name like a scratch folder and is none stays, and stops no run."""

from __future__ import annotations

import os

import pytest

from harness.errors import HarnessError
from harness.system import scratch

PID = 2**22 + 1  # of no process: Linux counts to 2**22


@pytest.mark.parametrize(
    "name",
    [
        "",
        "unlocked.",
        "unlocked.x",
        "unlocked.a.b",
        "unlocked.{host}.0.00000000",
        "unlocked.{host}.-1.00000000",
        "unlocked.{host}." + "9" * 40 + ".00000000",
        "unlocked.{host}.x.00000000",
        "unlocked.{host}.1.2.3.4",
        "run.",
        "run.\udcff",
        "run.a b\n",
    ],
)
@pytest.mark.parametrize("kind", ["folder", "full", "file", "link", "fifo", "unreadable"])
def test_an_odd_name_is_ignored(name, kind, tmp_path):
    odd = tmp_path / (scratch.PREFIX + name.format(host=scratch._host()))
    if kind == "file":
        odd.write_text("mine")
    elif kind == "link":
        odd.symlink_to(tmp_path / "nothing")
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.mkdir()
        if kind == "full":
            (odd / "mine").write_text("mine")
        if kind == "unreadable":
            odd.chmod(0)
    before = time_long_ago(odd)

    scratch.remove_abandoned(tmp_path)

    if kind not in ("folder", "unreadable"):
        assert os.path.lexists(odd) and before
    if kind == "full":
        assert (odd / "mine").read_text() == "mine" and os.listdir(odd) == ["mine"]


def test_a_place_for_temporary_files_that_cannot_be_used_is_not_replaced_by_another(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "not mounted"))
    monkeypatch.setattr("tempfile.tempdir", None)

    with pytest.raises(HarnessError, match="nothing can be written to TMPDIR"), scratch.scratch_folder():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_locks_goes_when_its_process_has_ended(tmp_path):
    named = tmp_path / f"{scratch.PREFIX}unlocked.{scratch._host()}.{PID}.0123abcd"
    (named / "epochs").mkdir(parents=True)
    time_long_ago(named)

    scratch.remove_abandoned(tmp_path)

    assert not named.exists()


def time_long_ago(path):
    if not path.is_symlink():
        os.utime(path, (1, 1))
    return True
