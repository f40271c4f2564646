"""`harness obfuscate`: release a client's folder."""

from __future__ import annotations

import argparse
import secrets
import sys
from typing import Any

from harness.commands.common import (
    add_command,
    add_defense_settings,
    add_device_option,
    add_epochs_options,
    path_type,
    print_result,
    registry_from,
)
from harness.registry import bind, parse_settings


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
    obfuscate.add_argument("--size", type=int, metavar="PIXELS", help="shorter side, then a centre crop")
    add_device_option(obfuscate)
    obfuscate.add_argument(
        "--seed", type=int, help="for tests alone: the same randomness for everyone who gives this number"
    )


def obfuscate_folder(args: argparse.Namespace) -> int:
    """A client's release, with randomness from the operating system unless a test asks for a seed."""
    registry = registry_from(args)
    defense = registry.get("defenses", args.defense).with_settings(parse_settings(args.defense_settings))
    bind(defense)
    if args.seed is not None:
        print(f"harness: --seed {args.seed} is for tests: anyone who guesses it can undo the release", file=sys.stderr)
    from harness.publish.obfuscate import publish
    from harness.randomness import ROOT_BYTES, root_of
    from harness.run.options import check_releases
    from harness.system.device import choose_device
    from harness.system.progress import ProgressDisplay

    check_releases(args.epochs, args.releases)
    releases = args.releases or args.epochs
    with ProgressDisplay() as watch:
        images = publish(
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
        )
    counts = {"images": images, "epochs": args.epochs, "releases": releases}
    document = {"out": str(args.out), "secret": str(args.secret), **counts}
    print_result(
        args, document, f"{args.out}: {images} images in {releases} releases\n{args.secret}: keep it to yourself"
    )
    if releases > 1:
        knobs = "".join(f" -D {setting}" for setting in args.defense_settings)
        attack = f"harness run --defense {args.defense}{knobs} --attack multi_release --epochs {args.epochs}"
        attack += f" --releases {releases}" if releases < args.epochs else ""
        data = f"--dataset {args.dataset}{f' --size {args.size}' if args.size else ''}"
        plugins = "".join(f" --registry {file}" for file in args.registry)
        print(
            f"harness: {releases} releases of the same images can be linked; see what an attack finds: "
            f"{attack} {data}{plugins}",
            file=sys.stderr,
        )
    return 0
