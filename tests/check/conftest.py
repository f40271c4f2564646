"""A baseline of two records, and `harness check` with a suite that makes given records."""

from __future__ import annotations

import numpy as np
import pytest

from harness.check import suite
from harness.cli import main
from harness.records import Records
from tests.helpers.checked import N, attacked, release

LEVEL = np.linspace(0.3, 0.7, N)
GOOD = (release(LEVEL), attacked())
WORSE = (release(LEVEL - 0.1), attacked())


@pytest.fixture
def baseline(tmp_path):
    folder = tmp_path / "baseline"
    for record in GOOD:
        Records(folder).write(record)
    (folder / "README.md").write_text("ours\n")
    return folder


@pytest.fixture
def check(monkeypatch, capsys):
    """check(records that the suite makes, *arguments) -> exit code, stdout, stderr"""

    def call(made, *arguments):
        def run(file, registry, records, *_, **__):
            return [Records(records).write(record) for record in made]

        monkeypatch.setattr(suite, "run", run)
        code = main(["check", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def kept(folder):
    return {record.spec.key: record.arrays.get("dssim", np.zeros(1)).mean() for record in Records(folder).all()}
