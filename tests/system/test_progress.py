"""Progress says how long the rest takes, by what jobs usually take and at the pace of those before."""

from __future__ import annotations

import pytest

from harness.system import progress
from harness.system.messages import shown
from harness.system.progress import ProgressDisplay


@pytest.fixture
def lines(monkeypatch, capsys):
    """lines(jobs, seconds) -> what is printed where the jobs take so long, one after the other."""

    def printed(jobs, seconds):
        now = [100.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        with shown():
            display = ProgressDisplay()
            now[0] += 7  # loading
            display.expect(jobs)
            for (name, _), took in zip(jobs, seconds, strict=True):
                display.step(name)
                now[0] += took
        return capsys.readouterr().err.splitlines()

    return printed


def test_dear_jobs_that_come_last_count_as_much_as_they_take(lines):
    jobs = [("smooth", 2.0), ("mean", 2.0), ("cnn", 100.0)]

    assert lines(jobs, (4, 4, 200)) == [
        "[1/3]    7.0s smooth",
        "[2/3]   11.0s mean, about 3 min left",  # 102 s at half the usual pace
        "[3/3]   15.0s cnn, about 3 min left",
    ]


def test_where_nothing_is_known_all_jobs_count_alike(lines):
    assert lines([("a", None), ("b", None), ("c", None)], (10, 10, 10))[1:] == [
        "[2/3]   17.0s b, about 20 s left",
        "[3/3]   27.0s c, about 10 s left",
    ]


def test_a_job_that_nobody_expected_is_told_without_an_estimate(lines, capsys):
    with shown():
        ProgressDisplay().step("mix")

    assert capsys.readouterr().err == "[1/0]    0.0s mix\n"
