"""`harness obfuscate`: release a client's folder."""

from __future__ import annotations

import argparse
import secrets
import shlex
from pathlib import Path
from typing import Any

from harness.commands.common import (
    add_command,
    add_defense_settings,
    add_device_option,
    add_epochs_options,
    path_type,
    print_written,
    registry_from,
)
from harness.registry import bind, parse_settings
from harness.system.messages import log
from harness.system.numbers import count
from harness.system.text import one_line


def add(subparsers: Any) -> None:
    obfuscate = add_command(subparsers, "obfuscate", obfuscate_folder, "a client's folder, released as PNG files")
    obfuscate.set_defaults(again="begins anew: nothing was released")
    obfuscate.add_argument("--defense", required=True, metavar="NAME")
    add_defense_settings(obfuscate)
    obfuscate.add_argument(
        "--dataset", type=path_type, required=True, metavar="FOLDER", help="<class>/*, all of it private"
    )
    add_epochs_options(obfuscate, epochs=1)
    obfuscate.add_argument(
        "--out", type=path_type, required=True, metavar="DIR", help="where the release goes: empty or not there yet"
    )
    obfuscate.add_argument(
        "--secret", type=path_type, required=True, metavar="FILE", help="where the secret goes: an .npz, not in DIR"
    )
    obfuscate.add_argument("--size", type=count("size"), metavar="PIXELS", help="shorter side, then a centre crop")
    obfuscate.add_argument(
        "--at-most",
        type=count("at_most"),
        metavar="N",
        help="releases of the same pictures over all runs; kept by the ledger",
    )
    obfuscate.add_argument(
        "--ledger", type=path_type, metavar="FILE", help="counts them (obfuscation-ledger.json beside the secret)"
    )
    obfuscate.add_argument(
        "--strict",
        action="store_true",
        help="refuse a folder with a file that is left out, or a picture in two classes or twice in one",
    )
    add_device_option(obfuscate)
    obfuscate.add_argument(
        "--seed", type=count("seed", 0), help="for tests alone: the same randomness for everyone who gives this number"
    )


def obfuscate_folder(args: argparse.Namespace) -> int:
    """A client's release, with randomness from the operating system unless a test asks for a seed."""
    registry = registry_from(args)
    defense = registry.get("defenses", args.defense).with_settings(parse_settings(args.defense_settings))
    bind(defense)
    if args.seed is not None:
        log.warning("--seed %d is for tests: anyone who guesses it can undo the release", args.seed)
    from harness.publish.obfuscate import publish
    from harness.randomness import ROOT_BYTES, root_of
    from harness.run.options import check_releases
    from harness.system.device import choose_device
    from harness.system.progress import ProgressDisplay

    check_releases(args.epochs, args.releases)
    releases = args.releases or args.epochs
    with ProgressDisplay() as watch:
        made = publish(
            defense,
            registry,
            args.dataset,
            args.out,
            args.secret,
            releases=releases,
            root=secrets.token_bytes(ROOT_BYTES) if args.seed is None else root_of(args.seed),
            size=args.size,
            device=choose_device(args.device),
            progress=watch.progress,
            ledger=args.ledger,
            at_most=args.at_most,
            strict=args.strict,
        )
    counts = {"images": made.images, "epochs": args.epochs, "releases": releases, "released_before": made.before}
    counts["left_out"] = len(made.left_out)
    document = {"out": str(args.out), "secret": str(args.secret), "ledger": str(made.ledger), **counts}
    out, secret, ledger = (one_line(str(place)) for place in (args.out, args.secret, made.ledger))
    text = f"{out}: {made.images} images in {releases} releases\n{secret}: keep it to yourself"
    text = f"{text}\n{ledger}: keep it, it counts the releases of all runs"
    print_written(args, document, text, [args.out, args.secret])
    total = made.before + releases
    if total > 1:
        epochs, earlier = max(args.epochs, total), f" ({made.before} of them by earlier runs)" if made.before else ""
        knobs = "".join(f" -D {shlex.quote(setting)}" for setting in args.defense_settings)
        attack = f"harness run --defense {args.defense}{knobs} --attack multi_release --epochs {epochs}"
        attack += f" --releases {total}" if total < epochs else ""
        data = f"--dataset {_quoted(args.dataset)}{f' --size {args.size}' if args.size else ''}"
        plugins = "".join(f" --registry {_quoted(file)}" for file in args.registry)
        log.warning(
            "%d releases of the same images%s can be linked; see what an attack finds: %s",
            *(total, earlier, f"{attack} {data}{plugins}"),
        )
    return 0


def _quoted(path: Path) -> str:
    """As a shell takes it."""
    return shlex.quote(one_line(str(path)))
