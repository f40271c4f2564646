"""`harness cache`: what is kept in the user's cache folder, and its removal."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from harness.commands.common import add_command, print_result
from harness.errors import HarnessError
from harness.system.text import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.data.cache_entries import CacheEntry

KINDS = ("images", "downloads", "answers")


def add(subparsers: Any) -> None:
    cache = add_command(
        subparsers,
        "cache",
        show_cache,
        "list what is kept in the user's cache folder, or remove it",
        needs_scratch=False,
    )
    cache.set_defaults(again="removes the rest")
    cache.add_argument(
        "--clear",
        nargs="*",
        choices=KINDS,
        metavar="KIND",
        help="remove all of it, or only images (decoded), downloads, or answers (of a paid service); what a running "
        "command uses stays",
    )


def show_cache(args: argparse.Namespace) -> int:
    from harness.data.cache_entries import clear, entries
    from harness.system.files import user_cache_folder
    from harness.system.private import private_folder

    folder = user_cache_folder()
    try:
        if folder.is_dir():
            private_folder(folder)
        found = entries(folder)
        if args.clear is None:
            print_result(args, _document(str(folder), entries=found), "\n".join(_listed(str(folder), found)))
            return 0
        gone, kept = clear([entry for entry in found if not args.clear or entry.kind in args.clear])
    except OSError as error:
        raise HarnessError(
            f"cache folder {error.filename or folder}: {error.strerror or error}; check its permissions"
        ) from None
    text = f"removed {len(gone)} of {len(gone) + len(kept)}, {_megabytes(gone)}, from {folder}"
    lines = [text, *(f"in use, not removed: {_line(entry)}" for entry in kept)]
    print_result(args, _document(str(folder), removed=gone, in_use=kept), "\n".join(map(one_line, lines)))
    return 0


def _listed(folder: str, found: Sequence[CacheEntry]) -> list[str]:
    if not found:
        return [f"{one_line(folder)}: nothing is kept"]
    lines = [f"{one_line(folder)}: {_megabytes(found)}", *(f"  {one_line(_line(entry))}" for entry in found)]
    return [*lines, "only you can read it; remove it with: harness cache --clear"]


def _line(entry: CacheEntry) -> str:
    said = [entry.what, *([f"of {entry.source}"] if entry.source else []), _megabytes([entry])]
    said.append(f"used {_ago(time.time() - entry.used)}")
    return ", ".join([*said, "in use now"] if entry.in_use else said)


def _megabytes(some: Sequence[CacheEntry]) -> str:
    return f"{sum(entry.bytes for entry in some) / 1e6:,.1f} MB"


def _ago(seconds: float) -> str:
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{counted(int(seconds // length), name)} ago"
    return "just now"


def _document(folder: str, **lists: Sequence[CacheEntry]) -> dict[str, Any]:
    return {
        "folder": one_line(folder),
        **{
            name: [
                {
                    "kind": entry.kind,
                    "what": one_line(entry.what),
                    "source": one_line(entry.source) if entry.source else None,
                    "place": one_line(str(entry.place)),
                    "bytes": entry.bytes,
                    "age": round(max(0.0, time.time() - entry.used)),
                    "in_use": entry.in_use,
                }
                for entry in some
            ]
            for name, some in lists.items()
        },
    }
