"""Pictures for the page of a board: originals, a release by each defense, and the best reconstruction of it.

Records hold no pictures, so the images are loaded, released and attacked again, with the settings and the seed of the
records. What was made is kept in the user's cache folder, for the user alone to read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.client.client import Client
from harness.data.cache import cached
from harness.errors import HarnessError, Inapplicable, NotConverged, Skipped
from harness.leaderboard.attack_results import AttackResult
from harness.leaderboard.format import LOOK
from harness.leaderboard.row import Row
from harness.leaderboard.summary import short_label
from harness.records import RunResult
from harness.registry import Entry, Registry
from harness.report.collect import Report, Section
from harness.report.pictures import BoardPictures, Picture, RowPictures
from harness.run.bench import Bench
from harness.run.rerun import bench_of, entry_of
from harness.scores import ranking
from harness.system.files import user_cache_folder
from harness.system.private import keeps_nothing, private_folder
from harness.tools import preview
from harness.types import Array, Bytes, Secret

Mode = Literal["best", "quick", "none"]
IMAGES = 6  # originals of a board, of as many classes as there are
SAME = 5e-4  # distance of a release that is the original
VERSION = 1  # of what is kept: raised when other pictures are made of the same records


@dataclass(frozen=True)
class Made:
    """A report with its pictures.

    originals  how many original images are on the page
    problems   boards without pictures, and why
    """

    report: Report
    originals: int
    problems: Sequence[str]


def with_pictures(
    report: Report,
    registry: Registry,
    given: Mapping[str, Any],
    mode: Mode,
    tell: Callable[[str], None] = lambda _: None,
) -> Made:
    """The report with pictures for each board whose images are at hand.

    given  the caller's data options (dataset, size, limit, public_share) and device; None: as the records say
    mode   best: by the attack that comes nearest, which may train a network; quick: by the nearest that trains none
    """
    sections, problems, originals = [], [], 0
    for section in report.sections:
        try:
            found = _pictures_of(section, report.records, registry, given, mode, tell)
        except HarnessError as problem:
            problems.append(f"{section.board.dataset['name']}: no pictures: {problem}")
            sections.append(replace(section, no_pictures=str(problem)))
        else:
            originals += len(found.originals)
            sections.append(replace(section, pictures=found))
    return Made(replace(report, sections=sections), originals, problems)


def _pictures_of(
    section: Section,
    records: Mapping[str, RunResult],
    registry: Registry,
    given: Mapping[str, Any],
    mode: Mode,
    tell: Callable[[str], None],
) -> BoardPictures:
    chosen = [(row, _release_of(row, records), *_attack_of(row, mode)) for row in _rows(section)]
    bench: Bench | None = None

    def get_bench() -> Bench:
        nonlocal bench
        bench = bench or _bench(chosen[0][1], registry, given)
        return bench

    originals = _kept(f"originals {_data_key(section)}", section, lambda: {"pixels": _originals(get_bench())[1]})
    found = []
    for row, release, attack, reason in chosen:
        tell(_job(section, row, attack))
        keys = [release.spec.key, attack.records[0] if attack else "", _data_key(section)]

        def make(
            release: RunResult = release, attack: AttackResult | None = attack, row: Row = row
        ) -> dict[str, Array]:
            return _pictures(get_bench(), registry, row, release, attack)

        found.append(_row_pictures(row, attack, reason, _kept(" ".join(keys), section, make)))
    return BoardPictures([Picture(pixels) for pixels in originals["pixels"]], found)


def jobs(report: Report, mode: Mode) -> list[tuple[str, float | None]]:
    """What `with_pictures` does, by the names that it tells, and what the attack took by its record."""
    found: list[tuple[str, float | None]] = []
    for section in report.sections:
        for row in _rows(section):
            attack, _ = _attack_of(row, mode)
            found.append((_job(section, row, attack), _seconds(attack, report.records) if attack else None))
    return found


def _job(section: Section, row: Row, attack: AttackResult | None) -> str:
    by = f", {attack.name}" if attack else ""
    return f"pictures of {section.board.dataset['name']}: {short_label(row, section.board.rows)}{by}"


def _rows(section: Section) -> list[Row]:
    """Those that a reader sees first."""
    return [row for row in section.board.rows if section.shown in (None, row.releases) or row.releases is None]


def _data_key(section: Section) -> str:
    return f"{section.board.dataset['fingerprint']} {IMAGES} {VERSION}"


def _bench(record: RunResult, registry: Registry, given: Mapping[str, Any]) -> Bench:
    """With the caller's data set, or where that is not the record's, with the one that the record names."""
    try:
        return bench_of(record, registry, given)
    except HarnessError:
        if given.get("dataset") is None:
            raise
        return bench_of(record, registry, {**given, "dataset": None})


def _release_of(row: Row, records: Mapping[str, RunResult]) -> RunResult:
    """The record of its release, of the first seed."""
    mine = [records[key] for key in row.records if key in records and records[key].spec.kind == "release"]
    released = [record for record in mine if record.status == "ok"]
    if not released:
        raise HarnessError(f"the record of the release of {row.defense} is not here")
    return min(released, key=lambda record: record.inputs["seed"])


def _attack_of(row: Row, mode: Mode) -> tuple[AttackResult | None, str]:
    """The reconstruction that comes nearest, in quick mode of those that train nothing; what is left out is said."""
    best = sorted(
        (
            attack
            for attack in row.attacks
            if ranking() in attack.distances
            and not attack.group.control
            and not attack.external
            and attack.name != LOOK
        ),
        key=lambda attack: float(attack.distances[ranking()]["mean"]),
    )
    if ranking() in row.scores and row.scores[ranking()]["mean"] < SAME:
        return None, "the release is the original"
    if not best:
        return None, "no attack that reconstructs images was run"
    chosen = [attack for attack in best if mode == "best" or not attack.group.trained][:1]
    if chosen == best[:1]:
        return best[0], ""
    said = f"{best[0].name} comes nearer, and trains a network: --pictures best runs it again"
    return (chosen[0] if chosen else None), said


def _seconds(attack: AttackResult, records: Mapping[str, RunResult]) -> float:
    return max((records[key].seconds for key in attack.records if key in records), default=0.0)


def _originals(bench: Bench) -> tuple[Array, Array]:
    """Rows of the private set, one of each class in turn, and their images."""
    private = bench.splits.private
    by_class = [np.flatnonzero(private.labels == label) for label in range(len(private.classes))]
    in_turn = [rows[depth] for depth in range(IMAGES) for rows in by_class if depth < len(rows)]
    chosen = np.array(in_turn[:IMAGES])
    return chosen, private.images[chosen].copy()


def _pictures(
    bench: Bench, registry: Registry, row: Row, release: RunResult, attack: AttackResult | None
) -> dict[str, Array]:
    """released (n, 3, H, W), reconstructed (n, 3, H, W) and whether each is one, and the distance under each."""
    seed, originals = int(release.inputs["seed"]), _originals(bench)[0]
    defense = entry_of("defenses", release.inputs["defense"], registry)
    count = row.releases or release.spec.releases or 1
    client = Client(bench.splits, registry, bench.device, count, bench.targets, bench.release_cache)
    client.check(defense)
    released, secret = client.release(defense, seed, 0)
    shown = [_row_of(secret, int(original)) for original in originals]
    pairs = [
        preview.captioned(client, released.images[at], o) for at, o in zip(shown, map(int, originals), strict=True)
    ]
    made: dict[str, Array] = {"released": np.stack([pixels for pixels, _ in pairs])}
    made["released_words"] = np.array([words for _, words in pairs])
    if attack is not None:
        entry = entry_of("attacks", attack.group.entry, registry)
        guesses, why = _guesses(client, defense, entry, seed)
        best = [
            preview.best(client, guesses[at], o) if at in guesses else None
            for at, o in zip(shown, map(int, originals), strict=True)
        ]
        made["reconstructed"] = np.stack([each[0] if each else np.zeros_like(pairs[0][0]) for each in best])
        made["reconstructed_words"] = np.array([each[1] if each else "" for each in best])
        made["reason"] = np.array(why)
    return made


def _guesses(client: Client, defense: Entry, attack: Entry, seed: int) -> tuple[dict[int, Bytes], str]:
    try:
        return preview.reconstructed(client, defense, attack, seed), ""
    except (Inapplicable, NotConverged, Skipped) as reason:
        return {}, str(reason)


def _row_of(secret: Secret, original: int) -> int:
    """The release that an original dominates, else the one that holds most of it."""
    dominated = np.flatnonzero(secret.dominant_rows == original)
    if len(dominated):
        return int(dominated[0])
    shares = np.where(secret.sources == original, secret.shares, 0.0).max(axis=1)
    return int(shares.argmax())


def _row_pictures(row: Row, attack: AttackResult | None, reason: str, made: Mapping[str, Array]) -> RowPictures:
    released = _zipped(made, "released")
    if attack is None:
        return RowPictures(row, released, reason=reason)
    found = [picture if picture.words else None for picture in _zipped(made, "reconstructed")]
    return RowPictures(row, released, found, attack.name, str(made["reason"]) or reason)


def _zipped(made: Mapping[str, Array], name: str) -> list[Picture]:
    return [Picture(pixels, str(words)) for pixels, words in zip(made[name], made[f"{name}_words"], strict=True)]


def _kept(key: str, section: Section, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What `make` returns; read from the cache folder where it is there, and kept in it unless nothing is to be."""
    if keeps_nothing():
        return make()
    cache = user_cache_folder()
    private_folder(cache)
    folder = cache / "pictures" / hashlib.sha256(key.encode()).hexdigest()[:32]
    data = section.board.dataset
    about = {"name": data["name"], "size": data["height"], "limit": data["private"], "path": None}

    def write(to: Path) -> dict[str, Any]:
        with (to / "pictures.npz").open("wb") as file:
            np.savez(file, **make())  # type: ignore[arg-type]
        return {"about": about}

    def is_valid(_: Mapping[str, Any]) -> bool:
        with np.load(folder / "pictures.npz", allow_pickle=False) as read:
            return bool(read.files)

    cached(folder, write, is_valid)
    with np.load(folder / "pictures.npz", allow_pickle=False) as read:
        return {name: read[name] for name in read.files}
