"""Whether downloads are allowed: HARNESS_OFFLINE or --offline forbids them, in this process and in those it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

OFFLINE, DOWNLOAD = "HARNESS_OFFLINE", "HARNESS_DOWNLOAD"


def offline() -> bool:
    """Whether the user forbids downloads."""
    return bool(os.environ.get(OFFLINE))


@contextmanager
def forbid_downloads(wanted: bool) -> Iterator[None]:
    """Forbid downloads inside the block, also those of weights that HARNESS_DOWNLOAD allows; only if `wanted`."""
    before = {name: os.environ.get(name) for name in (OFFLINE, DOWNLOAD)}
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
