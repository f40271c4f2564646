"""Boards of different images never share a name, and boards of the same images never have two."""

from __future__ import annotations

from dataclasses import replace

from harness.leaderboard.board import boards
from harness.records.store import Records, RunSpec
from harness.report.files import texts
from tests.helpers.rows import release


def renamed(record, **data):
    inputs = {**record.inputs, "dataset": {**record.inputs["dataset"], **data}}
    return replace(record, spec=RunSpec(record.spec.kind, inputs))


def test_two_folders_called_test_have_a_board_and_a_page_each(tmp_path):
    one, other = (renamed(release(), name="test", fingerprint=mark * 32) for mark in "ab")
    third = renamed(release(), name="test-aaaaaaaa", fingerprint="c" * 32)

    found = boards([one, other, third])

    shown = [board.shown for board in found]
    assert len(found) == len({name.casefold() for name in shown}) == 3
    assert all(board.title.startswith(f"{board.shown}: ") for board in found)
    assert len(texts(found, tmp_path)) == 9


def test_a_size_in_a_name_is_not_taken_for_the_size_of_the_images(tmp_path):
    small = renamed(release(), name="test", fingerprint="a" * 32, height=16, width=16)
    called = renamed(release(), name="test 16x16", fingerprint="b" * 32, height=16, width=16)

    assert {board.shown for board in boards([small, called])} == {"test", "test 16x16"}
    assert len(texts(boards([small, called]), tmp_path)) == 6


def test_the_same_images_are_one_board_by_whichever_name_came_last():
    first = replace(renamed(release(), name="first"), finished="2026-01-01T00:00:00+00:00")
    last = replace(renamed(release(), name="last"), finished="2026-01-02T00:00:00+00:00")

    assert first.spec.key == last.spec.key != renamed(release(), fingerprint="c" * 32).spec.key
    assert [board.shown for board in boards([first, last])] == ["last"]


def test_a_record_is_found_by_its_content_and_has_the_name_that_is_asked_for(tmp_path):
    records, before, now = Records(tmp_path), renamed(release(), name="before"), renamed(release(), name="now")
    records.write(before)

    assert records.find(now.spec).inputs["dataset"]["name"] == "now"
    assert records.find(renamed(release(), fingerprint="c" * 32).spec) is None


def test_a_record_whose_key_depends_on_the_name_is_read_and_found(tmp_path):
    older = replace(release(), spec=replace(release().spec, by_name=True))
    Records(tmp_path).write(older)

    assert [each.spec.key for each in Records(tmp_path).all()] == [older.spec.key] != [release().spec.key]
    assert Records(tmp_path).find(release().spec).spec.key == older.spec.key
