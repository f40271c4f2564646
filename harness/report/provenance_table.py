"""Where the figures of a board come from: versions, code hashes, data, seeds, threads, device, dates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.leaderboard.board import Board
from harness.leaderboard.format import settings
from harness.records import RunResult


@dataclass
class Origin:
    """Records on the board of one entry: a defense's releases, its utility, or an attack.

    codes  hashes of the code that made them; several: the entry was edited between them
    """

    kind: str
    name: str
    versions: set[int] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    records: int = 0
    seconds: float = 0.0
    first: str = ""
    last: str = ""

    def add(self, record: RunResult, version: int) -> None:
        self.versions.add(version)
        self.codes.add(str(record.inputs.get("code", ""))[:12])
        self.records += 1
        self.seconds += record.seconds
        self.first = min(filter(None, (self.first, record.finished)), default="")
        self.last = max(self.last, record.finished)


@dataclass(frozen=True)
class Origins:
    """`facts` are pairs of a name and its value in words; `remarks` name differences in how records were made."""

    facts: Sequence[tuple[str, str]]
    entries: Sequence[Origin]
    remarks: Sequence[str]


def origins(board: Board, records: Mapping[str, RunResult]) -> Origins:
    """records  by key: all that were read"""
    used = [records[key] for key in dict.fromkeys(k for row in board.rows for k in row.records) if key in records]
    libraries = _libraries(used)
    return Origins(_facts(board, used, libraries), _entries(used), _remarks(used, libraries))


def _facts(board: Board, used: Sequence[RunResult], libraries: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    data = board.dataset
    kinds = Counter(record.spec.kind for record in used)
    dates = sorted(record.finished for record in used if record.finished)
    roles = f"{data['private']} private, {data['public']} public, {data['test']} test"
    facts = [
        ("data set", f"{data['name']}, {data['height']}x{data['width']} px, {data['classes']} classes"),
        ("fingerprint", str(data["fingerprint"])),
        ("images", roles),
        ("scored", f"up to {board.targets} originals" if board.targets else "all"),
        ("device", board.device),
        ("threads", _listed(record.inputs.get("threads") for record in used)),
        ("seeds", _listed(record.inputs.get("seed") for record in used)),
        ("epochs (T)", _listed(record.inputs.get("epochs") for record in used if record.spec.kind == "utility")),
        ("releases (R)", _listed(record.spec.releases for record in used)),
        ("metrics", _metrics(used)),
        ("libraries", ", ".join(f"{name} {' or '.join(sorted(found))}" for name, found in libraries.items())),
        ("records", ", ".join(f"{number} {kind}" for kind, number in kinds.items())),
        ("made", f"{dates[0]} to {dates[-1]}" if dates else ""),
        ("computed for", _duration(sum(record.seconds for record in used))),
    ]
    return [(name, words) for name, words in facts if words]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted({value for value in values if value is not None})))


def _metrics(used: Sequence[RunResult]) -> str:
    found: dict[str, None] = {}
    for record in used:
        for metric in record.inputs.get("metrics") or []:
            chosen = settings(metric["params"])
            found[f"{metric['name']} v{metric['version']}{f' ({chosen})' if chosen else ''}"] = None
    return ", ".join(found)


def _libraries(used: Sequence[RunResult]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for record in used:
        for name, version in (record.inputs.get("versions") or {}).items():
            found[name].add(str(version))
    return dict(sorted(found.items()))


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def _entries(used: Sequence[RunResult]) -> list[Origin]:
    found: dict[tuple[str, str], Origin] = {}
    for record in used:
        entry = record.inputs.get("attack") or record.inputs["defense"]
        named = (record.spec.kind, str(entry["name"]))
        found.setdefault(named, Origin(*named)).add(record, entry.get("version", 0))
    order = {"release": 0, "utility": 1, "attack": 2}
    return sorted(found.values(), key=lambda each: (order.get(each.kind, 9), each.name))


def _remarks(used: Sequence[RunResult], libraries: Mapping[str, set[str]]) -> list[str]:
    """Differences between records that a reader must know before comparing two rows."""
    remarks = [
        f"Records were made with {len(found)} versions of {name}: {', '.join(sorted(found))}."
        for name, found in libraries.items()
        if len(found) > 1
    ]
    threads = {record.inputs["threads"] for record in used if record.inputs.get("threads") is not None}
    if len(threads) > 1:
        remarks.append(f"Records were made with different numbers of threads: {_listed(threads)}.")
    return remarks
