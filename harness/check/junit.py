"""A comparison as JUnit XML: a test case for every score of every cell, so that a build server lists what moved.

The form that Jenkins, GitLab and the GitHub actions read (https://github.com/testmoapp/junitxml).
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from harness.check.changes import NEW, Change, Comparison
from harness.check.words import line

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def junit(comparison: Comparison, baseline: str, seconds: float = 0.0) -> str:
    """The document, one suite.

    seconds  that the run took
    """
    cases = comparison.changes
    counts = {
        "tests": str(len(cases)),
        "failures": str(len(comparison.failed)),
        "errors": "0",
        "skipped": str(sum(change.what == NEW for change in cases)),
        "time": f"{seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "harness check", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(baseline), **counts})
    for change in cases:
        _add(suite, change)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add(suite: ElementTree.Element, change: Change) -> None:
    name = {"classname": _clean(f"check.{change.cell}"), "name": _clean(change.score), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", name)
    said = _clean(line(change))
    if change.failed:
        ElementTree.SubElement(case, "failure", {"message": said, "type": change.what}).text = said
    elif change.what == NEW:
        ElementTree.SubElement(case, "skipped", {"message": said})
    else:
        ElementTree.SubElement(case, "system-out").text = said


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
