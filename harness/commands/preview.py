"""`harness preview`: pictures of what each defense does, and of what an attack makes of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands.common import command, count, data_options, defense_settings, device_option, emit, registry_of
from harness.registry import parse_settings


def add(subparsers: Any) -> None:
    preview = command(subparsers, "preview", preview_sheet, "one PNG: images by defenses, with dSSIM and dHaar")
    preview.add_argument("--defense", default="all", help="a name, several with commas, or all (all)")
    defense_settings(preview)
    preview.add_argument("--attack", help="reconstructions under the releases, by one or several attacks with commas")
    preview.add_argument("--epochs", type=count, default=10, metavar="T", help="releases that such an attack has (10)")
    preview.add_argument("--images", type=count, default=6, metavar="N", help="rows (6)")
    preview.add_argument(
        "--out", type=Path, default=Path("preview.png"), metavar="FILE", help="the sheet (preview.png)"
    )
    device_option(preview)
    data_options(preview, limit=200)


def preview_sheet(given: argparse.Namespace) -> int:
    """Pictures of what each defense does, and of what an attack makes of it."""
    registry = registry_of(given)
    defenses = registry.choose("defenses", given.defense.split(","), parse_settings(given.defense_settings))
    attacks = registry.choose("attacks", given.attack.split(","), {}) if given.attack else []
    from harness.client.client import Client
    from harness.run.engine import RunOptions, load_splits
    from harness.system.device import choose_device, use_threads
    from harness.tools import preview

    preview.check(given.out, given.images, attacks)
    use_threads()
    order = RunOptions(dataset=given.dataset, size=given.size, limit=given.limit, public_share=given.public_share)
    splits = load_splits(order, registry)
    client = Client(splits, registry, choose_device(given.device), given.epochs, len(splits.private))
    rows = preview.draw(client, defenses, attacks, given.images, given.out)
    emit(given, {"file": str(given.out), "images": rows}, f"drew {given.out}")
    return 0
