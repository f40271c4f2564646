"""Who does a piece of work, where several runs write into one records folder.

A run claims a piece before it does it, by a lock on a file beside the records, which ends with the process. Another run
does other pieces meanwhile and waits for this one at the end. Where files cannot be locked nothing is claimed, and both
runs do the piece, with the same record.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Self

import filelock

from harness.records import Records
from harness.system.files import lock_file

_MOST = 256
"""Claims held at a time, each an open file: a cluster is given thousands of pieces at once."""


@dataclass
class Claims:
    """The claims of this run, by the key of the piece."""

    _held: dict[str, contextlib.ExitStack] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._held):
            self.release(key)

    def take(self, key: str, records: Records) -> bool:
        """Claim a piece; False where another run has claimed it."""
        if key in self._held or type(records) is not Records or len(self._held) >= _MOST:
            return True
        claim = contextlib.ExitStack()
        try:
            records.folder.mkdir(parents=True, exist_ok=True)
            claim.enter_context(lock_file(records.folder / f".{key}.claim"))
        except filelock.Timeout:
            return False
        except OSError:  # no locks here; if nothing can be written, the record will say so
            return True
        self._held[key] = claim
        return True

    def release(self, key: str) -> None:
        """Give a claim back; nothing where it is not held."""
        claim = self._held.pop(key, None)
        if claim is not None:
            with contextlib.suppress(OSError):
                claim.close()
