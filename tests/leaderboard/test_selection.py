"""A row takes the records of the code at hand; what it shows of other code, or leaves out, it says with a count."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness import scores
from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.leaderboard.selection import select
from harness.records import RunResult, RunSpec
from tests.helpers.rows import MULTI, RELEASED, N, attacked, complete, release


def of_code(code: str, *records: RunResult, released: str | None = None) -> list[RunResult]:
    """These records as code `code` would have made them, on releases of code `released`."""
    return [
        dataclasses.replace(
            record,
            spec=RunSpec(record.spec.kind, {**record.inputs, "code": code, "release": released or code}),
        )
        for record in records
    ]


class At:
    """The code at hand is the one of these hashes."""

    def __init__(self, *codes: str):
        self.codes = codes

    def made_release(self, record: RunResult) -> bool:
        return record.inputs["release"] in self.codes

    def made(self, record: RunResult) -> bool:
        return record.inputs["code"] in self.codes


def row_of(records: list[RunResult], *codes: str):
    (board,) = boards(records, code=At(*codes))
    (row,) = board.rows
    return row, verdict.on_board(board)


def test_a_row_of_the_code_at_hand_has_nothing_to_say() -> None:
    row, said = row_of(of_code("today", *complete("mix", 0.9)), "today")

    assert row.code_notes == [] and not any("Records" in line for line in said)


def test_one_new_record_after_an_edit_does_not_empty_a_row_silently() -> None:
    """The release of the code at hand is shown, and how many records are not."""
    old = of_code("before", *complete("mix", 0.9, RELEASED - 0.5))
    row, said = row_of([*old, *of_code("today", release())], "today")

    assert row.worst["dssim"]["mean"] == np.mean(RELEASED)
    assert row.code_notes == [f"{len(old)} records left out: on releases of other code (before)"]
    assert any(f"{len(old)} records left out" in line for line in said)
    assert any("records left out" in line for line in verdict.on_row(row))


def test_a_row_of_other_code_says_so() -> None:
    row, said = row_of(of_code("before", *complete("mix", 0.9)), "today")

    assert row.missing == [] and "recorded by other code (release before)" in row.code_notes[0]
    assert any("recorded by other code" in line for line in said)


def test_a_clock_that_is_ahead_decides_nothing() -> None:
    """A record of other code that claims to be of the future stays out."""
    ahead = dataclasses.replace(release(dssim=np.full(N, 0.9)), finished="2127-01-01T00:00:00+00:00")
    records = [*of_code("today", release()), *of_code("other", ahead)]

    row, _ = row_of(records, "today")

    assert row.worst["dssim"]["mean"] == np.mean(RELEASED)
    assert row.code_notes == ["1 record left out: on releases of other code (other)"]


def test_without_a_registry_the_code_with_more_finished_records_is_shown_and_the_clock_decides_nothing() -> None:
    many = of_code("many", release(seed=0), release(seed=1))
    late = of_code("late", dataclasses.replace(release(dssim=np.full(N, 0.9)), finished="2127"))

    (board,) = boards([*late, *many])

    assert board.rows[0].seeds == 2
    assert board.rows[0].code_notes == ["1 record left out: on releases of other code (late)"]


def test_an_attack_of_other_code_is_shown_and_said_where_there_is_no_other() -> None:
    records = of_code("today", release())
    records += of_code("before", attacked("peek", dssim=RELEASED - 0.3), released="today")

    row, _ = row_of(records, "today")

    assert row.worst["dssim"]["mean"] == np.mean(RELEASED - 0.3)
    assert row.code_notes == ["1 record shown of other code than the code at hand: peek"]


def test_an_attack_of_other_code_is_left_out_where_the_code_at_hand_has_one() -> None:
    records = of_code("today", release(), attacked("peek", dssim=RELEASED - 0.1))
    records += of_code("before", attacked("peek", dssim=RELEASED - 0.3), released="today")

    row, _ = row_of(records, "today")

    assert row.worst["dssim"]["mean"] == np.mean(RELEASED - 0.1)
    assert row.code_notes == ["1 record left out: made by other code"]


def test_a_failure_of_the_code_at_hand_hides_no_success_of_other_code() -> None:
    """An attack that broke is no privacy: the stronger evidence stands, and whose it is."""
    records = of_code("today", release(), attacked("peek", status="failed"))
    records += of_code("before", attacked("peek", dssim=RELEASED - 0.3), released="today")

    row, _ = row_of(records, "today")

    assert row.worst["dssim"]["mean"] == np.mean(RELEASED - 0.3)
    assert "1 record shown of other code than the code at hand: peek" in row.code_notes


def test_records_with_other_library_versions_are_counted_too() -> None:
    newer = dataclasses.replace(release())
    newer = dataclasses.replace(newer, spec=RunSpec("release", {**newer.inputs, "versions": {"torch": "3"}}))

    selection = select(of_code("today", release(), newer), At("today"))

    assert len(selection.records) == 1
    assert selection.notes == ["1 record left out: the same work with other library versions or threads"]


def test_a_raised_version_of_a_defense_is_one_row_with_its_older_records_left_out() -> None:
    second = release()
    second = RunSpec("release", {**second.inputs, "defense": {**second.inputs["defense"], "version": 2}})
    records = [*of_code("before", release()), *of_code("today", dataclasses.replace(release(), spec=second))]

    row, _ = row_of(records, "today")

    assert row.code_notes == ["1 record left out: on releases of other code (before)"]


def of_version(version: int, record: RunResult) -> RunResult:
    """The same record, of another version of its defense."""
    defense = {**record.inputs["defense"], "version": version}
    return dataclasses.replace(record, spec=RunSpec(record.spec.kind, {**record.inputs, "defense": defense}))


class AtVersion:
    """The code at hand has this version of the defense."""

    def __init__(self, version: int):
        self.version = version

    def made_release(self, record: RunResult) -> bool:
        return record.inputs["defense"]["version"] == self.version

    made = made_release


def test_versions_of_a_defense_with_the_same_code_are_not_mixed() -> None:
    """A version may be raised without an edit: its records are others, whichever comes first."""
    first, second = (of_version(version, *of_code("today", release())) for version in (1, 2))

    for records in ([first, second], [second, first]):
        selection = select(records, AtVersion(2))
        assert [record.inputs["defense"]["version"] for record in selection.records] == [2]
        assert selection.notes == ["1 record left out: on releases of other code (today of version 1)"]


def test_another_version_of_an_attack_is_other_code() -> None:
    (new,) = of_code("today", attacked("peek"))
    old = {**new.inputs, "attack": {**new.inputs["attack"], "version": 0}}
    records = [new, dataclasses.replace(new, spec=RunSpec("attack", old))]

    assert select(records, At("today")).notes == ["1 record left out: made by other code"]


def test_older_records_that_say_where_a_function_was_are_the_same_work() -> None:
    (one,) = of_code("today", attacked("peek"))
    moved = {**one.inputs, "attack": {**one.inputs["attack"], "use": "elsewhere:f"}, "threads": 2}
    records = [one, dataclasses.replace(one, spec=RunSpec("attack", moved))]

    assert select(records, At("today")).notes == [
        "1 record left out: the same work with other library versions or threads"
    ]


def test_a_row_says_which_of_its_plugins_are_not_in_the_registry() -> None:
    class Unregistered(At):
        def made(self, record: RunResult) -> bool | None:
            return None if "attack" in record.inputs else super().made(record)

    selection = select(of_code("today", release(), attacked("peek")), Unregistered("today"))

    assert selection.notes == ["1 record shown of plugins that are not in the registry: peek"]


def test_a_board_says_which_records_are_in_no_row() -> None:
    """Attacks on other targets than any release, and a defense whose release did not finish."""
    (peek,) = of_code("today", attacked("peek"))
    elsewhere = dataclasses.replace(peek, spec=RunSpec("attack", {**peek.inputs, "targets": 500}))
    lone = of_code("today", attacked("peek", defense="blur"), attacked("poke", defense="blur"))

    (board,) = boards([*of_code("today", release()), elsewhere, *lone], code=At("today"))

    assert sorted(board.left_out) == [
        "1 record of mix left out: scored on other targets than any of its finished releases",
        "2 records of blur left out: no finished release",
    ]
    assert {f"Records: {text}." for text in board.left_out} <= set(verdict.on_board(board))


def test_the_accuracy_drop_is_read_against_an_undefended_model_that_is_shown() -> None:
    """The reference of other code is left out like any other record."""
    good = of_code("today", *complete("mix", 0.8), *complete("none", 0.9, np.zeros(40)))
    old = of_code("before", *complete("none", 0.4, np.zeros(40)))

    (board,) = boards([*good, *old], code=At("today"))

    gaps = {row.defense: row.accuracy_drop["mean"] for row in board.rows if row.accuracy_drop}
    assert round(gaps["mix"], 6) == 0.1


def test_figures_do_not_depend_on_the_order_of_the_records() -> None:
    records = [*of_code("today", *complete("mix", 0.9)), *of_code("before", *complete("mix", 0.7, RELEASED - 0.2))]

    first, again = (row_of(list(some), "today")[0] for some in (records, records[::-1]))

    assert first.worst == again.worst and first.code_notes == again.code_notes


def test_multi_release_attacks_are_selected_for_every_number_of_releases() -> None:
    attacks = [attacked(MULTI, dssim=RELEASED - 0.1 * t, granted=("releases",), releases=t) for t in (1, 2)]

    (board,) = boards(of_code("today", release(), *attacks), code=At("today"))

    assert sorted(row.releases for row in board.rows) == [1, 2]


def test_a_run_that_was_killed_before_its_release_does_not_hide_the_row_of_other_code() -> None:
    """One attack record of the code at hand, without the release beside it: the older row stands, and says so."""
    old = of_code("before", *complete("mix", 0.9, RELEASED - 0.5))
    row, said = row_of([*old, *of_code("today", attacked("smooth"))], "today")

    assert row.worst["dssim"]["mean"] == np.mean(RELEASED - 0.5)
    assert row.code_notes == [
        "recorded by other code (release before) than the code at hand, which has no finished release",
        "1 record of the code at hand left out: without a finished release",
    ]
    assert any("without a finished release" in line for line in said)


def test_a_release_that_failed_does_not_hide_the_row_of_other_code() -> None:
    failed = dataclasses.replace(release(), status="failed", reason="out of memory", arrays={}, scores={})

    row, _ = row_of([*of_code("before", release()), *of_code("today", failed)], "today")

    assert row.code_notes[1] == "1 record of the code at hand left out: without a finished release"


def test_a_distance_that_an_attack_was_not_measured_by_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that is judged from now on, on records from before: the attacks say nothing of it."""
    table = {**scores.SCORES, "phash": dataclasses.replace(scores.SCORES["phash"], judged=True, threshold=0.3)}
    monkeypatch.setattr(scores, "SCORES", table)
    first, *others = of_code("today", *complete("mix", 0.9))
    measured = dataclasses.replace(first, arrays={**first.arrays, "phash": np.full(N, 0.9)})

    row, _ = row_of([measured, *others], "today")

    assert row.passes["phash"] is None
    assert "pHash after every attack" in row.missing


def test_one_seed_without_a_distance_is_enough_not_to_pass() -> None:
    """The worst case of that seed does not hold the attack."""
    records = of_code("today", *complete("mix", 0.9))
    at = next(i for i, r in enumerate(records) if r.spec.kind == "attack" and r.inputs["attack"]["name"] == MULTI)
    arrays = {
        name: values for name, values in records[at].arrays.items() if name not in ("attacked_dssim", "worst_dssim")
    }
    records[at] = dataclasses.replace(records[at], arrays=arrays)

    row, _ = row_of(records, "today")

    assert row.passes["dssim"] is None and row.passes["dhaar"] is True
    assert "dSSIM after every attack" in row.missing


def test_attacks_on_targets_where_only_another_defense_has_a_release_are_counted() -> None:
    def on_seven(record: RunResult) -> RunResult:
        return dataclasses.replace(record, spec=RunSpec(record.spec.kind, {**record.inputs, "targets": 7}))

    records = [release("mix"), on_seven(attacked("smooth", "mix")), on_seven(release("blur"))]

    found = boards(of_code("today", *records), code=At("today"))

    notes = {note for board in found for note in board.left_out}
    assert notes == {"1 record of mix left out: scored on other targets than any of its finished releases"}


def test_two_finished_releases_of_the_code_at_hand_are_not_called_unfinished() -> None:
    records = [*of_code("a", *complete("mix", 0.9)), *of_code("b", *complete("mix", 0.9))]

    row, _ = row_of(records, "a", "b")

    assert not any("without a finished release" in note for note in row.code_notes)
