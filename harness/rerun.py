"""Repeat the cell of one record: the same data, entries, seed, T, targets, device and threads, and nothing written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness import provenance
from harness.agreement import Agreement, compare
from harness.cell import Bench, Piece
from harness.errors import HarnessError
from harness.order import Order, bench_of
from harness.records import Records, RunResult
from harness.registry import Entry, Registry, bind

DATA = ("dataset", "size", "limit", "public_share")


def rerun(
    record: RunResult,
    registry: Registry,
    given: Mapping[str, Any],
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
) -> Agreement:
    """Run the work of a record again and compare.

    given  what the caller says of the data (`DATA`) and the device; None where the record is to say it itself
    """
    provenance.forget()
    inputs = record.inputs
    if "published" in inputs["defense"] or "external" in inputs.get("attack", {}).get("traits", []):
        raise HarnessError(
            f"record {record.spec.key} is of an entry from outside; score it again with harness external score"
        )
    defense = again("defenses", inputs["defense"], registry)
    attack = again("attacks", inputs["attack"], registry) if "attack" in inputs else None
    for entry in filter(None, (defense, attack)):
        bind(entry)
    bench = bench_of(order_of(record, registry, given), registry, Records.nowhere(), progress)
    bench = replace(bench, report=report, splits=replace(bench.splits, name=inputs["dataset"]["name"]))
    if "utility" in inputs:
        bench = replace(bench, utility=inputs["utility"]["params"])
    _check_data(record, bench)
    piece = _piece(record, bench, defense, attack)
    proof = None
    if piece.proof is not None and piece.attack is not None and record.status != "ok":  # whose proof may have failed
        proof = bench.attack(bench.undefended, piece.attack, piece.seed)
    report(" ".join([piece.spec.kind, *piece.spec.names]))
    return compare(record, bench.do(piece, proof))


def order_of(record: RunResult, registry: Registry, given: Mapping[str, Any]) -> Order:
    """What is to be asked for: what the caller says, else what the record keeps of it, else what its data tell."""
    inputs, asked = record.inputs, {**_told_by(record.inputs["dataset"]), **record.asked}
    chosen = {name: asked[name] if given.get(name) is None else given[name] for name in DATA}
    name = inputs["dataset"]["name"]
    if chosen["dataset"] is None:
        if name not in registry.section("datasets"):
            raise HarnessError(
                f"record {record.spec.key} does not tell where data set {name!r} is; name its folder with --dataset"
            )
        chosen["dataset"] = name
    return Order(
        **chosen,
        epochs=inputs.get("epochs", 1),
        targets=inputs.get("targets", 1000),
        device=given.get("device") or inputs["device"],
        threads=inputs.get("threads"),
    )


def _told_by(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """How images were asked for, guessed from what came of it: for records that keep nothing of it. The fingerprint
    tells whether it was so."""
    square = dataset["height"] == dataset["width"]
    return {
        "dataset": None,
        "size": dataset["height"] if square else None,
        "limit": dataset["private"],
        "public_share": None if dataset["public"] else 0.0,
    }


def again(section: str, kept: Mapping[str, Any], registry: Registry) -> Entry:
    """The registry's entry with the settings that a record keeps."""
    entry = registry.get(section, kept["name"])
    settings = {**kept["params"], **kept.get("mixing", {})}
    now = {**entry.params, **(entry.mixing or {})}
    return entry.with_settings(
        {name: value for name, value in settings.items() if name not in now or now[name] != value}
    )


def _check_data(record: RunResult, bench: Bench) -> None:
    kept, here = record.inputs["dataset"], provenance.described(bench.splits)
    unlike = [name for name in kept if name != "name" and kept[name] != here.get(name)]
    if unlike:
        said = ", ".join(f"{name} {here.get(name)}, not {kept[name]}" for name in unlike)
        raise HarnessError(
            f"data set {kept['name']!r} is not the one of record {record.spec.key}: {said}; "
            "give it as it was with --dataset, --size, --limit and --public-share"
        )


def _piece(record: RunResult, bench: Bench, defense: Entry, attack: Entry | None) -> Piece:
    seed = record.inputs["seed"]
    if record.spec.kind == "attack":
        if attack is None:
            raise HarnessError(f"record {record.spec.key} is of an attack and names none; it cannot be run again")
        return bench.attack_piece(defense, attack, seed)
    return (bench.release_piece if record.spec.kind == "release" else bench.utility_piece)(defense, seed)
