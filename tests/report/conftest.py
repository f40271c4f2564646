"""A report of a cross, made once for every file of tests."""

from __future__ import annotations

import pytest

from harness.report.collect import collect
from harness.report.html.page import render
from tests.helpers.crossed import DEFENSES, EVIL, cross, write

NASTY = (EVIL, {"k<b>": "</script>"}, [0.5, 0.5], 0.5, 0.3, 0.7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cross"), cross(defenses=(*DEFENSES, NASTY)))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write(tmp_path_factory.mktemp("small"), cross(1, DEFENSES[:2]))


@pytest.fixture(scope="module")
def report(folder):
    return collect(folder)


@pytest.fixture(scope="module")
def page(report):
    return render(report)


@pytest.fixture(scope="module")
def section(report):
    (only,) = report.sections
    return only
