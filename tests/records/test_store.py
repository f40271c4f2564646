"""One JSON file per finished piece of work: whole or not there, and never believed when it is damaged."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.records import Records, RunResult, RunSpec, store
from tests.helpers.planted import attack, bench
from tests.helpers.rows import inputs

CNN = {"name": "cnn", "version": 1, "params": {}, "kind": "recognition"}
SPEC = RunSpec("attack", {**inputs("mix", 0), "attack": CNN, "targets": 1000})
RESULT = RunResult(
    SPEC,
    "ok",
    scores={"top1": {"mean": 0.5, "low": 0.25, "high": None, "n": 4}},
    arrays={"top1": np.array([0.0, 1.0, 0.0, 1.0]), "units": np.arange(4)},
    facts={"steps": 1000},
    seconds=1.5,
)


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "records")


def files(records):
    return {path.suffix: path for path in records.folder.iterdir()}


# Kept and found


def test_what_is_written_is_found_again(records):
    written = records.write(RESULT)

    found = records.find(SPEC)

    assert found.scores == RESULT.scores and found.facts == RESULT.facts and found.spec == SPEC
    assert np.array_equal(found.arrays["top1"], RESULT.arrays["top1"])
    assert found.finished == written.finished != ""
    assert [each.spec for each in records.all()] == [SPEC]


def test_a_record_is_read_once_until_its_files_change(records, monkeypatch):
    read, count = store.read, []
    monkeypatch.setattr(store, "read", lambda path: (count.append(path), read(path))[1])
    records.write(RESULT)

    assert records.find(SPEC) is next(records.all()) is records.find(SPEC)
    assert len(count) == 1

    records.write(replace(RESULT, facts={"steps": 2000}))

    assert records.find(SPEC).facts == {"steps": 2000}

    numbers = files(records)[".npz"]
    numbers.write_bytes(numbers.read_bytes()[:-1])

    assert records.find(SPEC) is None


def test_the_file_is_named_by_a_hash_of_the_inputs_and_holds_them(records):
    records.write(RESULT)

    document = json.loads((records.folder / f"{SPEC.key}.json").read_text())

    assert document["inputs"] == SPEC.inputs and document["key"] == SPEC.key


def test_the_order_in_which_inputs_are_said_does_not_matter():
    turned = RunSpec("attack", dict(reversed(SPEC.inputs.items())))

    assert turned.key == SPEC.key != RunSpec("release", SPEC.inputs).key


@pytest.mark.parametrize(
    ("status", "found"), [("ok", True), ("inapplicable", True), ("failed", False), ("skipped", False)]
)
def test_only_what_is_finished_is_not_tried_again(records, status, found):
    """A failure may be mended and credentials may come."""
    records.write(replace(RESULT, status=status, reason="why"))

    assert (records.find(SPEC) is not None) == found
    assert [each.status for each in records.all()] == [status]


def test_a_new_result_takes_the_place_of_a_failure(records):
    records.write(RunResult(SPEC, "failed", "why"))

    records.write(RESULT)

    assert [each.status for each in records.all()] == ["ok"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    records = Records(tmp_path / "nowhere")

    assert records.find(SPEC) is None and list(records.all()) == []
    assert not (tmp_path / "nowhere").exists()


def test_nowhere_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = Records.nowhere()

    records.write(RESULT)

    assert records.find(SPEC) is None and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["scores", "facts", "inputs"])
def test_not_a_number_is_never_written(records, part):
    broken = {"scores": {"dssim": {"mean": float("nan")}}, "facts": {"loss": float("inf")}}
    result = replace(RESULT, **{part: broken[part]}) if part in broken else RESULT
    result = result if part in broken else replace(RESULT, spec=RunSpec("attack", {"sigma": float("nan")}))

    with pytest.raises(ValueError, match=r"JSON|range"):
        records.write(result)

    assert not records.folder.exists() or not [path for path in records.folder.iterdir() if path.suffix == ".json"]


# Damage


def spoil_json(path: Path):
    path.write_text(path.read_text()[:100])


def spoil_numbers(path: Path):
    numbers = path.with_suffix(".npz")
    numbers.write_bytes(numbers.read_bytes()[:60])


def lose_numbers(path: Path):
    path.with_suffix(".npz").unlink()


def edit_inputs(path: Path):
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def drop_a_field(path: Path):
    document = json.loads(path.read_text())
    del document["scores"]
    path.write_text(json.dumps(document))


def empty(path: Path):
    path.write_bytes(b"")


def not_text(path: Path):
    path.write_bytes(bytes(range(256)))


DAMAGE = (spoil_json, spoil_numbers, lose_numbers, edit_inputs, drop_a_field, empty, not_text)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda function: function.__name__)
@pytest.mark.parametrize("how", ["find", "all"])
def test_a_damaged_record_is_named_set_aside_and_remade(records, caplog, damage, how):
    records.write(RESULT)
    path = files(records)[".json"]
    damage(path)

    with caplog.at_level(logging.WARNING, "harness"):
        found = records.find(SPEC) if how == "find" else next(iter(records.all()), None)

    assert found is None
    (said,) = [entry.getMessage() for entry in caplog.records]
    assert str(path) in said and "\n" not in said
    assert not path.exists() and (path.parent / f"{path.name}.corrupt").exists()
    records.write(RESULT)
    assert records.find(SPEC).scores == RESULT.scores


def test_a_damaged_record_is_remade_by_the_same_command(tmp_path, caplog):
    entry = attack("the_release")
    stage = bench(tmp_path, None, entry)
    mix = stage.registry.get("defenses", "mix")
    first = stage.attack(mix, entry, 0)
    spoil_json(tmp_path / "records" / f"{first.spec.key}.json")

    again = stage.attack(mix, entry, 0)

    assert again.scores == first.scores
    assert "set aside" in caplog.text


def test_other_peoples_json_is_left_where_it_is(records, caplog):
    """`--records .` must not rename a package.json that happens to lie there."""
    records.write(RESULT)
    foreign = records.folder / "package.json"  # a name that no record has
    foreign.write_text('{"name": "something else"}')

    found = list(records.all())

    assert [each.spec for each in found] == [SPEC]
    assert foreign.read_text() == '{"name": "something else"}'


# Folders that cannot be written


@pytest.fixture(params=["json", "npz", "folder"])
def full_disk(request, monkeypatch):
    """A disk that is full when the record, its numbers, or already the folder are to be written."""
    error = OSError(errno.ENOSPC, "No space left on device")
    replace_, mkdir = os.replace, Path.mkdir

    def refuse(source, target, **_):
        if str(target).endswith(request.param):
            raise error
        return replace_(source, target)

    def refuse_folder(self, *args, **kwargs):
        if request.param == "folder":
            raise error
        return mkdir(self, *args, **kwargs)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse_folder)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(records, full_disk):
    with pytest.raises(HarnessError, match="No space left on device; name another with --records") as caught:
        records.write(RESULT)

    assert "\n" not in str(caught.value) and str(records.folder) in str(caught.value)
    left = list(records.folder.iterdir()) if records.folder.exists() else []
    assert not [path for path in left if path.suffix != ".npz"]  # no record, nothing temporary
    assert records.find(SPEC) is None


def test_a_writer_that_is_interrupted_leaves_nothing_half_written(records, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupt)

    with pytest.raises(KeyboardInterrupt):
        records.write(RESULT)

    assert list(records.folder.iterdir()) == []


def test_what_a_killed_run_was_writing_is_removed_after_an_hour_and_no_file_of_another_program(records):
    key = SPEC.key
    left = [f".{key}.json.0123abcd.tmp", f".{key}.npz.0123abcd.tmp", f"..{key}.json.next.0123abcd.tmp"]
    others = [".notes.tmp", ".notes.0123abcd.tmp", f".{key}.txt.0123abcd.tmp", f"{key}.json.0123abcd.tmp", ".writable"]
    records.folder.mkdir()
    for name in [*left, *others]:
        (records.folder / name).write_text("mine")
        os.utime(records.folder / name, (1, 1))
    (records.folder / ".00112233445566778899aabb.json.0123abcd.tmp").touch()  # of a run that may live

    records.check_writable()

    kept = sorted([*others, ".00112233445566778899aabb.json.0123abcd.tmp"])
    assert sorted(path.name for path in records.folder.iterdir()) == kept
    assert all((records.folder / name).read_text() == "mine" for name in others)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(records):
    records.folder.mkdir()
    records.folder.chmod(0o500)

    with pytest.raises(HarnessError, match="Permission denied; name another with --records"):
        records.write(RESULT)


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")

    with pytest.raises(HarnessError, match="name another with --records"):
        Records(tmp_path / "taken").write(RESULT)


def test_a_full_disk_stops_the_run_and_is_no_failed_cell(tmp_path, monkeypatch):
    """The disk is the user's to mend (exit code 2), not the attack's fault."""
    entry = attack("the_release")
    stage = bench(tmp_path, None, entry)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)

    with pytest.raises(HarnessError, match="No space left"):
        stage.attack(stage.undefended, entry, 0)
