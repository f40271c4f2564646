"""Whether a cell that was run again agrees with its record: bit for bit where nothing that it depends on has changed.

Where code, libraries or settings differ, figures may move: each difference is paired over originals, with its interval
and a p-value corrected for the number of figures (Holm).

Repeat the cell of one record: the same data, entries, seed, T, targets, device and threads, and nothing written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.records import Records, RunResult, provenance
from harness.registry import Entry, Registry, bind
from harness.run.bench import Bench, Piece
from harness.run.options import RunOptions, bench_of
from harness.scores import hit_rates
from harness.statistics import holm, paired, paired_p, summarise
from harness.types import Array

LEVEL = 0.05
ROUNDING = 1e-6  # of one image: less is another order of adding
ABSENT = "nothing"


@dataclass(frozen=True)
class Moved:
    """One figure, then and now; `apart` is now less then."""

    name: str
    then: Mapping[str, Any]
    now: Mapping[str, Any]
    apart: Mapping[str, Any]
    equal: bool
    rounding: bool
    p: float

    @property
    def agrees(self) -> bool:
        ends = self.apart["low"], self.apart["high"]
        beyond = ends[0] is not None and ends[1] is not None and not ends[0] <= 0 <= ends[1]
        return self.equal or self.rounding or not (beyond and self.p < LEVEL)


@dataclass(frozen=True)
class Agreement:
    """A record beside the same cell run again.

    unlike   (name, then, now) of every input that differs
    moved    the figures that both have
    missing  figures of the record that are not there any more, or are of other images
    new      figures that the record has not
    """

    then: RunResult
    now: RunResult
    unlike: list[tuple[str, Any, Any]]
    moved: list[Moved]
    missing: list[str]
    new: list[str]

    @property
    def exact(self) -> bool:
        """Every per-image number, bit for bit."""
        same = self.then.status == self.now.status and not (self.missing or self.new)
        return same and all(figure.equal for figure in self.moved)

    @property
    def agrees(self) -> bool:
        """Exactly; or, where inputs differ, as far as the images can tell."""
        if self.exact:
            return True
        told_apart = not all(figure.agrees for figure in self.moved)
        return bool(self.unlike) and self.then.status == self.now.status and not self.missing and not told_apart


def compare(then: RunResult, now: RunResult) -> Agreement:
    """What differs between a record and its repetition. Figures of other images are not compared: they are missing."""
    units = then.arrays.get("units")
    alike = np.array_equal(then.arrays.get("units", ()), now.arrays.get("units", ()))
    figures = [
        name
        for name, values in then.arrays.items()
        if alike and name != "units" and name in now.arrays and len(values) == len(now.arrays[name])
    ]
    corrected = holm([paired_p(now.arrays[name], then.arrays[name], units=units) for name in figures])
    moved = [
        _moved(name, then.arrays[name], now.arrays[name], units, float(p))
        for name, p in zip(figures, corrected, strict=True)
    ]
    missing = [name for name in then.arrays if name not in figures and (name != "units" or not alike)]
    new = [name for name in now.arrays if name not in then.arrays]
    return Agreement(then, now, list(differing(then.inputs, now.inputs)), moved, missing, new)


def _moved(name: str, then: Array, now: Array, units: Array | None, p: float) -> Moved:
    equal = then.dtype == now.dtype and np.array_equal(then, now)
    most = float(np.abs(now.astype(float) - then.astype(float)).max(initial=0.0))
    share = (
        None if name in (*hit_rates(), "utility") else False
    )  # a distance may be 0 everywhere without being a proportion
    before, after = (summarise(values, units=units, proportion=share) for values in (then, now))
    return Moved(name, before, after, paired(now, then, units=units), equal, most <= ROUNDING, p)


def differing(then: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every value that is not the same, by its path: versions.torch, attack.params.train_epochs."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*then, *now)):
            yield from differing(then.get(key, ABSENT), now.get(key, ABSENT), f"{name}.{key}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list) and all(_is_entry(one) for one in (*then, *now)):
        before, after = ({one["name"]: one for one in side} for side in (then, now))
        yield from differing(before, after, name)
    elif then != now:
        yield name, then, now


def _is_entry(thing: Any) -> bool:
    return isinstance(thing, Mapping) and "name" in thing


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


def order_of(record: RunResult, registry: Registry, given: Mapping[str, Any]) -> RunOptions:
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
    return RunOptions(
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
