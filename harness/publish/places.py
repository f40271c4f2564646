"""Where a release, its secret and the ledger go: checked before the work, and the secret's place claimed for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from harness.errors import HarnessError
from harness.system.files import NO_LOCKS, lock_file
from harness.system.new_folder import remove_abandoned, remove_leftovers

LEDGER = "obfuscation-ledger.json"
"""The ledger's name, in the folder of the secret."""


@dataclass(frozen=True)
class Places:
    """Real paths, but for the last name of `secret`, which may not be a link.

    folder  of the originals; None: they are in none
    ledger  None: nothing is counted
    """

    out: Path
    secret: Path
    folder: Path | None = None
    ledger: Path | None = None

    @classmethod
    def of(cls, out: Path, secret: Path, folder: Path | None = None, ledger: Path | None = None) -> Places:
        """Raises HarnessError as `check`."""
        parent = Path(os.path.realpath(secret.parent))
        places = cls(
            Path(os.path.realpath(out)),
            parent / secret.name,
            None if folder is None else Path(os.path.realpath(folder)),
            None if ledger is None else Path(os.path.realpath(ledger)),
        )
        places.check()
        return places

    def check(self) -> None:
        """Refuse places that would overwrite something, mix two runs, or publish the secret or the ledger."""
        out, secret = self.out, self.secret
        private = {"secret": secret} | ({"ledger": self.ledger} if self.ledger else {})
        for what, place in {"output folder": out, **private}.items():
            if not place.parent.is_dir():
                raise HarnessError(f"{what} {place}: there is no folder {place.parent}; make it first")
        if out.exists() and not out.is_dir():
            raise HarnessError(f"output folder {out} is a file; name a folder that is empty or not there")
        if out.is_dir() and any(out.iterdir()):
            raise HarnessError(
                f"output folder {out} is not empty; name one that is empty or not there (two runs never mix)"
            )
        for what, place in private.items():
            if out in (place, *place.parents):
                raise HarnessError(
                    f"{what} {place} lies inside the release {out}; keep it outside, it undoes the release"
                )
        if self.folder and self.folder in (out, *out.parents):
            raise HarnessError(
                f"output folder {out} lies inside the originals {self.folder}, where the next run would read it; name "
                "one outside"
            )
        for what, place in private.items():
            if self.folder and self.folder in place.parents:
                raise HarnessError(
                    f"{what} {place} lies inside the originals {self.folder}, where the next run would read it; name "
                    "a file outside"
                )
        if self.ledger is not None and self.ledger.is_dir():
            raise HarnessError(f"ledger {self.ledger} is a folder; name a file")
        if secret == self.ledger:
            raise HarnessError(f"secret {secret} is the ledger; name another file")
        if os.path.lexists(secret):
            raise HarnessError(f"secret {secret} is there already and may belong to a release; name another file")


@contextmanager
def claimed(places: Places) -> Iterator[None]:
    """Hold the secret's place, so that a second run with it is refused at once. Raises HarnessError."""
    secret = places.secret
    remove_abandoned(secret.parent)
    with ExitStack() as held:
        try:
            lock = held.enter_context(lock_file(secret.with_name(f".{secret.name}.lock"), private=True))
            remove_leftovers(secret, lock)
        except filelock.Timeout:
            raise HarnessError(
                f"another run is writing the secret {secret}; wait for it, or name another --secret"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise HarnessError(
                    f"cannot write the secret {secret}: {error.strerror}; nothing was released, name another --secret"
                ) from None
        places.check()  # what another run wrote since
        yield
