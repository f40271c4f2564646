"""What a client's own release shows, without an attack: its scores, and the parts of the verdict that rest on them."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError
from harness.leaderboard import verdict
from harness.leaderboard.board import boards
from harness.leaderboard.format import count, figure
from harness.leaderboard.row import Row
from harness.publish.published import PublishedBench
from harness.records import RunResult
from harness.scores import SCORES, label


def measured(bench: PublishedBench) -> RunResult:
    """The record of the release, which is not written. HarnessError where it cannot be measured."""
    record = bench.do(bench.release_piece(bench.published, 0))
    if record.status != "ok":
        raise HarnessError(f"release of {bench.published.name}: {record.reason}")
    return record


def document(bench: PublishedBench, record: RunResult) -> dict[str, Any]:
    """The release, its scores in the form of `harness run --json`, and which parts of the verdict it passes as is."""
    row = _row(record)
    return {
        "release": bench.hash,
        "defense": bench.published.name,
        "params": {**bench.published.params, **(bench.published.mixing or {})},
        "images": len(bench.splits.private),
        "releases": bench.release_count,
        "passes": {name: part.passes for name, part in row.judgements.items()},
        "scores": record.scores,
    }


def lines(bench: PublishedBench, record: RunResult) -> list[str]:
    """The same for a terminal."""
    row = _row(record)
    made = f"{count(len(bench.splits.private), 'original')}, {count(bench.release_count, 'release')}"
    found = {name: record.scores[name] for name in SCORES if name in record.scores}
    width = max(map(len, map(label, found)))
    scores = [f"{label(name):{width}}  {_written(score)}" for name, score in found.items()]
    return [
        f"{verdict.headline(row)}",
        f"release {bench.hash}: {made}, every file as the secret makes it",
        "",
        *scores,
        "",
        "Without an attack:",
        *(f"  {line}" for line in verdict.parts(row)),
        *(f"  {line}" for line in verdict.remarks(row) if line.startswith("warning")),
        "What attacks reveal: harness run --release, with the same --secret and --dataset.",
    ]


def _row(record: RunResult) -> Row:
    (board,) = boards([record])
    (row,) = board.rows
    return row


def _written(score: dict[str, Any]) -> str:
    return figure(score) if score["mean"] is not None else str(score.get("reason", "-"))
