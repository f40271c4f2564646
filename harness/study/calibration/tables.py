"""Tables 2 to 5 of what was calibrated, each metric beside the paper's, as plain text and as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from harness.leaderboard.format import percent, short
from harness.scores import label
from harness.study.calibration.calibrate import Against, Calibration, MetricResult, limits_in_words
from harness.study.calibration.gather import SIMULATED
from harness.study.calibration.paper import cite, rows_of
from harness.study.calibration.roc import CRITERIA, Point, grade
from harness.system.text import aligned, counted, markdown

HEAD = ("metric", "of", "AUC", "grade", "t_acc", "FPR, TPR", "t_cut_off", "FPR, TPR")
LEGEND = (
    "A positive is a judgement that did not recognise the source. TPR and FPR: the shares of positives and of others "
    "whose distance is at or above the threshold. t_acc: greatest TPR - FPR; t_cut_off: nearest to (0, 1). In brackets "
    "95 % intervals, clustered by person and image. Grades are the paper's: from .7 acceptable, from .8 excellent, "
    "above .9 outstanding."
)
_PAPER = "Tables 2 and 4 of the paper: Stanford Dogs, 256 px; 3 and 5: STL-10, 96 px. In brackets 95 % intervals."


def title(calibration: Calibration) -> str:
    """SIMULATED: Calibration of photos (96x96)"""
    about = calibration.about
    heading = f"Calibration of {about.name} ({about.height}x{about.width})"
    return f"{SIMULATED.upper()}: {heading}" if about.simulated else heading


def of_kind(each: Against) -> str:
    """Against people: 24 people, 1,176 images, 2,520 pairs, 2,520 judgements, 43% recognised"""
    parts = [
        *([] if each.kind != "person" else [each.who]),
        counted(each.images, "image"),
        counted(each.pairs, "pair"),
        counted(each.judgements, "judgement"),
        f"{percent(each.recognised)} recognised",
    ]
    return f"Against {'people' if each.kind == 'person' else each.kind}: {', '.join(parts)}"


def table(each: Against) -> list[list[str]]:
    """The cells of each metric, and under it those of the paper's rows."""
    rows = []
    for result in each.metrics:
        rows.append(_here(result))
        rows += [
            ["", f"{paper.where}, {paper.size} px", _printed(paper.auc), grade(paper.auc)]
            + [cell for name in CRITERIA for cell in _printed_point(paper.points[name])]
            for paper in rows_of(each.kind, result.metric)
        ]
    return rows


def _here(result: MetricResult) -> list[str]:
    cells = [label(result.metric), "here", _with_ends(short(result.auc), result.low, result.high), result.grade]
    for name in CRITERIA:
        chosen = result.chosen[name]
        cells.append(_with_ends(value(chosen.threshold), chosen.low, chosen.high))
        cells.append(f"{short(chosen.fpr)}, {short(chosen.tpr)}")
    return cells


def _with_ends(text: str, low: float | None, high: float | None) -> str:
    return text if low is None or high is None else f"{text} [{value(low)}, {value(high)}]"


def _printed_point(point: Point) -> list[str]:
    return [_printed(point.threshold), f"{_printed(point.fpr)}, {_printed(point.tpr)}"]


def _printed(number: float) -> str:
    """As the paper prints it, with two decimals."""
    return f"{number:.2f}".removeprefix("0") if number < 10 else value(number)


def value(number: float) -> str:
    """.634, 2,178: a distance, or a threshold by one."""
    return short(number) if abs(number) < 10 else f"{number:,.0f}"


def text(calibration: Calibration) -> str:
    """For a terminal, without FPR and TPR, which would not fit."""
    lines = [title(calibration), ""]
    for each in calibration.against:
        lines += [of_kind(each)]
        if each.metrics:
            rows = [[row[0] or f"  {row[1].partition(',')[0]}", *row[2:5], row[6]] for row in (HEAD, *table(each))]
            lines += aligned(rows, left=range(5))
        lines += [*(f"  {note}" for note in each.notes), ""]
    return "\n".join([*lines, _PAPER, "", *limits_in_words(calibration)])


def page(calibration: Calibration, figures: Sequence[str]) -> str:
    """The same as Markdown, with the figures of the folder (names of PNG files)."""
    lines = [f"# {markdown(title(calibration))}", "", *(f"{markdown(said)}\n" for said in limits_in_words(calibration))]
    for each in calibration.against:
        lines += [f"## {markdown(of_kind(each))}", ""]
        if each.metrics:
            cells = [[markdown(cell) for cell in row] for row in table(each)]
            lines += [f"| {' | '.join(row)} |" for row in (HEAD, ["---"] * len(HEAD), *cells)] + [""]
        lines += [*(f"* {markdown(note)}" for note in each.notes), *([""] if each.notes else [])]
    lines += [f"![{name.removesuffix('.png')}]({name})\n" for name in figures]
    lines += [LEGEND, "", f"Rows of the paper: {cite()}; its people and images, not these.", ""]
    return "\n".join(lines)
