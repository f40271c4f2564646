"""`harness external`: releases for outside attackers, and the scoring of their submissions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_command,
    add_data_options,
    add_defense_settings,
    add_device_option,
    add_epochs_options,
    add_records_option,
    path_type,
    print_result,
    print_written,
    registry_from,
)
from harness.errors import HarnessError
from harness.registry import parse_settings
from harness.system.numbers import count
from harness.system.text import one_line

if TYPE_CHECKING:
    from harness.publish.challenge import Challenge
    from harness.registry import Entry, Registry
    from harness.run.bench import Bench


def add(subparsers: Any) -> None:
    text = "outside submissions: write a row's release for others to attack, and score their results"
    outer = subparsers.add_parser("external", help=text, description=text)
    outer.set_defaults(command=None, parser=outer)
    inner = outer.add_subparsers(title="commands", metavar="COMMAND [OPTION]")
    release = add_command(inner, "release", write_release, "the releases behind a row of a board, as PNG files")
    release.set_defaults(again="begins anew: nothing was written")
    _row_options(release)
    release.add_argument("--out", type=path_type, required=True, metavar="DIR", help="empty or not there yet")
    release.add_argument(
        "--secret", type=path_type, metavar="FILE", help="what scoring needs, to keep (DIR.secret.npz beside DIR)"
    )
    digest = add_command(inner, "hash", print_hash, "the hash of a release, by which a submission is checked")
    digest.add_argument("folder", type=path_type, metavar="FOLDER")
    score = add_command(inner, "score", score_submission, "score a submission and record it as external:NAME")
    score.set_defaults(again="begins anew: nothing was recorded")
    submitted = score.add_mutually_exclusive_group(required=True)
    submitted.add_argument(
        "--reconstructions", type=path_type, metavar="PATH", help="PNGs named like the release, or an .npz"
    )
    submitted.add_argument(
        "--scores", type=path_type, metavar="FILE", help="class scores: a CSV (file,CLASS,...) or an .npz"
    )
    score.add_argument("--name", required=True, help="whose it is: 'Doe 2027'")
    score.add_argument(
        "--granted", default="", metavar="A,B", help="beyond the images: defense, labels, public, releases"
    )
    score.add_argument("--cite", default="", help="where it is published")
    score.add_argument("--release-hash", metavar="HASH", help="of the release that its author made it for")
    score.add_argument(
        "--release", type=path_type, metavar="FOLDER", help="a client's release; with --secret and --dataset"
    )
    score.add_argument("--secret", type=path_type, metavar="FILE", help="what was written beside the release")
    _row_options(score)
    add_records_option(score, "where the record goes")


def _row_options(to: argparse.ArgumentParser) -> None:
    to.add_argument("--defense", metavar="NAME", help="the row's defense")
    add_defense_settings(to)
    add_data_options(to)
    to.add_argument("--seed", type=count("seed", 0), default=0, help="which of the row's seeds it counts for (0)")
    add_epochs_options(to)
    to.add_argument("--targets", type=count("targets"), default=1000, metavar="N", help="as the row was run (1000)")
    add_device_option(to)


def print_hash(args: argparse.Namespace) -> int:
    from harness.publish.challenge import folder_hash

    digest = folder_hash(args.folder)
    print_result(args, {"release": str(args.folder), "hash": digest}, digest)
    return 0


def write_release(args: argparse.Namespace) -> int:
    from harness.publish.challenge import write_row

    registry = registry_from(args)
    bench, defense = _row(args, registry)
    out = Path(os.path.realpath(args.out))  # "." has no name
    secret = args.secret or out.parent / f"{out.name}.secret.npz"
    originals = Path(args.dataset) if args.dataset not in registry.section("datasets") else None
    challenge = write_row(bench, defense, args.seed, args.out, secret, originals)
    images, releases = len(challenge.files), bench.release_count
    counts = {"images": images, "epochs": args.epochs, "releases": releases}
    document = {"out": str(args.out), "secret": str(secret), **counts, "hash": challenge.hash}
    text = f"{one_line(str(args.out))}: {images} images in each of {releases} releases\nhash {challenge.hash}"
    text = f"{text}\n{one_line(str(secret))}: keep it to yourself, scoring needs it"
    print_written(args, document, text, [args.out, secret])
    return 0


def score_submission(args: argparse.Namespace) -> int:
    from harness.publish.score import entry_of, judge
    from harness.publish.submission import read_reconstructions, read_scores

    challenge = _challenge(args)
    if args.reconstructions:
        shape = challenge.bench.splits.size
        submission = read_reconstructions(
            args.reconstructions, challenge.files, shape, challenge.secret.sources.shape[1]
        )
    else:
        submission = read_scores(args.scores, challenge.files, challenge.bench.splits.classes)
    granted = [part.strip() for part in args.granted.split(",") if part.strip()]
    entry = entry_of(args.name, submission, granted, args.cite)
    *_, record = judge(challenge, submission, entry, args.release_hash)
    document = {"record": record.spec.key, "release": challenge.hash, "attack": entry.name, "scores": record.scores}
    text = "\n".join(_lines(record.scores, f"{entry.name}, record {record.spec.key}"))
    print_written(args, document, text, [args.records / f"{record.spec.key}.json"])
    return 0


def _challenge(args: argparse.Namespace) -> Challenge:
    from harness.publish.challenge import challenge_of_row
    from harness.publish.published import challenge_of_published
    from harness.records import Records

    registry = registry_from(args)
    if args.release:
        if not args.secret:
            raise HarnessError("--release and --secret belong together; give both, or the --defense of a row")
        return challenge_of_published(args.release, args.secret, Path(args.dataset), registry, Records(args.records))
    if args.secret and not args.defense:
        raise HarnessError("whose secret? give --release with a client's own, or the --defense of a row")
    bench, defense = _row(args, registry, needs_secret=True)
    return challenge_of_row(bench, defense, args.seed, args.secret)


def _row(args: argparse.Namespace, registry: Registry, *, needs_secret: bool = False) -> tuple[Bench, Entry]:
    from harness.records import Records
    from harness.run.options import RunOptions, make_bench

    if not args.defense:
        raise HarnessError("whose release? name a row with --defense, or a client's with --release and --secret")
    defense = registry.get("defenses", args.defense).with_settings(parse_settings(args.defense_settings))
    names = ("dataset", "size", "limit", "public_share", "epochs", "releases", "targets", "device")
    options = RunOptions(**{name: getattr(args, name) for name in names})
    options.check()
    if needs_secret and not args.secret:
        raise HarnessError(
            "a challenge is scored by the secret that harness external release wrote beside it: give DIR.secret.npz "
            "with --secret; one of an older form has none, its pairing follows from a public seed: hand out a new one"
        )
    bench = make_bench(options, registry, Records(getattr(args, "records", Path())))
    bench.client.check(defense)
    return bench, defense


def _lines(scores: Mapping[str, Any], title: str) -> list[str]:
    from harness.leaderboard.format import figure

    return [title, *(f"  {name}: {figure(score)}, n = {score['n']}" for name, score in scores.items())]
