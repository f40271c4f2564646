"""Writes the site: a folder that appears whole, or that replaces a site of this program which nobody has changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from harness.errors import HarnessError
from harness.system.documents import read_bytes, read_json
from harness.system.new_folder import new_folder

LISTING = "site.json"
"""What was written, with digests: a folder in which this file names every other is a site, and may be replaced."""
MADE_BY = "harness site"
_LARGEST = 2**28


def check(out: Path) -> bool:
    """Whether a site is there, which may be replaced; HarnessError where something else is."""
    if not out.parent.is_dir():
        raise HarnessError(f"site {out}: there is no folder {out.parent}; make it, or name another with --out")
    if not os.path.lexists(out):
        return False
    if not out.is_dir():
        raise HarnessError(f"site {out}: is a file; name a folder with --out")
    if not any(out.iterdir()):
        return False
    listed = _listed(out)
    for file in _files(out):
        name = file.relative_to(out).as_posix()
        if name != LISTING and (name not in listed or listed[name] != _digest_of(file)):
            state = "was changed since" if name in listed else "was not written by"
            raise HarnessError(f"site {out}: {name} {state} `{MADE_BY}`; move it, or name another folder with --out")
    return True


def write(out: Path, files: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
    """Write every file, its path relative to the folder, and a listing of them; how many, and their bytes in all."""
    out = Path(os.path.realpath(out))
    replaces = check(out)
    to = out.with_name(f".{out.name}.new") if replaces else out
    if replaces and check(to):  # complete, and not yet in its place when the run was killed
        _remove(to)
    written: dict[str, str] = {}
    size = 0
    with new_folder(to, "no page was written") as folder:
        for name, content in files:
            place = folder / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
            written[name] = hashlib.sha256(content).hexdigest()
            size += len(content)
        (folder / LISTING).write_text(json.dumps({"made_by": MADE_BY, "files": written}, indent=0), encoding="utf-8")
    if replaces:
        check(out)
        _remove(out)
        to.rename(out)
    return len(written), size


def _listed(out: Path) -> dict[str, str]:
    try:
        listing = read_json(out / LISTING, "listing")
    except HarnessError:
        listing = None
    files = listing.get("files") if isinstance(listing, dict) and listing.get("made_by") == MADE_BY else None
    if not isinstance(files, dict):
        raise HarnessError(f"site {out}: is not empty and no site of `{MADE_BY}`; name another folder with --out")
    return files


def _files(out: Path) -> list[Path]:
    """Everything in the folder that is no folder; a link to one is no folder, and is not followed."""
    found = [Path(folder) / name for folder, folders, names in os.walk(out) for name in (*folders, *names)]
    return [path for path in found if path.is_symlink() or not path.is_dir()]


def _digest_of(file: Path) -> str | None:
    if file.is_symlink():
        return None
    return hashlib.sha256(read_bytes(file, _LARGEST)).hexdigest()


def _remove(out: Path) -> None:
    """Remove the files of a site that was checked, and the folders that are empty then."""
    for file in _files(out):
        file.unlink()
    for folder, _, _ in os.walk(out, topdown=False):
        os.rmdir(folder)
