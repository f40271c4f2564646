"""`harness preview`: images of what each defense does, and of what attacks reconstruct."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands.common import (
    add_command,
    add_data_options,
    add_defense_settings,
    add_device_option,
    add_epochs_options,
    path_type,
    print_result,
    registry_from,
)
from harness.registry import parse_settings
from harness.system.numbers import count


def add(subparsers: Any) -> None:
    preview = add_command(subparsers, "preview", preview_sheet, "one PNG: images by defenses, with dSSIM and dHaar")
    preview.add_argument("--defense", default="all", help="a name, several with commas, or all (all)")
    add_defense_settings(preview)
    preview.add_argument("--attack", help="reconstructions under the releases, by one or several attacks with commas")
    add_epochs_options(preview)
    preview.add_argument("--images", type=count("images"), default=6, metavar="N", help="rows (6)")
    preview.add_argument(
        "--out", type=path_type, default=Path("preview.png"), metavar="FILE", help="the sheet (preview.png)"
    )
    add_device_option(preview)
    add_data_options(preview, limit=200)


def preview_sheet(args: argparse.Namespace) -> int:
    """Draw the contact sheet."""
    registry = registry_from(args)
    defenses = registry.choose("defenses", args.defense.split(","), parse_settings(args.defense_settings))
    attacks = registry.choose("attacks", args.attack.split(","), {}) if args.attack else []
    from harness.client.client import Client
    from harness.run.engine import RunOptions, load_splits
    from harness.system.device import choose_device, use_threads
    from harness.tools import preview

    preview.check(args.out, args.images, attacks)
    use_threads()
    names = ("dataset", "size", "limit", "public_share", "epochs", "releases")
    options = RunOptions(**{name: getattr(args, name) for name in names})
    options.check()
    splits = load_splits(options, registry)
    client = Client(splits, registry, choose_device(args.device), options.release_count, len(splits.private))
    rows = preview.draw(client, defenses, attacks, args.images, args.out)
    print_result(args, {"file": str(args.out), "images": rows}, f"drew {args.out}")
    return 0
