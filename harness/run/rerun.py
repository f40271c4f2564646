"""Run the piece of one record again, and compare: the same data, entries, seed, T, R, targets, device and threads.

Where nothing that a record depends on has changed, every per-image number must be the same bit for bit. Where code,
libraries or settings differ, figures may move: each difference is paired over originals, with its interval and a
p-value corrected for the number of figures (Holm). Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.cache_entries import place_of
from harness.data.load import HUB
from harness.errors import HarnessError
from harness.records import Records, RunResult, provenance
from harness.registry import Entry, Registry, bind
from harness.registry.own_networks import sha256
from harness.run.bench import Bench, Piece
from harness.run.options import RunOptions, make_bench
from harness.run.stated import ROUNDING, differences, stated
from harness.scores import INDEXES, hit_rates
from harness.statistics import holm, paired, paired_p, summarise
from harness.system.files import user_cache_folder

DATA = ("dataset", "size", "limit", "public_share")
LEVEL = 0.05


def rerun(
    record: RunResult,
    registry: Registry,
    given: Mapping[str, Any],
    report: Callable[[str], None] = lambda _: None,
    progress: Any = None,
) -> RecordComparison:
    """Run the piece of a record again and compare.

    given  the caller's data options (`DATA`), device and checkpoint; None where the record's own are used
    """
    provenance.forget()
    inputs = record.inputs
    if "published" in inputs["defense"] or "external" in inputs.get("attack", {}).get("traits", []):
        raise HarnessError(
            f"record {record.spec.key} is of an entry from outside; score it again with harness external score"
        )
    defense = entry_of("defenses", inputs["defense"], registry)
    attack = entry_of("attacks", inputs["attack"], registry) if "attack" in inputs else None
    for entry in filter(None, (defense, attack)):
        bind(entry)
    bench = replace(bench_of(record, registry, given, progress), report=report)
    if "utility" in inputs:
        bench = replace(bench, utility=inputs["utility"]["params"], checkpoint=_checkpoint_of(record, given))
    piece = _piece_of(record, bench, defense, attack)
    proof = None
    if piece.proof is not None and piece.attack is not None and record.status != "ok":  # its proof may have failed
        proof = bench.attack(bench.undefended, piece.attack, piece.seed)
    report(" ".join([piece.spec.kind, *piece.spec.names]))
    return compare(record, bench.do(piece, proof))


def bench_of(record: RunResult, registry: Registry, given: Mapping[str, Any], progress: Any = None) -> Bench:
    """A bench on the images of a record, which is checked to be on them; it writes no records."""
    options = options_of(record, registry, given)
    try:
        options.check()
    except HarnessError as error:
        raise HarnessError(f"record {record.spec.key}: {error}") from None
    bench = make_bench(options, registry, Records.nowhere(), progress)
    bench = replace(bench, splits=replace(bench.splits, name=record.inputs["dataset"]["name"]))
    _check_data(record, bench)
    return bench


def options_of(record: RunResult, registry: Registry, given: Mapping[str, Any]) -> RunOptions:
    """The options to run with: what the caller says, else what the record keeps of them, else a guess from its data."""
    inputs, kept = record.inputs, {**_guessed_from(record.inputs["dataset"]), **record.asked}
    chosen = {name: kept[name] if given.get(name) is None else given[name] for name in DATA}
    name = inputs["dataset"]["name"]
    if chosen["dataset"] is None:
        place = _place_of(inputs["dataset"]["fingerprint"])
        if place is not None:
            chosen["dataset"] = place
        elif name not in registry.section("datasets"):
            raise HarnessError(
                f"record {record.spec.key} does not say where data set {name!r} is, and it was not read on this "
                "machine; name its folder with --dataset"
            )
        else:
            chosen["dataset"] = name
    return RunOptions(
        **chosen,
        epochs=inputs.get("epochs", record.spec.releases or 1),
        releases=record.spec.releases,
        targets=inputs.get("targets", 1000),
        device=given.get("device") or inputs["device"],
        threads=inputs.get("threads"),
    )


def _checkpoint_of(record: RunResult, given: Mapping[str, Any]) -> Path | None:
    """The file with the weights that the record's model began with, which the caller has to name."""
    kept, file = record.inputs.get("checkpoint"), given.get("checkpoint")
    if kept is None and file is not None:
        raise HarnessError(f"record {record.spec.key} began with no checkpoint; leave out --checkpoint {file}")
    if kept is not None and file is None:
        raise HarnessError(
            f"record {record.spec.key} began with a checkpoint, SHA-256 {kept[:12]}...; name its file with --checkpoint"
        )
    if file is not None and kept is not None and (found := sha256(file)) != kept:
        raise HarnessError(
            f"checkpoint {file} is not the one of record {record.spec.key}: SHA-256 {found[:12]}..., not {kept[:12]}..."
        )
    return file


def _place_of(fingerprint: str) -> str | None:
    """Where this user read these images last, if they are still there."""
    try:
        place = place_of(user_cache_folder(), fingerprint)
    except HarnessError:  # no home folder
        return None
    return place if place is not None and (place.startswith(HUB) or os.path.exists(place)) else None


def _guessed_from(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Data options, guessed from the data set that resulted: for records that keep none. A wrong guess has another
    fingerprint."""
    square = dataset["height"] == dataset["width"]
    return {
        "dataset": None,
        "size": dataset["height"] if square else None,
        "limit": dataset["private"],
        "public_share": None if dataset["public"] else 0.0,
    }


def entry_of(section: str, kept: Mapping[str, Any], registry: Registry) -> Entry:
    """The registry's entry with the settings of a record's entry."""
    entry = registry.get(section, kept["name"])
    settings = {**kept["params"], **kept.get("mixing", {})}
    now = {**entry.params, **(entry.mixing or {})}
    return entry.with_settings(
        {name: value for name, value in settings.items() if name not in now or now[name] != value}
    )


def _check_data(record: RunResult, bench: Bench) -> None:
    kept, here = record.inputs["dataset"], provenance.described(bench.splits)
    changed = [name for name in kept if name != "name" and kept[name] != here.get(name)]
    if changed:
        different = ", ".join(f"{name} {here.get(name)}, not {kept[name]}" for name in changed)
        raise HarnessError(
            f"data set {kept['name']!r} is not the one of record {record.spec.key}: {different}; "
            "give it as it was with --dataset, --size, --limit and --public-share"
        )


def _piece_of(record: RunResult, bench: Bench, defense: Entry, attack: Entry | None) -> Piece:
    seed = record.inputs["seed"]
    if record.spec.kind == "attack":
        if attack is None:
            raise HarnessError(f"record {record.spec.key} is of an attack and names none; it cannot be run again")
        return bench.attack_piece(defense, attack, seed)
    return (bench.release_piece if record.spec.kind == "release" else bench.utility_piece)(defense, seed)


@dataclass(frozen=True)
class FigureChange:
    """One figure, then and now; `apart` is now less then."""

    name: str
    then: Mapping[str, Any]
    now: Mapping[str, Any]
    difference: Mapping[str, Any]
    equal: bool
    rounding: bool
    p: float

    @property
    def agrees(self) -> bool:
        low, high = self.difference["low"], self.difference["high"]
        excludes_zero = low is not None and high is not None and not low <= 0 <= high
        return self.equal or self.rounding or not (excludes_zero and self.p < LEVEL)


@dataclass(frozen=True)
class RecordComparison:
    """A record beside the same piece run again.

    changed_inputs  (name, then, now) of every input that differs
    figures         the figures that both have
    missing         figures of the record that the repetition lacks, or that are of other images
    new             figures that the record lacks
    stated          (name, then, now) of the scores and facts that are not what the record's own numbers and the
                    repetition give (`harness.run.stated`)
    """

    then: RunResult
    now: RunResult
    changed_inputs: list[tuple[str, Any, Any]]
    figures: list[FigureChange]
    missing: list[str]
    new: list[str]
    stated: list[tuple[str, Any, Any]]

    @property
    def exact(self) -> bool:
        """Every per-image number, bit for bit, and what is said of them."""
        same = self.then.status == self.now.status and not (self.missing or self.new or self.stated)
        return same and all(figure.equal for figure in self.figures)

    @property
    def agrees(self) -> bool:
        """Exactly; or, where inputs differ, without a significant difference."""
        if self.exact:
            return True
        same = self.then.status == self.now.status and not (self.missing or self.stated)
        return bool(self.changed_inputs) and same and all(figure.agrees for figure in self.figures)


def compare(then: RunResult, now: RunResult) -> RecordComparison:
    """The differences between a record and its repetition. Figures of other images are not compared but missing."""
    names = [name for name in then.arrays if name not in INDEXES and _same_images(then, now, name)]
    pairs = [(now.numbers(name)[0], *then.numbers(name)) for name in names]
    corrected = holm([paired_p(mine, theirs, units=units) for mine, theirs, units in pairs])
    figures = [_figure_change(name, then, now, float(p)) for name, p in zip(names, corrected, strict=True)]
    indexes = [name for name in INDEXES if np.array_equal(then.arrays.get(name, ()), now.arrays.get(name, ()))]
    missing = [name for name in then.arrays if name not in (*names, *indexes)]
    new = [name for name in now.arrays if name not in then.arrays]
    equal = [*indexes, *(figure.name for figure in figures if figure.equal)]
    differing = stated(then, now, names, equal)
    return RecordComparison(then, now, list(differences(then.inputs, now.inputs)), figures, missing, new, differing)


def _same_images(then: RunResult, now: RunResult, name: str) -> bool:
    """Whether both have this array, of the same images."""
    if name not in now.arrays or now.arrays[name].shape != then.arrays[name].shape:
        return False
    return np.array_equal(then.numbers(name)[1], now.numbers(name)[1])


def _figure_change(name: str, then: RunResult, now: RunResult, p: float) -> FigureChange:
    old, new = then.arrays[name], now.arrays[name]
    equal = old.dtype == new.dtype and np.array_equal(old, new, equal_nan=old.dtype.kind == "f")
    (before, units), (after, _) = then.numbers(name), now.numbers(name)
    largest = float(np.abs(after.astype(float) - before.astype(float)).max(initial=0.0))
    # a distance may be 0 everywhere without being a proportion
    proportion = None if name in (*hit_rates(), "utility") else False
    was, found = (summarise(values, units=units, proportion=proportion) for values in (before, after))
    return FigureChange(name, was, found, paired(after, before, units=units), equal, largest <= ROUNDING, p)
