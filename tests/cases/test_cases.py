"""Every case passes, apart from those that are listed as not fixed yet; `python -m tests.cases` prints a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import cases

FAILING = frozenset(
    {
        "12_rich_markup",
        "registry_tune_knob_list",
        "reported_deep",
        "reported_impossible_date",
        "reported_nan",
        "secret_deleted_by_second_run",
        "seeds_too_many",
        "sigterm_leaves_shelf_forever",
        "sweep_huge_weight",
        "sweep_knob_name_number",
        "sweep_mixing_not_a_table",
        "sweep_range_inf",
        "sweep_seeds_billion",
        "threads_too_many",
        "traversal_by_dataset_name_in_record",
    }
)
"""Not fixed yet. One that passes fails the test until it is taken off this list."""


def parameters() -> list[object]:
    """The names with their marks: without root those that mount a file system are skipped."""
    found = []
    for name in cases.names():
        marks = [pytest.mark.xfail(strict=True, reason="not fixed yet")] if name in FAILING else []
        if cases.needs_root(name) and not cases.may_mount():
            marks = [pytest.mark.skip(reason="needs root")]
        found.append(pytest.param(name, marks=marks, id=name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", parameters())
def test_case(name: str, tmp_path: Path) -> None:
    outcome = cases.run(name, tmp_path)

    assert outcome.code == 0, outcome.output


def test_the_list_of_failing_cases_names_cases() -> None:
    assert set(cases.names()) >= FAILING
