"""A record that is replaced while others read it is the old one or the new one, and is never set aside."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.records import Records, RunResult, RunSpec, record_files, store
from harness.records.numbers import DamageError
from harness.records.store import read, read_all, read_one
from harness.system import arrays as system_arrays
from tests.helpers.no_locks import refuse_locks
from tests.helpers.rows import inputs

CNN = {"name": "cnn", "version": 1, "params": {}, "kind": "recognition"}
SPEC = RunSpec("attack", {**inputs("mix", 0), "attack": CNN, "targets": 1000})
ONE = RunResult(SPEC, "ok", arrays={"top1": np.array([0.0, 1.0]), "units": np.arange(2)}, facts={"steps": 1})
OTHER = replace(ONE, arrays={"top1": np.array([1.0, 1.0, 0.0]), "units": np.arange(3)}, facts={"steps": 2})
FAILED = RunResult(SPEC, "failed", "no luck")
CHANGES = [(FAILED, ONE), (ONE, FAILED), (ONE, OTHER)]


@pytest.fixture(params=["locks", "no locks"])
def folder(request, tmp_path, monkeypatch) -> Path:
    if request.param == "no locks":
        refuse_locks(monkeypatch, errno.ENOSYS)
    return tmp_path / "records"


def file_of(folder: Path) -> Path:
    return folder / f"{SPEC.key}.json"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def same(found: RunResult, expected: RunResult) -> bool:
    return (found.status, found.facts) == (expected.status, expected.facts) and all(
        np.array_equal(found.arrays[name], values) for name, values in expected.arrays.items()
    )


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=["done", "failed", "measured again"])
def test_at_every_step_of_replacing_a_record_it_is_the_old_one_or_the_new_one(folder, monkeypatch, before, after):
    Records(folder).write(before)
    rename, unlink, seen = os.replace, Path.unlink, []

    def look() -> None:
        (found,) = Records(folder).all()
        assert same(found, before) or same(found, after)
        assert same(read_all(folder)[0], found)
        seen.append(found.status)

    def renamed(source, target, **given):
        look()
        rename(source, target, **given)
        look()

    def removed(path, **given):
        unlink(path, **given)
        look()

    with monkeypatch.context() as patch:
        patch.setattr(record_files, "_WAIT", 0.02)  # this process itself holds the lock
        patch.setattr(os, "replace", renamed)
        patch.setattr(Path, "unlink", removed)
        Records(folder).write(after)

    assert len(seen) >= 4 and seen[0] == before.status and seen[-1] == after.status
    assert names(folder) == {f"{SPEC.key}.json"} | ({f"{SPEC.key}.npz"} if after.arrays else set())


@pytest.mark.parametrize("reader", [lambda folder: list(Records(folder).all()), read_all], ids=["all", "read_all"])
def test_a_record_that_is_replaced_between_its_two_files_is_read_again(folder, monkeypatch, reader):
    Records(folder).write(FAILED)
    load, loaded = store.load, []

    def load_and_replace(path):
        document = load(path)
        if not loaded:
            loaded.append(path)
            Records(folder).write(ONE)
        return document

    monkeypatch.setattr(store, "load", load_and_replace)

    (found,) = reader(folder)

    assert same(found, ONE) and not list(folder.glob("*.corrupt"))


@pytest.mark.parametrize("at", ["before the lock", "under the lock"])
def test_a_damaged_record_that_has_been_replaced_is_not_set_aside(folder, monkeypatch, at):
    Records(folder).write(ONE)
    file_of(folder).write_text("{")
    seen, rename = record_files.standing(file_of(folder)), os.replace

    def replaced_first(source, target, **given):
        if str(target).endswith(".corrupt"):
            monkeypatch.setattr(os, "replace", rename)
            monkeypatch.setattr(record_files, "_WAIT", 0.02)
            Records(folder).write(OTHER)
        rename(source, target, **given)

    if at == "before the lock":
        Records(folder).write(OTHER)
    else:  # by a process that could not have the lock
        monkeypatch.setattr(os, "replace", replaced_first)

    assert record_files.set_aside(file_of(folder), seen) is None
    assert same(read(file_of(folder)), OTHER) and not list(folder.glob("*.corrupt"))


def test_a_run_that_is_killed_between_the_two_files_leaves_the_new_record(folder, monkeypatch, caplog):
    Records(folder).write(ONE)
    rename = os.replace

    def killed(source, target, **given):
        if Path(target) == file_of(folder):
            raise KeyboardInterrupt
        rename(source, target, **given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        Records(folder).write(OTHER)

    assert same(Records(folder).find(SPEC), OTHER) and not caplog.records
    Records(folder).write(ONE)
    assert same(Records(folder).find(SPEC), ONE) and names(folder) == {f"{SPEC.key}.json", f"{SPEC.key}.npz"}


def _reads(folder: Path, stop) -> None:
    logging.disable(logging.CRITICAL)
    while not stop.is_set():
        list(Records(folder).all())


def test_another_process_that_reads_meanwhile_sets_nothing_aside(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    stop, records = spawn.Event(), Records(tmp_path)
    reader = spawn.Process(target=_reads, args=(tmp_path, stop))
    reader.start()
    try:
        for _ in range(60):
            records.write(FAILED)
            records.write(ONE)
            assert not list(tmp_path.glob("*.corrupt"))
    finally:
        stop.set()
        reader.join()
    assert reader.exitcode == 0 and same(Records(tmp_path).find(SPEC), ONE)


def test_a_lock_that_another_program_holds_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(record_files, "_WAIT", 0.05)
    with (tmp_path / f".{SPEC.key}.replace").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        Records(tmp_path).write(ONE)

    assert same(Records(tmp_path).find(SPEC), ONE)


def test_a_temporary_file_of_another_run_may_go_while_the_folder_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda *_: iter([tmp_path / ".gone.tmp"]))

    Records(tmp_path).check_writable()


# What says nothing of the record


def _no_memory(*_, **__):
    raise MemoryError


def _no_memory_of_zlib(*_, **__):
    raise zlib.error("Error -4 while decompressing data: insufficient memory")


@pytest.mark.parametrize(
    ("module", "name", "fault"),
    [
        (system_arrays, "_array", _no_memory),
        (system_arrays, "_array", _no_memory_of_zlib),
        (store, "digest", _no_memory),
        (store, "check_arrays", _no_memory),
        (store, "parse_json", _no_memory),
    ],
)
def test_a_record_that_does_not_fit_into_memory_now_stays(tmp_path, monkeypatch, caplog, module, name, fault):
    Records(tmp_path).write(ONE)
    whole = names(tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fault)
        assert list(Records(tmp_path).all()) == [] and Records(tmp_path).find(SPEC) is None
        with pytest.raises(HarnessError, match=r"does not fit into memory\); try again") as caught:
            read_one(SPEC.key, tmp_path)

    assert "damaged" not in str(caught.value) and "damaged" not in caplog.text
    assert "does not fit into memory" in caplog.text and "left out" in caplog.text
    assert names(tmp_path) == whole and same(Records(tmp_path).find(SPEC), ONE)


@pytest.mark.parametrize("how", ["closed", "dangling", "loop"])
def test_numbers_behind_a_link_that_cannot_be_followed_leave_one_record_out(tmp_path, monkeypatch, caplog, capsys, how):
    sound = replace(ONE, spec=RunSpec("attack", {**SPEC.inputs, "seed": 1}))
    Records(tmp_path / "r").write(sound)
    Records(tmp_path / "r").write(ONE)
    numbers = file_of(tmp_path / "r").with_suffix(".npz")
    numbers.unlink()
    numbers.symlink_to(numbers if how == "loop" else tmp_path / "closed" / "numbers.npz")
    whole, stat = names(tmp_path / "r"), Path.stat

    def denied(path, **given):
        if path == numbers and given.get("follow_symlinks", True):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **given)

    if how == "closed":
        monkeypatch.setattr(Path, "stat", denied)
    assert main(["rank", "--records", str(tmp_path / "r"), "--out", str(tmp_path), "--json"]) == 0

    assert [record.spec.inputs["seed"] for record in Records(tmp_path / "r").all()] == [1]
    assert f"{numbers.name}" in caplog.text and "left out" in caplog.text and "damaged" not in caplog.text
    assert names(tmp_path / "r") == whole
    with pytest.raises(HarnessError, match=rf"unreadable \({numbers.name}: .*\); try again"):
        read_one(SPEC.key, tmp_path / "r")


def test_numbers_that_are_not_there_are_damage(tmp_path):
    Records(tmp_path).write(ONE)
    file_of(tmp_path).with_suffix(".npz").unlink()

    with pytest.raises(DamageError, match="is missing"):
        read(file_of(tmp_path))
    assert json.loads(file_of(tmp_path).read_text())["status"] == "ok"
