"""SHA-256 digests of pretrained weights: a file is loaded only where it has the digest that is known or stated.

HARNESS_WEIGHTS_SHA256 states digests of files that the harness knows none of: `name=hex`, separated by commas.

    HARNESS_WEIGHTS_SHA256=first.safetensors=5d41...,second=9a0f...
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from harness.errors import HarnessError

VARIABLE = "HARNESS_WEIGHTS_SHA256"
_FULL = re.compile(r"[0-9a-f]{64}")


def stated_digests() -> dict[str, str]:
    """Name -> SHA-256 (64 lower-case hex digits) as HARNESS_WEIGHTS_SHA256 states them; empty where it is not set.

    Raises HarnessError for a part that is not `name=hex`, and for two digests of one name.
    """
    found: dict[str, str] = {}
    for part in os.environ.get(VARIABLE, "").split(","):
        if not part.strip():
            continue
        name, _, digest = (each.strip() for each in part.rpartition("="))
        digest = digest.lower()
        if not name or not _FULL.fullmatch(digest):
            raise HarnessError(
                f"{VARIABLE}: {part.strip()!r} is not name=hex with the 64 hex digits of a SHA-256; correct it"
            )
        if found.setdefault(name, digest) != digest:
            raise HarnessError(f"{VARIABLE}: {name!r} has two digests; leave one of them")
    return found


def expected_digest(name: str, known: str = "") -> str:
    """The SHA-256 that weights must have: the stated one, which must agree with the known one, else the known one.

    name   of the file or model, as in HARNESS_WEIGHTS_SHA256
    known  what the harness knows of it: 64 hex digits, or the first of them (of a name such as vgg16-397923af.pth)

    Raises HarnessError where there is neither, and where they differ.
    """
    stated = stated_digests().get(name, "")
    if stated and not stated.startswith(known):
        raise HarnessError(
            f"{VARIABLE}: {name!r} is stated as {stated[:16]}..., but it begins with {known[:16]}; remove it there"
        )
    if not (stated or known):
        raise HarnessError(
            f"{name}: no SHA-256 of these weights is known; state it as {VARIABLE}={name}=<64 hex digits>"
        )
    return stated or known


def check_weights(file: Path, expected: str, *, delete: bool = False) -> None:
    """HarnessError unless the file's SHA-256 begins with what is expected.

    expected  hex digits from `expected_digest`
    delete    remove a file that differs (one that was just downloaded); otherwise it stays where it is
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found.startswith(expected):
        return
    if delete:
        file.unlink(missing_ok=True)
    fix = "it was deleted; try again, or place the right file there" if delete else "replace the file, or delete it"
    shown = found[: min(len(expected), 16)]
    raise HarnessError(f"{file.name}: the file's SHA-256 begins with {shown}, expected {expected[:16]}; {fix}")
