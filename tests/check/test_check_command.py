"""`harness check` from the command line: exit codes, files, and the atomic renewal of a baseline."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.check import renewal, suite
from harness.cli import main
from harness.records import Records, RunSpec
from tests.check.conftest import GOOD, LEVEL, WORSE, kept
from tests.helpers.checked import attacked, release


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
    check(GOOD, baseline, "--update")
    check(GOOD[:1], baseline, "--update")

    assert list(kept(baseline)) == [GOOD[0].spec.key]
    assert (baseline / "README.md").read_text() == "ours\n"
    assert sorted(file.name for file in baseline.parent.iterdir()) == ["baseline"]


def test_update_keeps_records_that_are_not_of_the_suite(check, baseline):
    """Once the folder is a baseline; and a record of its suite that other code made is replaced."""
    check(GOOD, baseline, "--update")
    stranger = Records(baseline).write(release(LEVEL, seed=7))
    by_other_code = [replace(each, spec=RunSpec(each.spec.kind, {**each.inputs, "code": "new"})) for each in GOOD]

    code, *_ = check(by_other_code, baseline, "--update")

    assert code == 0
    assert set(kept(baseline)) == {stranger.spec.key, *(each.spec.key for each in by_other_code)}
    assert set(json.loads((baseline / "suite.json").read_text())["records"]) == {
        each.spec.key for each in by_other_code
    }


def test_update_refuses_a_folder_that_is_no_baseline(check, baseline):
    """Somebody's results: one record more than the suite asks for, and nothing is touched."""
    stranger = Records(baseline).write(release(LEVEL, seed=7))
    (baseline / f"{'a' * 24}.json").write_text("damaged")
    before = {file.name: file.read_bytes() for file in baseline.iterdir()}

    code, _, err = check(GOOD, baseline, "--update")

    assert code == 2 and err.count("\n") == 1
    assert "is no baseline: of its 3 records 1 are of work that the suite does not ask for, such as" in err
    assert stranger.spec.key in err and {file.name: file.read_bytes() for file in baseline.iterdir()} == before
    assert [file.name for file in baseline.parent.iterdir()] == ["baseline"]


def test_update_refuses_a_folder_of_other_files_before_anything_runs(check, tmp_path):
    (tmp_path / "home/deep").mkdir(parents=True)
    (tmp_path / "home/letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")

    for name, said in (("home", "it holds other files and no records"), ("file", "is no folder")):
        code, _, err = check(["never made"], tmp_path / name, "--update")
        assert code == 2 and said in err and err.count("\n") == 1
    assert (tmp_path / "home/letter.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_update_takes_an_empty_folder_and_follows_a_link(check, tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")

    code, *_ = check(GOOD, tmp_path / "link", "--update")

    assert code == 0 and (tmp_path / "link").is_symlink() and len(kept(tmp_path / "place")) == 2


@pytest.mark.parametrize("system", ["exchanges two folders", "does not"])
def test_where_the_new_folder_cannot_get_its_place_the_old_one_stays(check, baseline, monkeypatch, system):
    check(GOOD, baseline, "--update")
    before = {file.name: file.read_bytes() for file in baseline.iterdir()}
    rename = Path.rename

    def refuse(self, target):
        if self.name == "fresh":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    if system == "does not":
        monkeypatch.setattr(renewal, "_exchange", lambda *_: False)
        code, _, err = check(WORSE, baseline, "--update")
        assert code == 2 and "Input/output error" in err
        assert {file.name: file.read_bytes() for file in baseline.iterdir()} == before
    else:
        code, *_ = check(WORSE, baseline, "--update")
        assert code == (0 if sys.platform == "linux" else 2)
    assert [file.name for file in baseline.parent.iterdir()] == ["baseline"]


def test_a_mark_that_is_damaged_is_one_line(check, baseline):
    (baseline / "suite.json").write_text('{"records": ["../../x"]}')

    code, _, err = check(GOOD, baseline, "--update")

    assert code == 2 and "suite.json" in err and err.count("\n") == 1


def test_a_damaged_record_of_the_baseline_is_refused_and_stays(check, baseline):
    """Nothing is compared without it; and a folder under version control is not changed by a check."""
    file = baseline / f"{GOOD[0].spec.key}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "seconds": 7}))

    code, _, err = check(GOOD, baseline)

    assert code == 2 and file.name in err and err.count("\n") == 1 and file.exists()


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

    def stopped(*_, **__):
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
