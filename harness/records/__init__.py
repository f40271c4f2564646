"""RunSpec, RunResult: one JSON file per finished piece of work, and beside it the per-image numbers."""

from harness.records.numbers import DamageError, FormatError
from harness.records.store import (
    ABANDONED_AFTER,
    FINISHED,
    FORMAT,
    KEY_LENGTH,
    Kind,
    Records,
    RunResult,
    RunSpec,
    Status,
    paths,
    read,
    read_all,
    read_one,
)

__all__ = [
    "ABANDONED_AFTER",
    "FINISHED",
    "FORMAT",
    "KEY_LENGTH",
    "DamageError",
    "FormatError",
    "Kind",
    "Records",
    "RunResult",
    "RunSpec",
    "Status",
    "paths",
    "read",
    "read_all",
    "read_one",
]
