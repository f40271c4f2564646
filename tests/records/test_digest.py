"""A record's figures and numbers are the ones that were recorded: its JSON file holds a digest of both."""

from __future__ import annotations

import json
import logging
import os
import random
from pathlib import Path

import numpy as np
import pytest

from harness.check import baseline
from harness.cli import main
from harness.errors import HarnessError
from harness.records import Records, RunResult
from harness.records.add_digests import main as add_digests
from harness.records.numbers import DamageError, digest
from harness.records.store import read, read_all, read_one
from tests.helpers.planted import attack, bench
from tests.helpers.rows import attacked, release, trained

MADE = [release(), release("none", dssim=np.linspace(0.1, 0.3, 200)), attacked("another"), trained(0.8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for each in MADE:
        Records(tmp_path).write(each)
    return tmp_path


def file_of(folder: Path, record: RunResult = MADE[0]) -> Path:
    return folder / f"{record.spec.key}.json"


def swap_numbers(path: Path) -> None:
    """As a person does who wants a better figure: all of them .99, in a sound file."""
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {name: np.full_like(file[name], 0.99) if file[name].dtype.kind == "f" else file[name] for name in file}
    np.savez(path.with_suffix(".npz"), **arrays)


def swap_one_number(path: Path) -> None:
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {name: file[name] for name in file}
    arrays["dssim"][7] = np.nextafter(arrays["dssim"][7], 1)
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


def exchange_arrays(path: Path) -> None:
    """Two arrays of one shape under each other's name."""
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {name: file[name] for name in file}
    arrays["dssim"], arrays["worst_dssim"] = arrays["worst_dssim"][::-1], arrays["dssim"]
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


def numbers_of_another(path: Path) -> None:
    other = file_of(path.parent, MADE[1]).with_suffix(".npz")
    path.with_suffix(".npz").write_bytes(other.read_bytes())


def edit(path: Path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=1))


def edit_score(path: Path) -> None:
    edit(path, lambda document: document["scores"]["dssim"].update(mean=0.99))


def edit_fact(path: Path) -> None:
    edit(path, lambda document: document["facts"].update(steps=1))


def edit_date(path: Path) -> None:
    edit(path, lambda document: document.update(finished="2020-01-01T00:00:00+00:00"))


def edit_status(path: Path) -> None:
    edit(path, lambda document: document.update(status="inapplicable", reason="no time"))


CHANGES = (
    swap_numbers, swap_one_number, exchange_arrays, numbers_of_another, edit_score, edit_fact, edit_date, edit_status,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda function: function.__name__)
def test_what_was_changed_afterwards_is_set_aside_and_named_and_the_rest_is_read(folder, caplog, change):
    path = file_of(folder)
    change(path)

    with caplog.at_level(logging.WARNING, "harness"):
        found = {each.spec.key for each in Records(folder).all()}

    assert found == {each.spec.key for each in MADE[1:]}
    (said,) = [entry.getMessage() for entry in caplog.records]
    assert str(path) in said and "they do not match its digest" in said and "set aside" in said
    assert not path.exists()


@pytest.mark.parametrize("change", (swap_one_number, edit_score), ids=lambda function: function.__name__)
def test_where_nothing_may_be_left_out_it_is_one_line_and_nothing_moves(folder, change):
    """rank --verify, check and rerun."""
    change(file_of(folder))
    names = sorted(path.name for path in folder.iterdir())

    for call in (lambda: read_all(folder), lambda: baseline.read(folder), lambda: read_one(MADE[0].spec.key, folder)):
        with pytest.raises(HarnessError, match="do not match its digest") as caught:
            call()
        assert str(file_of(folder)) in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.parametrize("command", [["rank", "--out", "lb"], ["report", "--out", "page.html"]], ids=lambda c: c[0])
def test_a_command_shows_no_number_that_was_swapped(folder, command, capfd, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("out"))
    swap_numbers(file_of(folder, MADE[2]))

    assert main([*command, "--records", str(folder), "--json"]) == 0

    shown = capfd.readouterr().out
    assert '"mix"' in shown and '"none"' in shown and "another" not in shown
    assert not file_of(folder, MADE[2]).exists() and file_of(folder).exists()


def test_run_does_such_a_piece_again(tmp_path):
    entry = attack("the_release")
    stage = bench(tmp_path, None, entry)
    first = stage.attack(stage.undefended, entry, 0)
    swap_numbers(file_of(tmp_path / "records", first))

    again = stage.attack(stage.undefended, entry, 0)

    assert {name: values.tolist() for name, values in again.arrays.items()} == {
        name: values.tolist() for name, values in first.arrays.items()
    }


def test_the_digest_is_of_the_numbers_and_not_of_the_file(folder):
    """Packed otherwise, in another order, on a machine of another byte order: the same record."""
    path = file_of(folder).with_suffix(".npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    turned = {name: arrays[name].astype(arrays[name].dtype.newbyteorder(">")) for name in reversed(arrays)}
    np.savez(path, **turned)
    edit(file_of(folder), lambda document: document.update(scores=dict(reversed(document["scores"].items()))))

    assert len(read_all(folder)) == len(MADE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": np.arange(4)}, {"b": np.arange(4)}),
        ({"a": np.arange(4)}, {"a": np.arange(4).reshape(2, 2)}),
        ({"a": np.arange(4)}, {"a": np.arange(4.0)}),
        ({"a": np.zeros(4, np.int64)}, {"a": np.zeros(4)}),
        ({"a": np.zeros(2), "b": np.zeros(3)}, {"a": np.zeros(3), "b": np.zeros(2)}),
        ({"a": np.zeros(2)}, {"a": np.zeros(2), "b": np.zeros(0)}),
        ({"a": np.array([0.0])}, {"a": np.array([-0.0])}),
    ],
)
def test_names_types_shapes_and_bits_count(one, other):
    assert digest({}, one) != digest({}, other)


# Records from before there were digests


def strip(path: Path) -> None:
    edit(path, lambda document: document.pop("digest"))


def test_a_record_without_a_digest_is_left_out_and_left_alone_with_what_to_do(folder, caplog):
    for each in MADE[:2]:
        strip(file_of(folder, each))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    with caplog.at_level(logging.WARNING, "harness"):
        found = [each.spec.key for each in Records(folder).all()]

    assert sorted(found) == sorted(each.spec.key for each in MADE[2:])
    (said,) = [entry.getMessage() for entry in caplog.records]
    assert said.startswith(f"2 records in {folder}") and f"python -m harness.records.add_digests {folder}" in said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(HarnessError, match=r"add it: python -m harness\.records\.add_digests"):
        read_all(folder)


def test_add_digests_changes_nothing_else_and_only_once(folder, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for each in MADE:
        strip(file_of(folder, each))

    assert add_digests([str(folder)]) == 0
    assert capsys.readouterr().out == f"{len(MADE)} records got a digest, 0 had one\n"

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert add_digests([str(folder)]) == 0
    assert capsys.readouterr().out == f"0 records got a digest, {len(MADE)} had one\n"


def test_add_digests_does_not_bless_what_does_not_match_or_is_damaged(folder, capsys):
    swap_numbers(file_of(folder))
    strip(file_of(folder, MADE[1]))
    file_of(folder, MADE[1]).with_suffix(".npz").write_bytes(b"")

    assert add_digests([str(folder)]) == 1

    assert file_of(folder, MADE[1]).name in capsys.readouterr().err
    with pytest.raises(HarnessError, match="do not match its digest"):
        read_one(MADE[0].spec.key, folder)
    assert "digest" not in json.loads(file_of(folder, MADE[1]).read_text())


# Writing


def test_the_numbers_are_on_the_disk_before_they_have_a_name_and_before_the_json_file(tmp_path, monkeypatch):
    """What a power cut leaves is a whole record or none."""
    events: list[str] = []
    fsync, rename = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        events.append("name " + Path(target).suffix)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    Records(tmp_path).write(MADE[0])

    kinds = [event.split(".")[0] if event.startswith("sync .") else event for event in events]
    folder = f"sync {tmp_path.name}"
    assert kinds == ["sync ", "name .npz", folder, "sync ", "name .json", folder]


def test_the_numbers_of_an_earlier_try_do_not_stand_beside_a_failure(folder):
    failed = RunResult(MADE[0].spec, "failed", "no luck")

    Records(folder).write(failed)

    assert read_one(failed.spec.key, folder).status == "failed"
    assert not file_of(folder).with_suffix(".npz").exists()


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_damaged_byte_anywhere_is_found_or_changes_nothing(folder, suffix):
    """Flipped, replaced, cut out, put in or cut off: never other figures, never another error."""
    path = file_of(folder)
    spoilt = path.with_suffix(suffix)
    whole, expected, rng = spoilt.read_bytes(), read(path), random.Random(5)
    refused = 0
    for trial in range(400):
        at, content = rng.randrange(len(whole)), bytearray(whole)
        if trial % 4 == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif trial % 4 == 1:
            del content[at : at + rng.randrange(1, 50)]
        elif trial % 4 == 2:
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            del content[at:]
        spoilt.write_bytes(content)
        try:
            found = read(path)
        except DamageError as fault:
            refused += 1
            assert "\n" not in str(fault)
        else:
            assert found.scores == expected.scores and found.facts == expected.facts
            assert all(np.array_equal(found.arrays[name], values) for name, values in expected.arrays.items())
    assert refused > 300
