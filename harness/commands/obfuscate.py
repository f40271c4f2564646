"""`harness obfuscate`: release a client's folder."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import Any

from harness.commands.common import (
    add_command,
    add_defense_settings,
    add_device_option,
    positive_int,
    print_result,
    registry_from,
)
from harness.registry import bind, parse_settings


def add(subparsers: Any) -> None:
    obfuscate = add_command(subparsers, "obfuscate", obfuscate_folder, "a client's folder, released as PNG files")
    obfuscate.set_defaults(again="begins anew: nothing was released")
    obfuscate.add_argument("--defense", required=True, metavar="NAME")
    add_defense_settings(obfuscate)
    obfuscate.add_argument("--dataset", type=Path, required=True, metavar="FOLDER", help="<class>/*, all of it private")
    obfuscate.add_argument("--epochs", type=positive_int, default=1, metavar="T", help="releases of every image (1)")
    obfuscate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the release goes: empty or not there yet"
    )
    obfuscate.add_argument(
        "--secret", type=Path, required=True, metavar="FILE", help="where the secret goes: an .npz, not in DIR"
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
    from harness.system.device import choose_device
    from harness.system.progress import ProgressDisplay

    with ProgressDisplay() as watch:
        images = publish(
            defense,
            registry,
            args.dataset,
            args.out,
            args.secret,
            epochs=args.epochs,
            root=secrets.token_bytes(ROOT_BYTES) if args.seed is None else root_of(args.seed),
            size=args.size,
            device=choose_device(args.device),
            progress=watch.progress,
        )
    document = {"out": str(args.out), "secret": str(args.secret), "images": images, "epochs": args.epochs}
    print_result(
        args, document, f"{args.out}: {images} images in {args.epochs} epochs\n{args.secret}: keep it to yourself"
    )
    if args.epochs > 1:
        knobs = "".join(f" -D {setting}" for setting in args.defense_settings)
        attack = f"harness run --defense {args.defense}{knobs} --attack multi_release --epochs {args.epochs}"
        data = f"--dataset {args.dataset}{f' --size {args.size}' if args.size else ''}"
        plugins = "".join(f" --registry {file}" for file in args.registry)
        print(
            f"harness: {args.epochs} releases of the same images can be linked; see what an attack finds: "
            f"{attack} {data}{plugins}",
            file=sys.stderr,
        )
    return 0
