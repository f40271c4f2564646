"""The pages of the site: an index of boards, a page for each data set, defense and record, and a search over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Template

from harness import __version__
from harness.leaderboard import verdict
from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.format import settings
from harness.leaderboard.reported import table_7
from harness.leaderboard.row import Row
from harness.leaderboard.summary import findings, verdict_in_few_words
from harness.records import RunResult
from harness.report.attack_columns import attack_table, attacks_without_figure
from harness.report.collect import Report, Section
from harness.report.html import page as html
from harness.report.html.chart_data import document
from harness.report.site.addresses import Addresses, data_set, row_anchor
from harness.report.site.record_tables import brief_result, flat, heading, score_lines

PLACE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'self'"
)
"""Only the files of the site run and are shown; the charts write style rules of their own."""
_ASSETS = {
    "style.css": html.PLACE, "theme.js": html.PLACE, "table.js": html.PLACE, "charts.js": html.PLACE,
    html.PLOTLY: html.PLACE, "plotly-basic.LICENSE": html.PLACE, "site.css": PLACE, "search.js": PLACE,
}  # fmt: skip


@dataclass(frozen=True)
class About:
    """What the registry says of a defense."""

    does: str = ""
    cite: str = ""


@dataclass(frozen=True)
class RowPlace:
    """One row of a board: its section, and its number in it, from 1."""

    section: Section
    number: int
    row: Row

    @property
    def anchor(self) -> str:
        return row_anchor(self.section, self.number)


@dataclass(frozen=True)
class Site:
    """What the pages are made of.

    report  the boards, complete ones first, and all records
    about   what defenses do, by name
    home    where every page also links to, from the top of the site or with its scheme; empty: nowhere
    """

    report: Report
    about: Mapping[str, About] = field(default_factory=dict)
    home: str = ""

    @cached_property
    def addresses(self) -> Addresses:
        return Addresses.of(self.report.sections, self.report.records.values())

    @cached_property
    def rows(self) -> dict[str, list[RowPlace]]:
        """The rows of each defense, board by board; a defense without a row has none."""
        found: dict[str, list[RowPlace]] = {name: [] for name in self.addresses.defenses}
        for section in self.report.sections:
            for number, row in enumerate(section.board.rows, 1):
                found[row.defense].append(RowPlace(section, number, row))
        return found

    @cached_property
    def rows_of_record(self) -> dict[str, list[RowPlace]]:
        found: dict[str, list[RowPlace]] = defaultdict(list)
        for place in (place for places in self.rows.values() for place in places):
            for key in place.row.records:
                found[key].append(place)
        return found


def pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Every file of the site: its path from the top, and its content."""
    for name, folder in _ASSETS.items():
        yield f"assets/{name}", (folder / name).read_bytes()
    make = _Templates(site)
    yield "index.html", make.page("index.html", "", sections=site.report.sections)
    yield "search.html", make.page("search.html", "", data=html.page_json(search_index(site)))
    by_data: dict[str, list[Section]] = defaultdict(list)
    for section in site.report.sections:
        by_data[data_set(section)].append(section)
    for name, sections in by_data.items():
        part = replace(site.report, sections=sections, sheets=[])
        yield (
            f"boards/{site.addresses.boards[name]}.html",
            make.page("data_set.html", "../", report=part, data=html.page_json(document(part)), paper=table_7()[0]),
        )
    for name, places in site.rows.items():
        shown = [(place, attack_table(place.row)) for place in places]
        yield f"defenses/{site.addresses.defenses[name]}.html", make.page("defense.html", "../", name=name, rows=shown)
    for key, record in site.report.records.items():
        yield f"records/{key}.html", make.record(key, record)


class _Templates:
    """The templates, with what all of them call."""

    def __init__(self, site: Site):
        self._site = site
        environment = html.environment(PLACE)
        environment.globals |= {
            "site": site, "version": __version__, "policy": POLICY, "about": self._about, "flat": flat,
            "verdict_in_few_words": verdict_in_few_words, "parts": verdict.parts, "remarks": verdict.remarks,
            "attacks_without_figure": attacks_without_figure, "attack_words": attack_words, "seeds": self._seeds,
            "where": site.addresses,
        }  # fmt: skip
        self._environment = environment
        self._made: dict[str, Template] = {}

    def page(self, template: str, root: str, **given: Any) -> bytes:
        """root  the way from the page to the top of the site"""
        made = self._made.setdefault(template, self._environment.get_template(template))
        home = self._site.home if "://" in self._site.home or not self._site.home else root + self._site.home
        row_page = self._row_page if template == "data_set.html" else None
        return (made.render(root=root, home=home, row_page=row_page, **given) + "\n").encode("utf-8", "replace")

    def record(self, key: str, record: RunResult) -> bytes:
        return self.page(
            "record.html", "../", key=key, record=record, head=heading(record), scores=score_lines(record),
            places=self._site.rows_of_record.get(key, []),
        )  # fmt: skip

    def _about(self, name: str) -> About:
        return self._site.about.get(name, About())

    def _row_page(self, anchor: str, number: int, row: Row) -> str:
        return f"../{self._site.addresses.defense(row.defense)}#{anchor}-row-{number}"

    def _seeds(self, keys: Sequence[str]) -> list[tuple[str, int]]:
        """Records with their seeds, in their order."""
        records = self._site.report.records
        return sorted(((key, records[key].inputs["seed"]) for key in keys if key in records), key=lambda each: each[1])


def attack_words(attack: AttackResult, attacks: Sequence[AttackResult]) -> str:
    """Its settings where another on the row has the same name, and what it is beside an attack."""
    several = sum(other.name == attack.name for other in attacks) > 1
    parts = (
        settings(attack.params) if several else "",
        "control" if attack.group.control else "external" if attack.external else "",
        "= no attack" if attack.equals_release else "",
    )
    return ", ".join(filter(None, parts))


def search_index(site: Site) -> list[dict[str, str]]:
    """What can be searched: of every page but the index its kind, title, address, and the words that find it."""
    where = site.addresses
    found = [
        {
            "kind": "board", "title": section.board.title, "to": f"{where.board(section)}#{section.anchor}",
            "text": " ".join(findings(section.board)[:1]),
        }
        for section in site.report.sections
    ]  # fmt: skip
    for name, places in site.rows.items():
        words = "; ".join(
            f"{place.section.board.dataset['name']}: {verdict_in_few_words(place.row)}" for place in places
        )
        about = site.about.get(name, About())
        text = " ".join(filter(None, (about.does, words)))
        found.append({"kind": "defense", "title": name, "to": where.defense(name), "text": text})
    headed = [(heading(record), key, record) for key, record in site.report.records.items()]
    headed.sort(key=lambda each: (each[0].dataset, each[0].title, each[0].settings, each[0].seed))
    for head, key, record in headed:
        text = ", ".join(filter(None, (head.settings, head.dataset, f"seed {head.seed}", brief_result(record))))
        found.append({"kind": "record", "title": head.title, "to": where.record(key), "text": text, "key": key})
    return found
