"""`harness check` from the command line: exit codes, files, and the atomic renewal of a baseline."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

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
        def run(file, registry, records, *_):
            return [Records(records).write(record) for record in made]

        monkeypatch.setattr(suite, "run", run)
        code = main(["check", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def kept(folder):
    return {record.spec.key: record.arrays.get("dssim", np.zeros(1)).mean() for record in Records(folder).all()}


def test_the_same_again_is_0(check, baseline):
    code, out, _ = check(GOOD, baseline)

    assert code == 0 and out.startswith("nothing fails")


def test_a_regression_is_3_and_says_what_moved(check, baseline):
    code, out, _ = check(WORSE, baseline)

    assert code == 3 and "privacy lost" in out and ".500 -> .400" in out


def test_a_cell_that_fails_as_in_the_baseline_is_1(check, tmp_path):
    broken = attacked(status="failed", reason="still broken")
    Records(tmp_path / "base").write(broken)

    code, _, err = check([broken], tmp_path / "base")

    assert code == 1 and "still broken" in err


def test_json_is_one_document(check, baseline):
    code, out, _ = check(WORSE, baseline, "--json")

    assert code == 3 and json.loads(out)["failed"] == 1


def test_the_summary_and_the_xml_are_written(check, baseline, tmp_path):
    code, *_ = check(WORSE, baseline, "--summary", tmp_path / "s.md", "--junit", tmp_path / "j.xml")

    assert code == 3
    assert (tmp_path / "s.md").read_text().startswith("## harness check: failed")
    assert ElementTree.parse(tmp_path / "j.xml").getroot().attrib["failures"] == "1"


def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(check, baseline, tmp_path):
    code, _, err = check(["never made"], baseline, "--junit", tmp_path / "nowhere" / "j.xml")

    assert code == 2 and "nowhere" in err


def test_a_missing_baseline_is_named_with_the_fix(check, tmp_path):
    code, _, err = check([], tmp_path / "none")

    assert code == 2 and "--update" in err and err.count("\n") == 1


def test_a_tolerance_is_a_known_score_and_a_number(check, baseline):
    assert check(WORSE, baseline, "--tolerance", "dssim=0.2")[0] == 0
    for wrong in ("dsim=0.1", "dssim=much", "dssim=-1", "dssim"):
        code, _, err = check(["never made"], baseline, "--tolerance", wrong)
        assert code == 2 and wrong.partition("=")[0] in err


def test_update_shows_what_moved_and_rewrites_the_baseline(check, baseline):
    before = kept(baseline)

    code, out, _ = check(WORSE, baseline, "--update")

    assert code == 0 and "privacy lost" in out
    assert kept(baseline) != before and check(WORSE, baseline)[0] == 0


def test_update_removes_records_that_the_suite_no_longer_asks_for_and_keeps_other_files(check, baseline):
    check(GOOD[:1], baseline, "--update")

    assert list(kept(baseline)) == [GOOD[0].spec.key]
    assert (baseline / "README.md").read_text() == "ours\n"
    assert sorted(file.name for file in baseline.parent.iterdir()) == ["baseline"]


def test_update_makes_a_baseline_where_there_is_none(check, tmp_path):
    code, *_ = check(GOOD, tmp_path / "new" / "base", "--update")

    assert code == 0 and len(kept(tmp_path / "new" / "base")) == 2


def test_an_update_can_keep_its_records_to_continue_from(check, baseline, tmp_path):
    check(WORSE, baseline, "--update", "--records", tmp_path / "kept")

    assert kept(baseline) == kept(tmp_path / "kept") and len(kept(baseline)) == 2


def test_a_failed_cell_is_no_baseline(check, baseline):
    before = kept(baseline)

    code, _, err = check([*WORSE, replace(attacked(seed=1), status="failed", reason="burst")], baseline, "--update")

    assert code == 2 and "burst" in err and kept(baseline) == before


def test_an_update_that_is_stopped_leaves_the_baseline(baseline, monkeypatch):
    before = kept(baseline)

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "run", stopped)
    code = main(["check", str(baseline), "--update"])

    assert code == 130 and kept(baseline) == before
    assert [file.name for file in baseline.parent.iterdir()] == ["baseline"]


def test_a_baseline_has_all_seeds_of_its_suite(check, baseline):
    code, _, err = check(["never made"], baseline, "--update", "--seeds", "1")

    assert code == 2 and "--seeds" in err


@pytest.mark.parametrize("wrong", ["0", "-1", "1,1", "many", ""])
def test_seeds_are_how_many_or_which(check, baseline, wrong):
    code, _, err = check(["never made"], baseline, f"--seeds={wrong}")

    assert code == 2 and "seeds" in err
