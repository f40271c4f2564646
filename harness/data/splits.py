"""Split a data set into private, public and test images by class and content, never by file name or seed.

Within a class, images are taken in the order of sha256(tag + content hash), so a larger limit or public share only
adds images to those of a smaller one. A limit never cuts the test images: they are cheap to classify, and fewer of them
only widen the interval of utility.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from harness.errors import HarnessError

PRIVATE, PUBLIC, TEST, TRAIN = "private", "public", "test", "train"
ROLES = (PRIVATE, PUBLIC, TEST)
RULE = 2  # of the roles: data that were cut by another rule are not read from the cache
TEST_SHARE = 1 / 5  # of a class in a folder without train/ and test/
PUBLIC_SHARE = {TRAIN: 1 / 3, None: 1 / 4}  # of what is not test
KEEP_FIRST = (TEST, PRIVATE, PUBLIC, TRAIN, None)  # of two equal images, the one whose role comes first is kept


def role_of_file(name: str) -> str | None:
    """train or test where a file's name begins so (train-00000.parquet, test_3.tar), else None."""
    found = re.match(r"(train|test)(?![a-z])", name.lower())
    return found[1] if found else None


def drop_duplicates(hashes: Sequence[str], declared: Sequence[str | None]) -> list[int]:
    """The rows to keep, one per content: an image in both test and train stays in test."""
    ranked = sorted(range(len(hashes)), key=lambda row: (KEEP_FIRST.index(declared[row]), row))
    first: dict[str, int] = {}
    for row in ranked:
        first.setdefault(hashes[row], row)
    return sorted(first.values())


def assign(
    labels: Sequence[str], declared: Sequence[str | None], hashes: Sequence[str], public_share: float | None
) -> list[str]:
    """The final role of every image: private, public or test.

    public_share  share of private and public together that becomes public;
                  None: a third of `train`, a quarter of a folder's images that are not test, or as declared
    """
    final = list(declared)
    for rows in _by_class(labels, hashes).values():
        flat = [row for row in rows if declared[row] is None]
        held_out = flat[: _count(len(flat), TEST_SHARE)]
        for row in held_out:
            final[row] = TEST
        undecided = (None, TRAIN) if public_share is None else (None, TRAIN, PRIVATE, PUBLIC)
        rest = [row for row in rows if final[row] in undecided]
        share = PUBLIC_SHARE[None if flat else TRAIN] if public_share is None else public_share
        public = _count(len(rest), share)
        for position, row in enumerate(rest):
            final[row] = PUBLIC if position < public else PRIVATE
    decided = [role or PRIVATE for role in final]
    _check_filled(labels, decided)
    return decided


def cut(labels: Sequence[str], roles: Sequence[str], hashes: Sequence[str], limit: int | None) -> dict[str, list[int]]:
    """The rows of each role: `limit` private ones at most, the public ones in the same proportion, every test one."""
    held = {role: [row for row, assigned in enumerate(roles) if assigned == role] for role in ROLES}
    classes = len(set(labels))
    if limit is None or limit >= len(held[PRIVATE]):
        return held
    if limit < classes:
        raise HarnessError(f"limit {limit} is less than one image for each of {classes} classes; use {classes} or more")
    scale = limit / len(held[PRIVATE])
    for role in (PRIVATE, PUBLIC):
        held[role] = _proportional(held[role], labels, hashes, max(classes, round(len(held[role]) * scale)))
    return held


def _proportional(rows: list[int], labels: Sequence[str], hashes: Sequence[str], count: int) -> list[int]:
    """`count` of the rows, the classes in proportion and each at least once (Webster's apportionment method)."""
    seats = []
    for label, members in _by_class([labels[row] for row in rows], [hashes[row] for row in rows]).items():
        for rank, member in enumerate(members):
            seats.append(((rank + 0.5) / len(members) if rank else 0.0, label, rows[member]))
    return [row for _, _, row in sorted(seats)[:count]]


def _by_class(labels: Sequence[str], hashes: Sequence[str]) -> dict[str, list[int]]:
    """The rows of every class in the order in which they are taken."""
    order = [hashlib.sha256(f"roles-1 {content}".encode()).digest() for content in hashes]
    groups: dict[str, list[int]] = {label: [] for label in sorted(set(labels))}
    for row in sorted(range(len(labels)), key=order.__getitem__):
        groups[labels[row]].append(row)
    return groups


def _count(total: int, share: float) -> int:
    """A share of `total`, rounded half up and at least 1, or 0 where either is 0."""
    return max(1, int(np.floor(total * share + 0.5))) if total and share else 0


def _check_filled(labels: Sequence[str], roles: Sequence[str]) -> None:
    needed = [role for role in ROLES if role != PUBLIC or PUBLIC in roles]
    present = set(zip(labels, roles, strict=True))
    for label in sorted(set(labels)):
        for role in needed:
            if (label, role) not in present:
                raise HarnessError(
                    f"class {label!r} has no image left for {role} ({list(labels).count(label)} different images "
                    "in all); add images, change --public-share or remove the class"
                )
