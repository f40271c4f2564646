"""A comparison as text: lines for a terminal, and for build servers a Markdown summary, JSON and JUnit XML.

The XML has a test case for every score of every cell, in the form that Jenkins, GitLab and the GitHub actions read
(https://github.com/testmoapp/junitxml).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from harness.check.changes import JOINT, LEVEL, NEW, UNCHANGED, Change, Comparison
from harness.leaderboard.format import short
from harness.report.markdown import grid

_HEADS = ("cell", "score", "baseline", "now", "change [95 %]", "p, Holm", "tolerance", "could have detected", "")
_POWER = "With 80 % power this suite finds a change of (from defense to defense):"
_NOTE = """A change fails where it is significant at 5 % after Holm's correction for all comparisons, over originals
and, where something was trained or other seeds were run, over seeds; and is larger than its tolerance. Could have
detected: the smallest true change that would have been found with 80 % power at the corrected level; where chance plays
no part, the tolerance."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not."""


def headline(comparison: Comparison, baseline: str) -> str:
    """One sentence: how many comparisons fail, of how many."""
    failed, compared = len(comparison.failed), comparison.compared
    same = sum(change.what == UNCHANGED and change.p is not None for change in comparison.changes)
    verdict = f"{failed} of the comparisons fail" if failed else "nothing fails"
    return f"{verdict}: {compared} figures against {baseline}, {same} of them the same to the last digit"


def lines(comparison: Comparison) -> list[str]:
    """The changes, failures first; the remarks; what could have been detected."""
    changes = [f"{_mark(change):8} {line(change)}" for change in comparison.changes if not change.quiet]
    remarks = [f"differs  {remark}" for remark in comparison.remarks]
    detectable = power(comparison)
    return [*changes, *remarks, *([_POWER] if detectable else []), *(f"  {text}" for text in detectable)]


def line(change: Change) -> str:
    """noise_mix release: dssim .518 -> .402, privacy lost by .116 [...]"""
    notes = "".join(f"; {note}" for note in change.notes)
    if change.score == "status":
        return f"{change.cell}: {change.what}{notes}"
    if change.before is None:
        return f"{change.cell}: {change.score} {change.what}{notes}"
    return f"{change.cell}: {change.score} {_figures(change)}: {change.what}{notes}"


def power(comparison: Comparison) -> list[str]:
    """Per kind of work, the smallest change of each score that would have been found, over defenses."""
    groups: dict[str, dict[str, list[float]]] = {}
    for change in comparison.changes:
        if change.detectable is not None:
            groups.setdefault(work_of(change.cell), {}).setdefault(change.score, []).append(change.detectable)
    return [
        f"{work}: " + ", ".join(f"{score} {_span(values)}" for score, values in sorted(scores.items()))
        for work, scores in sorted(groups.items())
    ]


def work_of(cell: str) -> str:
    """noise_mix x cnn (sigma=20) -> cnn; noise_mix release -> release; a mean over defenses is work of its own."""
    if JOINT in cell:
        return cell
    name = cell.partition(" (")[0]
    return name.partition(" x ")[2] or name.rpartition(" ")[2]


def _span(values: Sequence[float]) -> str:
    """.005, or .02-.05 where defenses differ."""
    lowest, highest = short(min(values)), short(max(values))
    return lowest if lowest == highest else f"{lowest}-{highest}"


def markdown(comparison: Comparison, baseline: str) -> str:
    """The page: what fails, what is reported, and a collapsed table of all comparisons."""
    reported = [change for change in comparison.changes if not change.failed and not change.quiet]
    page = [
        f"## harness check: {'failed' if comparison.failed else 'passed'}",
        "",
        _text(headline(comparison, baseline)),
    ]
    page += ["", *_section("Failed", comparison.failed), *_section("Reported", reported)]
    if comparison.remarks:
        page += ["### Differs from the baseline", "", *(f"* {_text(remark)}" for remark in comparison.remarks), ""]
    rows = grid(_HEADS, [_row(change) for change in comparison.changes])
    page += ["<details><summary>All comparisons</summary>", "", " ".join(_NOTE.split()), "", *rows, "</details>", ""]
    return "\n".join(page)


def document(comparison: Comparison, baseline: str) -> dict[str, Any]:
    """The comparison as --json prints it."""
    names = ("cell", "score", "what", "failed", "before", "after", "change", "low", "high", "p", "tolerance")
    return {
        "baseline": baseline,
        "failed": len(comparison.failed),
        "compared": comparison.compared,
        "level": LEVEL,
        "changes": [
            {name: getattr(change, name) for name in (*names, "detectable", "n")} | {"notes": list(change.notes)}
            for change in comparison.changes
        ],
        "remarks": list(comparison.remarks),
    }


def _section(head: str, changes: Iterable[Change]) -> list[str]:
    items = [f"* {_text(line(change))}" for change in changes]
    return [f"### {head}", "", *items, ""] if items else []


def _row(change: Change) -> tuple[str, ...]:
    if change.before is None:
        score = "" if change.score == "status" else change.score
        return tuple(_text(part) for part in (change.cell, score, *[""] * 6, _verdict(change)))
    parts = (
        change.cell, change.score, short(change.before), short(change.after), _change(change), _p(change),
        short(change.tolerance), short(change.detectable), _verdict(change),
    )  # fmt: skip
    return tuple(_text(part) for part in parts)


def _verdict(change: Change) -> str:
    return "; ".join([change.what, *change.notes])


def _figures(change: Change) -> str:
    figures = f"{short(change.before)} -> {short(change.after)}, {_change(change)}"
    return f"{figures}, p {_p(change)}, tolerance {short(change.tolerance)}"


def _change(change: Change) -> str:
    if change.change is None:
        return "-"
    text = f"+{short(change.change)}" if change.change > 0 else short(change.change)
    return text if change.low is None else f"{text} [{short(change.low)}, {short(change.high)}]"


def _p(change: Change) -> str:
    return "-" if change.p is None else "< .001" if change.p < 0.001 else short(change.p)


def _mark(change: Change) -> str:
    return "FAILED" if change.failed else "new" if change.what == NEW else "moved"


def _text(text: str) -> str:
    """Escaped for Markdown and HTML: names come from records, and markup in them takes no effect."""
    return html.escape(text, quote=False).replace("`", "'")


def junit(comparison: Comparison, baseline: str, seconds: float = 0.0) -> str:
    """The XML document, one suite.

    seconds  duration of the run
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
        _add_case(suite, change)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ElementTree.Element, change: Change) -> None:
    name = {"classname": _clean(f"check.{change.cell}"), "name": _clean(change.score), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", name)
    text = _clean(line(change))
    if change.failed:
        ElementTree.SubElement(case, "failure", {"message": text, "type": change.what}).text = text
    elif change.what == NEW:
        ElementTree.SubElement(case, "skipped", {"message": text})
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
