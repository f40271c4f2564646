"""`harness obfuscate`: a client's folder, released."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import Any

from harness.commands.common import command, count, defense_settings, device_option, emit, registry_of
from harness.registry import bind, parse_settings


def add(subparsers: Any) -> None:
    obfuscate = command(subparsers, "obfuscate", obfuscate_folder, "a client's folder, released as PNG files")
    obfuscate.set_defaults(again="begins anew: nothing was released")
    obfuscate.add_argument("--defense", required=True, metavar="NAME")
    defense_settings(obfuscate)
    obfuscate.add_argument("--dataset", type=Path, required=True, metavar="FOLDER", help="<class>/*, all of it private")
    obfuscate.add_argument("--epochs", type=count, default=1, metavar="T", help="releases of every image (1)")
    obfuscate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="what may leave: empty or not there yet"
    )
    obfuscate.add_argument(
        "--secret", type=Path, required=True, metavar="FILE", help="what must not: an .npz, not in DIR"
    )
    obfuscate.add_argument("--size", type=int, metavar="PIXELS", help="shorter side, then a centre crop")
    device_option(obfuscate)
    obfuscate.add_argument(
        "--seed", type=int, help="for tests alone: the randomness of everybody who gives this number"
    )


def obfuscate_folder(given: argparse.Namespace) -> int:
    """A client's release, with randomness from the operating system unless a test asks for a seed."""
    registry = registry_of(given)
    defense = registry.get("defenses", given.defense).with_settings(parse_settings(given.defense_settings))
    bind(defense)
    if given.seed is not None:
        print(f"harness: --seed {given.seed} is for tests: whoever guesses it undoes the release", file=sys.stderr)
    from harness.publish.obfuscate import publish
    from harness.randomness import ROOT_BYTES, root_of
    from harness.system.device import choose_device
    from harness.system.progress import ProgressDisplay

    with ProgressDisplay() as watch:
        images = publish(
            defense,
            registry,
            given.dataset,
            given.out,
            given.secret,
            epochs=given.epochs,
            root=secrets.token_bytes(ROOT_BYTES) if given.seed is None else root_of(given.seed),
            size=given.size,
            device=choose_device(given.device),
            progress=watch.progress,
        )
    said = {"out": str(given.out), "secret": str(given.secret), "images": images, "epochs": given.epochs}
    emit(given, said, f"{given.out}: {images} images in {given.epochs} epochs\n{given.secret}: keep it to yourself")
    if given.epochs > 1:
        knobs = "".join(f" -D {setting}" for setting in given.defense_settings)
        judge = f"harness run --defense {given.defense}{knobs} --attack multi_release --epochs {given.epochs}"
        data = f"--dataset {given.dataset}{f' --size {given.size}' if given.size else ''}"
        plugins = "".join(f" --registry {file}" for file in given.registry)
        print(
            f"harness: {given.epochs} releases of the same images can be linked; see what is left: "
            f"{judge} {data}{plugins}",
            file=sys.stderr,
        )
    return 0
