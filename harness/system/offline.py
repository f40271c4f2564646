"""Whether downloads are allowed: HARNESS_OFFLINE or --offline forbids them, in this process and in those it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

OFFLINE, DOWNLOAD = "HARNESS_OFFLINE", "HARNESS_DOWNLOAD"


_NO = ("", "0", "false", "no", "off")


def offline() -> bool:
    """Whether the user forbids downloads: HARNESS_OFFLINE is set, and not to 0, false, no or off."""
    return _is_yes(os.environ.get(OFFLINE))


def _is_yes(value: str | None) -> bool:
    return (value or "").strip().lower() not in _NO


@contextmanager
def forbid_downloads(wanted: bool) -> Iterator[None]:
    """Forbid downloads inside the block, also those of weights that HARNESS_DOWNLOAD allows; only if `wanted`.

    HARNESS_DOWNLOAD set to 0, false, no or off allows nothing either.
    """
    before = {name: os.environ.get(name) for name in (OFFLINE, DOWNLOAD)}
    if not _is_yes(os.environ.get(DOWNLOAD)):
        os.environ.pop(DOWNLOAD, None)
    if wanted:
        os.environ[OFFLINE] = "1"
        os.environ.pop(DOWNLOAD, None)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
