"""Give records a digest that were written before records had one.

    python -m harness.records.add_digests FOLDER...

Every record in these folders and below gets the digest of the figures and numbers that it holds now; nothing else in
it changes, and one that has a digest already is left as it is, whether it matches or not. A damaged record is named
and left as it is; the exit code is then 1. That the numbers are the right ones must be known from elsewhere, such as
the version control that the folder is under.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.records.numbers import DamageError, digest
from harness.records.record_files import replacing, write_document
from harness.records.store import load, parse, paths


def add_digest(path: Path) -> bool:
    """Whether the record in a JSON file had none and has one now. Raises DamageError and OSError."""
    if "digest" in load(path):
        return False
    with replacing(path):
        document = load(path)  # nobody replaces it from here on
        if "digest" in document:
            return False
        arrays = parse(document, path)
        write_document(path, {**document, "digest": digest(document, arrays)})
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Add digests to the records of folders; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    added = there = 0
    damaged = []
    for top in given.folder:
        if not top.is_dir():
            parser.error(f"{top} is no folder")
        for folder in sorted({top, *(path for path in top.rglob("*") if path.is_dir())}):
            for path in paths(folder):
                try:
                    changed = add_digest(path)
                except (DamageError, OSError) as fault:
                    damaged.append(f"{path}: {fault}")
                    continue
                added, there = added + changed, there + (not changed)
    print(f"{added} records got a digest, {there} had one")
    for line in damaged:
        print(f"left as it is: {line}", file=sys.stderr)
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main())
