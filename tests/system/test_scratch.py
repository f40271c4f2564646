"""Scratch goes where it was named; what has a name like a scratch folder and is none stays, and stops no run."""

from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.system import scratch
from tests.helpers.planted import picture_folder

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


VARIABLES = ("TMPDIR", "TEMP", "TMP")


@pytest.fixture
def named(tmp_path, monkeypatch):
    """named("TMPDIR") lets this variable alone name a folder that is not there."""

    def name(variable, folder=tmp_path / "not mounted"):
        for each in VARIABLES:
            monkeypatch.delenv(each, raising=False)
        monkeypatch.setenv(variable, str(folder))
        monkeypatch.setattr("tempfile.tempdir", None)

    return name


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_place_for_temporary_files_that_cannot_be_used_is_not_replaced_by_another(named, tmp_path, variable, kind):
    named(variable)
    if kind == "a file":
        (tmp_path / "not mounted").write_text("mine")
    before = list(tmp_path.iterdir())

    said = f"nothing can be written to {variable} .*; name another"
    with pytest.raises(HarnessError, match=said), scratch.scratch_folder():
        pass
    assert list(tmp_path.iterdir()) == before


def test_the_first_variable_counts_and_a_program_may_choose_another_folder(named, tmp_path, monkeypatch):
    named("TMPDIR", tmp_path)
    monkeypatch.setenv("TEMP", "/nowhere")
    assert scratch.temporary_folder() == tmp_path

    (tmp_path / "chosen").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "chosen"))
    assert scratch.temporary_folder() == tmp_path / "chosen"


@pytest.mark.parametrize(
    "words",
    [
        ["obfuscate", "--defense", "mix", "--out", "out", "--secret", "s.npz"],
        ["run", "--no-cache", "--defense", "mix", "--attack", "smooth", "--epochs", "1", "--records", "r"],
        ["preview", "--defense", "mix", "--out", "sheet.png"],
        ["external", "release", "--defense", "mix", "--epochs", "1", "--out", "out"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_looks_at_it_before_anything_is_made(named, tmp_path, monkeypatch, capsys, words):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    named("TMPDIR")

    assert main([*words, "--dataset", str(picture_folder(tmp_path / "pictures", each=4))]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "nothing can be written to TMPDIR" in said[0]
    assert list((tmp_path / "here").iterdir()) == []


def test_a_command_that_keeps_nothing_there_does_not_need_it(named, capsys):
    named("TMPDIR")

    assert main(["list", "defenses"]) == 0 and "mix" in capsys.readouterr().out


@pytest.mark.parametrize("kept", ["publish", "no cache", "published", "release cache"])
def test_in_python_it_is_looked_at_where_scratch_is_first_used(named, tmp_path, monkeypatch, kept):
    from harness.client.release_cache import ReleaseCache
    from harness.data.load import load
    from harness.publish import obfuscate, published
    from harness.registry import load_registry

    registry, place = load_registry([]), tmp_path / "place"
    pictures = picture_folder(tmp_path / "pictures", each=8)
    place.mkdir()
    named("TMPDIR")
    monkeypatch.setenv("HARNESS_NO_CACHE", "1")

    def use():
        if kept == "publish":
            mix, out, secret = registry.get("defenses", "mix"), place / "out", place / "s.npz"
            obfuscate.publish(mix, registry, pictures, out, secret, releases=1, root=bytes(16))
        elif kept == "no cache":
            load(pictures)
        elif kept == "published":
            published._splits(pictures, SimpleNamespace(height=8, width=8), "pictures")
        else:
            ReleaseCache()

    with pytest.raises(HarnessError, match="nothing can be written to TMPDIR"):
        use()
    assert list(place.iterdir()) == []


def test_a_worker_takes_no_other_folder_where_it_has_become_full(named, tmp_path):
    """Its own first look at the folder would find it full, and go to /tmp."""
    from harness.client.release_cache import ReleaseCache
    from harness.registry import load_registry
    from harness.run.worker import Worker

    named("TMPDIR")
    Worker(load_registry([]), ReleaseCache(tmp_path))

    with pytest.raises(FileNotFoundError), tempfile.TemporaryFile():
        pass


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
