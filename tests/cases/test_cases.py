"""Every case passes, apart from those that are listed as not fixed yet; `python -m tests.cases` prints a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import cases

FAILING: frozenset[str] = frozenset()
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
