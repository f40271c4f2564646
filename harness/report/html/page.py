"""The report as one HTML page that needs no other file; its Content-Security-Policy blocks every request.

Texts are escaped by the templates; the data of the charts are JSON in the page, where no text can end the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.leaderboard import verdict
from harness.leaderboard.format import epochs_and_releases, settings, short, trimmed
from harness.leaderboard.reported import table_7
from harness.leaderboard.row import Row
from harness.leaderboard.summary import findings, in_common, row_settings, short_label
from harness.report.collect import Report, Section, judgement, passing
from harness.report.columns import Column, displayed_of, figure_cell
from harness.report.epoch_curves import scores_by_epoch
from harness.report.html.chart_data import document
from harness.report.summary_columns import summary_columns
from harness.scores import judged, label, ranking, thresholds
from harness.system.text import printable

PLACE = Path(__file__).parent
PLOTLY = "plotly-basic.min.js"
SCRIPTS = ("theme.js", "table.js", "charts.js")


def render(report: Report) -> str:
    """The whole page."""
    scripts = [_plotly(), *(_read(name) for name in SCRIPTS)] if report.sections else [_read(SCRIPTS[0])]
    page = (
        environment()
        .get_template("page.html")
        .render(
            report=report,
            policy=policy(scripts),
            style=Markup(_read("style.css")),
            scripts=[Markup(script) for script in scripts],
            data=page_json(document(report)),
            version=__version__,
            paper=table_7()[0],
            row_page=None,
        )
    )
    return page + "\n"


def environment(*folders: Path) -> Environment:
    """The templates of this folder and of further ones, with what they call; every text is escaped."""
    made = Environment(
        loader=FileSystemLoader([PLACE, *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters |= {"short": short, "trimmed": trimmed, "settings": settings, "label": label}
    made.globals |= {"judgement": judgement, "passing": passing, "figure_cell": figure_cell}
    made.globals |= {"page_columns": page_columns, "scores_by_epoch": scores_by_epoch()}
    made.globals |= {"epochs_and_releases": epochs_and_releases}
    made.globals |= {"findings": findings, "in_common": in_common, "summary_columns": summary_columns}
    made.globals |= {
        "short_label": short_label,
        "row_settings": row_settings,
        "curve_notes": curve_notes,
        "paper_note": paper_note,
    }
    made.globals |= {"judged": judged(), "ranking": ranking(), "thresholds": thresholds()}
    made.globals |= {"on_board": verdict.on_board, "on_row": verdict.on_row, "headline": verdict.headline}
    made.tests["startswith_warning"] = lambda text: text.startswith("Warning:")
    return made


@dataclass(frozen=True)
class PageColumn:
    """A column of the table of rows, with those under it in the same cell; `numeric`: it sorts by numbers."""

    column: Column[Row]
    under: Sequence[Column[Row]]
    numeric: bool

    def sort_key(self, row: Row) -> str | float:
        """What the cell of this row sorts by; nothing where a number is not known."""
        cell = self.column.cell(row)
        if cell.value is None:
            return "" if self.numeric else cell.words
        return cell.value


def page_columns(rows: Sequence[Row]) -> list[PageColumn]:
    """The columns of the table of rows: the defense, which is the head of a row, then the others in their order."""
    every = displayed_of(rows)
    alone = sorted((column for column in every if not column.page), key=lambda column: column.name != "defense")
    return [
        PageColumn(
            column,
            [other for other in every if other.page == column.name],
            any(isinstance(column.cell(row).value, int | float) for row in rows),
        )
        for column in alone
    ]


def curve_notes(section: Section) -> str:
    """What T is along the curves of this board."""
    kinds = {curve.epochs for curve in section.curves}
    said = ["R releases go to the attack: every release reveals more."]
    if None in kinds:
        said.append("Utility: of a model that trains one epoch on each of the R releases (T = R).")
    said += [
        f"Curves of T = {epochs}: of models that train {epochs} epochs on R releases in turn."
        for epochs in sorted(kinds - {None}, key=str)
    ]
    if any(curve.control for curve in section.curves):
        said.append("Dotted: a control, which knows what no adversary knows.")
    return " ".join(said)


def paper_note(section: Section) -> str:
    """Of which images the paper's points are, beside this board."""
    paper, data = table_7()[0], section.board.dataset
    where = f"{paper.dataset} ({paper.about})"
    if data["name"] == paper.dataset:
        return f"The paper's points are of unattacked releases of this data set, {where}."
    return (
        f"The paper's points are of unattacked releases of another data set, {where}: its accuracy is no measure for "
        f"the {data['classes']} classes here."
    )


def policy(scripts: list[str]) -> str:
    """Only these scripts run, pictures are data, and nothing is fetched, framed or sent.

    Plotly writes style rules of its own, and its picture of a chart is a blob.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _shown(value: Any) -> Any:
    """Names without what controls or turns a line, also inside of lists and tables; the page's own code as it is."""
    if isinstance(value, str):
        return value if isinstance(value, Markup) else printable(value)
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list | tuple) else value


def page_json(thing: Any) -> Markup:
    """Data for a script of the page: as JSON, with names as the page shows them."""
    return in_script(_shown(thing))


def in_script(thing: Any) -> Markup:
    """JSON that cannot end the element around it, whatever names are in it."""
    text = json.dumps(thing, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _read(name: str) -> str:
    return (PLACE / name).read_text(encoding="utf-8").strip()


def _plotly() -> str:
    """Plotly's basic bundle, as npm has it (plotly.js-basic-dist-min): scatter charts in a quarter of the whole."""
    text = _read(PLOTLY)
    for end in ("</script", "<!--", "<script"):  # none of them today; one would end the script, or hide its end
        if end in text.lower():
            raise ValueError(f"{PLOTLY} holds {end!r}: it cannot be put into a page as it is")
    return text
