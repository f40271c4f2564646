"""A comparison as text: on a terminal, as Markdown, as JSON and as JUnit XML."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.check.compare import compare
from harness.check.output import document, headline, junit, lines, markdown
from tests.helpers.checked import N, attacked, release, trained

LEVEL = np.linspace(0.3, 0.7, N)
EVIL = 'a|b <script>alert("1")</script> & \x00\ud800'


@pytest.fixture
def worse():
    """A loss of privacy, an attack that failed, and a new cell."""
    before = [release(LEVEL, sigma=20), attacked(), trained(np.ones(50))]
    after = [
        release(LEVEL - 0.1, sigma=10),
        attacked(status="failed", reason="it < burst & gone"),
        trained(np.ones(50)),
    ]
    return compare(before, [*after, release(defense="mix")])


@pytest.fixture
def evil():
    return compare([release(LEVEL, defense=EVIL)], [release(LEVEL - 0.1, defense=EVIL)])


def test_the_first_line_counts_what_fails(worse):
    assert (
        headline(worse, "base")
        == "2 of the comparisons fail: 5 figures against base, 3 of them the same to the last digit"
    )
    assert headline(compare([release()], [release()]), "base").startswith("nothing fails: 3 figures")


def test_every_change_has_a_line_with_its_figures(worse):
    text = "\n".join(lines(worse))

    assert (
        "FAILED   noise_mix release: dssim .500 -> .400, -.100 [-.100, -.100], p < .001, tolerance .005: privacy lost"
        in text
    )
    assert "sigma 20 -> 10" in text
    assert "FAILED   noise_mix x smooth: status changed; ok -> failed: it < burst & gone" in text
    assert "new      mix release: new; not in the baseline" in text


def test_what_could_have_been_detected_is_listed_for_every_score(worse):
    assert lines(worse)[-3:] == [
        "With 80 % power this suite finds a change of (from defense to defense):",
        "  release: dhaar .005, dssim .005",
        "  utility: utility .050",
    ]


def test_unchanged_figures_have_no_line():
    assert lines(compare([release()], [release()]))[0].startswith("With 80 % power")


def test_junit_has_a_case_for_every_score_and_a_failure_for_every_failure(worse):
    root = ElementTree.fromstring(junit(worse, "leaderboards/baseline", 12.5))

    (suite,) = root
    cases = suite.findall("testcase")
    failures = [case for case in cases if case.find("failure") is not None]
    assert root.tag == "testsuites" and suite.tag == "testsuite"
    assert suite.attrib["tests"] == str(len(cases)) == str(len(worse.changes))
    assert suite.attrib["failures"] == str(len(failures)) == "2"
    assert suite.attrib["skipped"] == "1" and suite.attrib["time"] == "12.500"
    assert {(case.attrib["classname"], case.attrib["name"]) for case in failures} == {
        ("check.noise_mix release", "dssim"),
        ("check.noise_mix x smooth", "status"),
    }
    assert all(failure.find("failure").attrib["message"] for failure in failures)  # type: ignore[union-attr]


def test_junit_names_every_case_once(worse):
    """Readers that key by name would drop one."""
    cases = ElementTree.fromstring(junit(worse, "base")).findall(".//testcase")

    assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == len(cases)


def test_junit_is_xml_whatever_a_name_holds(evil):
    text = junit(evil, EVIL)

    (case, *_) = ElementTree.fromstring(text.encode()).iter("testcase")
    assert '<script>alert("1")</script> &' in case.attrib["classname"]
    assert not re.search("[\x00-\x08\ud800-\udfff]", text)


def test_markdown_lists_failures_first_and_has_a_collapsed_table_of_all_comparisons(worse):
    page = markdown(worse, "base")

    assert page.startswith("## harness check: failed")
    assert page.index("### Failed") < page.index("### Reported") < page.index("<details>")
    rows = re.findall(r"^\| .*\|$", page, re.MULTILINE)
    assert len(rows) == 1 + len(worse.changes)  # and the heads


def test_markup_in_a_name_is_escaped(evil):
    """A summary is rendered as HTML; a bar in a name ends no cell."""
    page = markdown(evil, EVIL)

    assert "<script>" not in page and "&lt;script&gt;" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| a\\|b") and " dssim " in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 10


def test_the_document_is_json_with_every_number(worse):
    found = json.loads(json.dumps(document(worse, "base"), allow_nan=False))

    (lost,) = [each for each in found["changes"] if each["score"] == "dssim" and each["failed"]]
    assert found["failed"] == 2 and found["compared"] == 5
    assert lost["change"] == pytest.approx(-0.1) and lost["what"] == "privacy lost" and lost["n"] == N
    assert lost["notes"] == ["sigma 20 -> 10"]


def test_one_original_has_no_interval_and_no_power():
    """Nothing that JSON cannot hold."""
    few = [release(units=[0]), release(0.6, units=[0])]

    (change,) = [each for each in document(compare(few[:1], few[1:]), "base")["changes"] if each["score"] == "dssim"]

    assert (change["low"], change["detectable"], change["failed"]) == (None, None, False)
