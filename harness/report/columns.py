"""The columns of a board: each names its head, its cell, and what it writes to CSV and JSON, in one object.

`row_columns` are those of a row (a defense); those of an attack on it are in `attack_columns`. The terminal, Markdown,
CSV, JSON and the page all read these lists. The columns of scores are made from `harness.scores`: a score that is
marked for boards there needs no edit here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from harness.leaderboard.format import attack_name, epochs_and_releases, figure, settings, short, trimmed
from harness.leaderboard.judgement import SEEN
from harness.leaderboard.limits import paper_limits
from harness.leaderboard.row import Row
from harness.leaderboard.training import HOLDS
from harness.leaderboard.verdict import failure, floor_of, parts
from harness.scores import (
    SCORES,
    followers,
    hit_rates,
    judged_variants,
    label,
    on_boards,
    ranking,
    reidentifications,
)

Summary = Mapping[str, Any]
Item = TypeVar("Item")
AnyColumn = TypeVar("AnyColumn", bound="Column[Any]")
GROUPS = ("row", "figure", "basis")
ELSEWHERE = "elsewhere"
"""`Column.page` of what the page shows beside the table: in the remarks on a board, or row by row."""
_ENDS = ("mean", "low", "high")


@dataclass(frozen=True)
class TableCell:
    """What a column shows of one row: words, or a figure with its interval.

    words    the figure, or plain words; a dash where there is nothing to show
    interval of a figure, in square brackets, or nothing
    reach    how far the interval reaches from the figure, on its longer side: ±.013
    by       the attack that the figure is of
    detail   what else belongs to it, where there is room
    chance   what the best constant guess scores, or nothing
    null     of a worst case: the same against other originals, or nothing
    records  keys of the records behind it, the first that of the first seed
    value    what a table sorts by
    """

    words: str
    interval: str = ""
    reach: str = ""
    by: str = ""
    detail: str = ""
    chance: str = ""
    null: str = ""
    records: Sequence[str] = ()
    value: float | str | None = None


NOTHING = TableCell("-")


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column.

    name      identifies it
    head      its heading; empty where it is in CSV and JSON alone
    cell      what it shows
    group     row (which one), figure (a score) or basis (what the figures are of): tables show them in this order
    terminal  whether it is on the terminal, which is narrow
    under     the column in whose cell the terminal shows it instead
    data      its columns in CSV and keys in JSON
    sources   the records behind its figure, by the name of the figure
    page      the column in whose cell the HTML page shows it instead; ELSEWHERE: outside the table
    """

    name: str
    head: str
    cell: Callable[[Item], TableCell]
    group: Literal["row", "figure", "basis"] = "basis"
    terminal: bool = False
    under: str = ""
    data: Callable[[Item], Mapping[str, Any]] = lambda _: {}
    sources: Callable[[Item], Mapping[str, Sequence[str]]] = lambda _: {}
    page: str = ""


def displayed(columns: Sequence[AnyColumn]) -> list[AnyColumn]:
    """Those with a head: which item first, then figures, then their basis."""
    return sorted((column for column in columns if column.head), key=lambda column: GROUPS.index(column.group))


def displayed_of(rows: Sequence[Row]) -> list[Column[Row]]:
    """The same of rows, without the scores that no row has."""
    return [
        column
        for column in displayed(row_columns(rows))
        if column.group != "figure" or any(column.cell(row) != NOTHING for row in rows)
    ]


def figure_cell(score: Summary | None, by: str = "", detail: str = "", doubt: str = "") -> TableCell:
    """A score with its interval, the attack it is of, its chance and its records."""
    if not score or score.get("mean") is None:
        return NOTHING
    words, _, interval = (figure(score) + doubt).partition(" [")
    chance = short(score["chance"]) if score.get("chance") is not None else ""
    keys = score.get("attack_records", score.get("records", []))
    null = short(score["null"]["mean"]) if score.get("null") else ""
    reach = f"±{short(reach_of(score))}{interval.partition(']')[2]}" if interval else ""
    return TableCell(words, interval and f"[{interval}", reach, by, detail, chance, null, keys, score["mean"])


def reach_of(score: Summary) -> float:
    """How far the interval of a score reaches from its mean, on its longer side."""
    return float(max(score["mean"] - score["low"], score["high"] - score["mean"], 0.0))


def row_columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """All columns of these rows, in the order of CSV and JSON."""
    identity: list[Column[Row]] = [
        Column(
            "rank", "rank", lambda row: TableCell(row.place, value=row.rank), "row",
            data=lambda row: {"rank": row.rank, "tied": "; ".join(row.tied), "reference": row.reference},
        ),
        Column(
            "defense", "defense",
            lambda row: TableCell(row.defense + (" *" if row.pareto else ""), value=_defense_order(row)), "row",
            data=lambda row: {"defense": row.defense},
        ),
        Column(
            "settings", "settings", lambda row: TableCell(settings(row.settings)), "row",
            data=lambda row: {"settings": settings(row.settings)}, page="defense",
        ),
        Column(
            "training", "training", _training, data=_training_data,
            page="defense",
        ),
        Column("n", "n", lambda row: TableCell(str(row.originals), value=row.originals)),
        Column(
            "seeds", "seeds", lambda row: TableCell(str(row.seeds), value=row.seeds),
            data=lambda row: {"seeds": row.seeds}, page="n",
        ),
        Column("pareto", "", lambda row: NOTHING, data=lambda row: {"pareto": row.pareto}),
        Column(
            "requirements", "requirements",
            lambda row: TableCell(f"{len(row.missing)} missing" if row.missing else "met"),
            data=lambda row: {"lacks": "; ".join(row.missing), "mismatch": "; ".join(row.mismatch)}, page=ELSEWHERE,
        ),
        Column(
            "granted", "granted", lambda row: TableCell(", ".join(row.granted) or "-"),
            data=lambda row: {"granted": " ".join(row.granted)}, page=ELSEWHERE,
        ),
    ]  # fmt: skip
    judgement: list[Column[Row]] = [
        Column(
            "passes",
            "passes",
            _passes,
            "row",
            terminal=True,
            data=lambda row: {"passes": row.passing, **{f"passes_{name}": yes for name, yes in row.passes.items()}},
            page="rank",
        ),
        Column("verdict", "", lambda row: NOTHING, data=lambda row: {"verdict": "; ".join(parts(row))}),
        *map(_attack_of, hit_rates(leading=True)),
        Column("not_run", "", lambda row: NOTHING, data=lambda row: {"unjudged": "; ".join(row.not_run)}),
        Column("warnings", "", lambda row: NOTHING, data=lambda row: {"warnings": "; ".join(row.warnings)}),
        Column("records", "records", lambda row: TableCell("", records=row.records), page=ELSEWHERE),
    ]
    return [*identity, *_figures(rows), *judgement]


def _defense_order(row: Row) -> str:
    """Rows of one defense together, fewer epochs first, of these fewer releases."""
    return f"{row.defense} {settings(row.settings)} {row.epochs or 0:04d} {row.releases or 0:04d}"


def _training(row: Row) -> TableCell:
    counts = epochs_and_releases(row.epochs, row.releases)
    return TableCell(", ".join(filter(None, (counts, row.training))) or "-")


def _training_data(row: Row) -> dict[str, Any]:
    interval = (row.utility or {}).get(HOLDS)
    return {
        "epochs": row.epochs,
        "releases": row.releases,
        "training": row.training,
        "trained_intervals_hold": interval,
    }


def _passes(row: Row) -> TableCell:
    """Whether it passes, and the parts that fail."""
    failed = [failure(name) for name, yes in row.passes.items() if yes is False]
    words = {True: "yes", False: "no", None: "not judged"}[row.passing]
    by = "fails every part" if len(failed) == len(row.passes) else ", ".join(failed)
    return TableCell(f"{words}{':' if failed else ''}", by=by)


def _figures(rows: Sequence[Row]) -> list[Column[Row]]:
    """Every score of the release, every worst case, every hit rate with those that follow it, and utility."""
    shown = on_boards("distance")
    measured = list(dict.fromkeys(name for row in rows for name in row.scores))
    columns = [_of_release(name, name in shown) for name in measured]
    for name in judged_variants():
        columns.append(_worst(name, name in shown))
        limit = _limit(rows, name)
        if name == ranking() and limit is not None:
            columns.append(_below(name, limit))
    columns += [_exposed(), _reidentified()]
    for name in hit_rates(leading=True):
        recognition = "recognition" in SCORES[name].attack_kinds
        columns.append(_hit_rate(name, name, SCORES[name].board))
        columns += [_hit_rate(follower, name, recognition, under=name) for follower in followers(name)]
        columns += [_floor(name)] if recognition else []
    for name in on_boards("accuracy"):
        columns.append(_figure(name, label(name), lambda row: row.utility, _ENDS, terminal=SCORES[name].terminal))
    columns.append(_figure("utility_gap", "accuracy drop", lambda row: row.accuracy_drop, _ENDS, under="utility"))
    return columns


def _figure(
    name: str,
    head: str,
    get: Callable[[Row], Summary | None],
    parts: Sequence[str],
    by: Callable[[Row], tuple[str, str]] = lambda row: ("", ""),
    terminal: bool = False,
    under: str = "",
) -> Column[Row]:
    """A column of a score: `name` begins its CSV columns, `parts` are the statistics that become columns."""
    return Column(
        name, head, lambda row: figure_cell(get(row), *(by(row) if get(row) else ())), "figure", terminal, under,
        lambda row: {f"{name}_{part}": score.get(part) for part in parts} if (score := get(row)) else {},
        lambda row: {name: score["records"]} if (score := get(row)) else {},
    )  # fmt: skip


def _of_release(name: str, shown: bool) -> Column[Row]:
    head, parts = f"release {label(name)}" if shown else "", (*_ENDS, "p5", "min", "n")
    terminal = shown and SCORES[name].terminal
    return _figure(name, head, lambda row: row.scores.get(name), parts, terminal=terminal)


def _worst(name: str, shown: bool) -> Column[Row]:
    head, parts = f"worst {label(name)}" if shown else "", (*_ENDS, "p5", "min", "below", "attack")
    column = _figure(
        f"worst_{name}", head, lambda row: row.worst.get(name), parts,
        lambda row: (attack_name(row.worst[name]["attack"]), ""), shown and SCORES[name].terminal,
    )  # fmt: skip

    def data(row: Row) -> dict[str, Any]:
        worst = row.worst.get(name)
        if worst is None:
            return {}
        beside = {
            f"worst_{name}_{part}_{end}": (worst[part] or {}).get(end)
            for part in ("null", "single", "chosen")
            for end in _ENDS
        }
        return {**column.data(row), **beside, f"worst_{name}_chosen_attacks": " ".join(worst["chosen"]["attacks"])}

    return replace(column, data=data)


def exposed_cell(row: Row) -> TableCell:
    """How many originals are exposed, of how many."""
    if "share" not in row.exposed:
        return NOTHING
    exposed, seen = row.exposed, row.exposed["seen"]
    words = f"{exposed['share'] * exposed['n']:.1f}".removesuffix(".0")
    below = f"{seen} below {trimmed(SEEN)}" if seen else ""
    return TableCell(f"{words} of {exposed['n']}", by=below, value=exposed["share"])


def _exposed() -> Column[Row]:
    def data(row: Row) -> dict[str, Any]:
        return {f"exposed_{part}": row.exposed.get(part) for part in ("share", "low", "high", "n", "seen")}

    return Column("exposed", "exposed", exposed_cell, "figure", True, data=data)


def reidentified_cell(row: Row) -> TableCell:
    """The largest share of originals that come first in the gallery, by any embedding and after any attack."""
    found = row.reidentified
    if "share" not in found:
        return NOTHING
    by = f"{found.get('features') or reidentifications()[found['embedding']]}, {attack_name(found['attack'])}"
    words = short(found["share"]) if found["above_chance"] else "nobody"
    return TableCell(words, by=by if found["above_chance"] else "", chance=short(found["chance"]), value=found["share"])


def _reidentified() -> Column[Row]:
    def data(row: Row) -> dict[str, Any]:
        parts = ("share", "low", "high", "n", "chance", "holm", "attack", "embedding")
        return {f"reidentified_{part}": row.reidentified.get(part) for part in parts}

    return Column("reidentified", "most re-identified", reidentified_cell, "figure", True, data=data)


def _floor(name: str) -> Column[Row]:
    """The linear recogniser that the strongest one is read beside."""

    def get(row: Row) -> Summary | None:
        floor = floor_of(row, name)
        return {**floor.hit_rates[name], "records": floor.records} if floor else None

    def by(row: Row) -> tuple[str, str]:
        return (floor.name if (floor := floor_of(row, name)) else "", "")

    return _figure(f"{name}_floor", "floor of recognition", get, (*_ENDS, "chance"), by, under=name)


def _limit(rows: Sequence[Row], name: str) -> float | None:
    """The threshold of a board; rows of one board have the same."""
    return (rows[0].limits if rows else paper_limits()).of(name)


def _below(name: str, limit: float) -> Column[Row]:
    """The share of originals whose worst case is below the threshold."""

    def cell(row: Row) -> TableCell:
        worst = row.worst[name]
        ends = f"[{100 * worst['below_low']:.0f}, {100 * worst['below_high']:.0f}]"
        return TableCell(f"{worst['below']:.0%}", ends, value=worst["below"])

    return Column(f"below_{name}", f"below {trimmed(limit)}", cell, "figure")


def _hit_rate(name: str, leading: str, shown: bool, under: str = "") -> Column[Row]:
    """A hit rate of the strongest attack by `leading`: itself, or the one that it follows."""
    prefix = "worst_" if SCORES[name].of_release else ""  # the name alone is that of the release

    def get(row: Row) -> Summary | None:
        best = row.strongest.get(leading)
        if best is None:
            return None
        return best if name == leading else {**(best["beside"][name] or {}), "records": best["records"]}

    def by(row: Row) -> tuple[str, str]:
        best = row.strongest[leading]
        return (attack_name(best["attack"]), best["arch"] or "") if name == leading else ("", "")

    terminal = shown and SCORES[name].terminal and name == leading
    return _figure(prefix + name, label(name) if shown else "", get, (*_ENDS, "chance"), by, terminal, under)


def _attack_of(name: str) -> Column[Row]:
    """CSV and JSON: the strongest attack by a hit rate, and its success beyond chance."""
    score = SCORES[name]
    column = score.attack_column or f"{name}_attack"

    def data(row: Row) -> dict[str, Any]:
        best = row.strongest.get(name)
        if best is None:
            return {}
        recogniser = "recognition" in score.attack_kinds  # a network of some architecture
        return (
            {column: best["attack"]}
            | ({f"{column}_arch": best["arch"]} if recogniser else {})
            | ({} if score.of_release else {f"{name}_corrected": best["corrected"]})
        )

    return Column(column, "", lambda row: NOTHING, data=data)
