"""The report as one HTML page: everything is inside it, and its Content-Security-Policy lets nothing in or out.

Texts are escaped by the templates; what the charts need stands as JSON in the page, where no text can end the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.leaderboard import paper, verdict
from harness.leaderboard.format import figure, settings, short
from harness.report.collect import Report, passing, standing
from harness.report.heatmap import label
from harness.report.html.chart_data import document
from harness.scores import thresholds

PLACE = Path(__file__).parent
SCRIPTS = ("theme.js", "table.js", "charts.js")


def render(report: Report) -> str:
    """The whole page."""
    scripts = [_plotly(), *(_read(name) for name in SCRIPTS)] if report.sections else [_read(SCRIPTS[0])]
    environment = Environment(
        loader=FileSystemLoader(PLACE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": figure, "short": short, "settings": settings, "label": label}
    environment.globals |= {"standing": standing, "passing": passing, "interval": interval}
    environment.globals |= {"on_board": verdict.on_board, "on_row": verdict.on_row, "headline": verdict.headline}
    environment.tests["startswith_warning"] = lambda text: text.startswith("Warning:")
    page = environment.get_template("page.html").render(
        report=report,
        policy=policy(scripts),
        style=Markup(_read("style.css")),
        scripts=[Markup(script) for script in scripts],
        data=in_script(document(report)),
        thresholds=thresholds(),
        version=__version__,
        paper=paper,
    )
    return page + "\n"


def policy(scripts: list[str]) -> str:
    """Only these scripts run, pictures are data, and nothing is fetched, framed or sent.

    Plotly writes style rules of its own, and its picture of a chart is a blob.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def in_script(thing: Any) -> Markup:
    """JSON that cannot end the element it stands in, whatever names it holds."""
    text = json.dumps(thing, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def interval(score: dict[str, Any] | None) -> str:
    """[.71, .73], or nothing."""
    if not score or score.get("low") is None:
        return ""
    return f"[{short(score['low'])}, {short(score['high'])}]"


def _read(name: str) -> str:
    return (PLACE / name).read_text(encoding="utf-8").strip()


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    for end in ("</script", "<!--", "<script"):  # none of them today; one would end the script, or hide its end
        if end in text.lower():
            raise ValueError(f"plotly.js holds {end!r}: it cannot stand in a page as it is")
    return text.strip()
