"""`harness external`: releases for attackers elsewhere, and what they hand in."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    command,
    count,
    data_options,
    defense_settings,
    device_option,
    emit,
    records_option,
    registry_of,
)
from harness.errors import HarnessError
from harness.registry import parse_settings

if TYPE_CHECKING:
    from harness.publish.challenge import Challenge
    from harness.registry import Entry, Registry
    from harness.run.bench import Bench


def add(subparsers: Any) -> None:
    text = "entries from outside: a row's release for others to attack, and what they made of it"
    outer = subparsers.add_parser("external", help=text, description=text)
    inner = outer.add_subparsers(title="commands", required=True)
    release = command(inner, "release", write_release, "the releases behind a row of a board, as PNG files")
    release.set_defaults(again="begins anew: nothing was written")
    _row_options(release)
    release.add_argument("--out", type=Path, required=True, metavar="DIR", help="empty or not there yet")
    told = command(inner, "hash", print_hash, "the hash of a release, which a submission is checked by")
    told.add_argument("folder", type=Path, metavar="FOLDER")
    score = command(inner, "score", score_submission, "score a submission and record it as external:NAME")
    score.set_defaults(again="begins anew: nothing was recorded")
    handed = score.add_mutually_exclusive_group(required=True)
    handed.add_argument("--reconstructions", type=Path, metavar="PATH", help="PNGs named like the release, or an .npz")
    handed.add_argument("--scores", type=Path, metavar="FILE", help="class scores: a CSV (file,CLASS,...) or an .npz")
    score.add_argument("--name", required=True, help="whose it is: 'Doe 2027'")
    score.add_argument(
        "--granted", default="", metavar="A,B", help="beyond the images: defense, labels, public, releases"
    )
    score.add_argument("--cite", default="", help="where it is published")
    score.add_argument("--release-hash", metavar="HASH", help="of the release that its author says it is for")
    score.add_argument("--release", type=Path, metavar="FOLDER", help="a client's release; with --secret and --dataset")
    score.add_argument("--secret", type=Path, metavar="FILE", help="what undoes it; without: the release of a row")
    _row_options(score)
    records_option(score, "where the record goes")


def _row_options(to: argparse.ArgumentParser) -> None:
    to.add_argument("--defense", metavar="NAME", help="the row's defense")
    defense_settings(to)
    data_options(to)
    to.add_argument("--seed", type=int, default=0, help="which of the row's releases (0)")
    to.add_argument("--epochs", type=count, default=10, metavar="T", help="as the row was run (10)")
    to.add_argument("--targets", type=count, default=1000, metavar="N", help="as the row was run (1000)")
    device_option(to)


def print_hash(given: argparse.Namespace) -> int:
    from harness.publish.challenge import folder_hash

    found = folder_hash(given.folder)
    emit(given, {"release": str(given.folder), "hash": found}, found)
    return 0


def write_release(given: argparse.Namespace) -> int:
    from harness.publish.challenge import write_row

    registry = registry_of(given)
    bench, defense = _row(given, registry)
    made = write_row(bench, defense, given.seed, given.out)
    said = {"out": str(given.out), "images": len(made.files), "epochs": given.epochs, "hash": made.hash}
    emit(given, said, f"{given.out}: {len(made.files)} images in {given.epochs} epochs\nhash {made.hash}")
    return 0


def score_submission(given: argparse.Namespace) -> int:
    from harness.publish.score import entry_of, judge
    from harness.publish.submission import read_reconstructions, read_scores

    challenge = _challenge(given)
    if given.reconstructions:
        shape = challenge.bench.splits.size
        handed = read_reconstructions(given.reconstructions, challenge.files, shape, challenge.secret.sources.shape[1])
    else:
        handed = read_scores(given.scores, challenge.files, challenge.bench.splits.classes)
    granted = [part.strip() for part in given.granted.split(",") if part.strip()]
    entry = entry_of(given.name, handed, granted, given.cite)
    *_, record = judge(challenge, handed, entry, given.release_hash)
    document = {"record": record.spec.key, "release": challenge.hash, "attack": entry.name, "scores": record.scores}
    emit(given, document, "\n".join(_lines(record.scores, f"{entry.name}, record {record.spec.key}")))
    return 0


def _challenge(given: argparse.Namespace) -> Challenge:
    from harness.publish.challenge import of_row
    from harness.publish.published import of_published
    from harness.records import Records

    registry = registry_of(given)
    if given.secret or given.release:
        if not (given.secret and given.release):
            raise HarnessError("--release and --secret belong together; give both, or the --defense of a row")
        return of_published(given.release, given.secret, Path(given.dataset), registry, Records(given.records))
    bench, defense = _row(given, registry)
    return of_row(bench, defense, given.seed)


def _row(given: argparse.Namespace, registry: Registry) -> tuple[Bench, Entry]:
    from harness.records import Records
    from harness.run.options import RunOptions, make_bench

    if not given.defense:
        raise HarnessError("whose release? name a row with --defense, or a client's with --release and --secret")
    defense = registry.get("defenses", given.defense).with_settings(parse_settings(given.defense_settings))
    names = ("dataset", "size", "limit", "public_share", "epochs", "targets", "device")
    order = RunOptions(**{name: getattr(given, name) for name in names})
    order.check()
    bench = make_bench(order, registry, Records(getattr(given, "records", Path())))
    bench.client.check(defense)
    return bench, defense


def _lines(scores: Mapping[str, Any], title: str) -> list[str]:
    from harness.leaderboard.format import figure

    return [title, *(f"  {name}: {figure(score)}, n = {score['n']}" for name, score in scores.items())]
