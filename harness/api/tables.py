"""Cells and records as lines of a table: what was run, its status, and a few columns for each score."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from harness.api.arguments import path
from harness.errors import HarnessError
from harness.leaderboard.format import settings
from harness.records import RunResult, paths, read_all

if TYPE_CHECKING:
    import pandas as pd

_ATTACK = "attack"


def load_records(folder: str | PathLike[str]) -> pd.DataFrame:
    """The records of a folder as a table, a row for each, in the order of their names.

    folder   where `harness run`, `harness sweep` or `harness.evaluate` wrote them; its subfolders are not read
    columns  key, kind (release, utility or attack), dataset, fingerprint, height, width, private, defense,
             defense_settings, attack, attack_settings, seed, epochs (T), releases (R), device, status, reason, seconds,
             finished; then of every score its mean under its name, the ends of its 95 % interval as NAME_low and
             NAME_high, and NAME_n. What a record does not have is missing (NaN or None).

    Raises HarnessError for what is no path, for a folder without records, and for a damaged record.
    """
    import pandas as pd

    place = path("folder", folder)
    if not place.is_dir():
        raise HarnessError(f"records folder {place} does not exist or is no folder; check the path")
    if not paths(place):
        raise HarnessError(f"no records in {place}; name a folder that `harness run --records` wrote to")
    return pd.DataFrame([_record_line(record) for record in read_all(place)])


def cell_line(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell of the document of `harness run --json` as a line."""
    params = dict(cell["params"])
    of_attack = params.pop(_ATTACK)
    line = {name: cell[name] for name in ("dataset", "defense")}
    line |= {"defense_settings": settings(params), _ATTACK: cell[_ATTACK], "attack_settings": settings(of_attack)}
    line |= {name: cell[name] for name in ("seed", "epochs", "releases", "status", "reason", "seconds")}
    return line | _score_columns(cell["scores"])


def _record_line(record: RunResult) -> dict[str, Any]:
    inputs = record.inputs
    data, defense, attack = inputs["dataset"], inputs["defense"], inputs.get(_ATTACK)
    line: dict[str, Any] = {"key": record.spec.key, "kind": record.spec.kind, "dataset": data["name"]}
    line |= {name: data[name] for name in ("fingerprint", "height", "width", "private")}
    line |= {"defense": defense["name"], "defense_settings": _settings_of(defense)}
    line |= {_ATTACK: attack and attack["name"], "attack_settings": attack and _settings_of(attack)}
    line |= {"seed": inputs["seed"], "epochs": inputs.get("epochs"), "releases": record.spec.releases}
    line |= {"device": inputs["device"], "status": record.status, "reason": record.reason}
    line |= {"seconds": record.seconds, "finished": record.finished}
    return line | _score_columns(record.scores)


def _settings_of(entry: Mapping[str, Any]) -> str:
    return settings({**entry.get("params", {}), **entry.get("mixing", {})})


def _score_columns(scores: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, score in scores.items():
        columns |= {name: score["mean"], f"{name}_low": score["low"], f"{name}_high": score["high"]}
        columns[f"{name}_n"] = score["n"]
    return columns
