"""A client's own release on the command line: its folder, secret and originals, and images beside them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import DATASET, path_type
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.publish.published import PublishedBench
    from harness.records import Records
    from harness.registry import Entry, Registry
    from harness.run.cross import Cross
    from harness.run.options import RunOptions

log = logging.getLogger("harness")
_BESIDE = ("public", "test")
_OF_THE_RELEASE = ("size", "limit", "public_share")


def add_published_options(to: argparse.ArgumentParser) -> None:
    """--secret, --public and --test."""
    to.add_argument("--secret", type=path_type, metavar="FILE", help="what harness obfuscate wrote beside the release")
    to.add_argument(
        "--public", type=path_type, metavar="FOLDER", help="of a release: images of its classes that an adversary has"
    )
    to.add_argument(
        "--test", type=path_type, metavar="FOLDER", help="of a release: images that a model trained on it is tested on"
    )


def refuse_without_release(args: argparse.Namespace, release: str) -> None:
    """HarnessError for an option that is of a client's release alone. release: how that is named"""
    for name in ("secret", *_BESIDE):
        if getattr(args, name) is not None:
            raise HarnessError(f"--{name} is of a client's own release; give {release} as well")


def published_bench(args: argparse.Namespace, release: Path, registry: Registry, records: Records) -> PublishedBench:
    """The bench of these options, checked against the files."""
    from harness.publish.published import OthersImages, bench_of_published

    if args.secret is None:
        raise HarnessError(f"release {release}: give the secret that was written beside it with --secret")
    if args.dataset == DATASET:
        raise HarnessError(f"release {release}: give the folder of its originals with --dataset")
    beside = OthersImages(args.public, args.test)
    return bench_of_published(release, args.secret, Path(args.dataset), registry, records, beside)


def published_cross(
    args: argparse.Namespace,
    options: RunOptions,
    attacks: list[Entry],
    registry: Registry,
    report: Callable[[str], None],
    progress: Any,
) -> Cross:
    """Attacks on a client's own release, all R of it. HarnessError for options that the release answers itself."""
    from dataclasses import replace

    from harness.records import Records
    from harness.run import engine

    if args.defense_settings:
        raise HarnessError(f"-D {args.defense_settings[0]} does not go with --release: the secret holds the settings")
    if args.defense is not None:
        raise HarnessError(f"--defense {args.defense} does not go with --release: the secret names the defense")
    for name in _OF_THE_RELEASE:
        if getattr(args, name) is not None:
            option = name.replace("_", "-")
            raise HarnessError(f"--{option} does not go with --release: all of the release is attacked, as it is")
    if args.name is not None:
        raise HarnessError("--name does not go with --release: the folder of its originals names them")
    if args.releases != [None]:
        raise HarnessError("--releases does not go with --release: all that it holds are attacked")
    bench = published_bench(args, args.release, registry, Records(options.records))
    if options.utility and not len(bench.splits.test):
        log.warning("no model is trained on the release: --test names a folder of images to test it on")
        options = replace(options, utility=False)
    held = bench.release_count
    options = replace(options, epochs=max(held, options.epochs), releases=held, targets=bench.targets)
    bench = replace(bench, utility=options.utility_settings(), checkpoint=options.checkpoint)
    return engine.crossed(options, registry, [bench.published], attacks, report, progress, bench)
