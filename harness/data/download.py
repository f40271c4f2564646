"""One archive from the web into a folder: whole and checked, or not there under its name.

What has come so far lies in `NAME.part` and is continued, by this call after a broken connection or by a later one
after Ctrl-C. The part is also the lock: of two processes one fetches and the other waits. The checksum decides.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlparse

from harness.data.http import Download, DownloadFailed, WebPageReceived, WriteFailed, origin
from harness.errors import HarnessError
from harness.system.offline import offline
from harness.system.progress import ProgressReporter

KILO, MEGA = 1000, 1_000_000


@dataclass(frozen=True)
class Archive:
    """A file that is published under an address.

    name    what it is called in the cache
    url     http or https
    digest  sha256 in hex, or md5 (32 digits) where its publisher gives no other
    bytes   its length; None: not known beforehand
    """

    name: str
    url: str
    digest: str
    bytes: int | None = None

    @property
    def host(self) -> str:
        return urlparse(self.url).netloc

    @property
    def algorithm(self) -> str:
        return "md5" if len(self.digest) == 32 else "sha256"


def file_name(url: str) -> str:
    """The file that an address names."""
    return unquote(Path(urlparse(url).path).name)


def fetch(archive: Archive, folder: Path, who: str) -> Path:
    """The archive in `folder`, checked; fetched where it is not there yet.

    who  the data set, as messages call it
    """
    final = folder / archive.name
    if final.is_file():
        if (found := _digest(final, archive)) != archive.digest:
            raise HarnessError(
                f"{who}: {final} is not the archive that was published ({archive.algorithm} {found}, "
                f"expected {archive.digest}); remove it and run again"
            )
        return final
    if offline():
        raise HarnessError(
            f"{who}: {archive.name} is not here and --offline downloads nothing; {_mend(archive, final)}"
        )
    check_space(folder, bytes_missing(archive, folder), who)
    try:
        _fetch(archive, final, who)
    except WebPageReceived:
        raise HarnessError(
            f"{who}: {archive.host} sent a web page in place of {archive.name} (a login, a notice, or it has moved); "
            f"look with a browser, then {_mend(archive, final)}"
        ) from None
    except DownloadFailed as reason:
        kept = "what has come is kept and the same command continues; or " if _length(_part(final)) else ""
        raise HarnessError(
            f"{who}: {archive.name} cannot be fetched from {archive.host} ({reason}); {kept}{_mend(archive, final)}"
        ) from reason
    except OSError as error:
        raise HarnessError(
            f"{who}: cannot write {folder}: {error.strerror or error}; free some space or set XDG_CACHE_HOME elsewhere"
        ) from error
    return final


def bytes_missing(archive: Archive, folder: Path) -> int:
    """Bytes that are not in the folder yet, as far as the length is known."""
    final = folder / archive.name
    return 0 if final.is_file() else max(0, (archive.bytes or 0) - _length(_part(final)))


def check_space(folder: Path, needed: int, who: str) -> None:
    """Refuse to begin what the disk cannot hold. `folder` need not be there yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise HarnessError(
            f"{who}: needs {needed / MEGA:,.1f} MB in {folder} and {free / MEGA:,.1f} MB are free; "
            "free some space or set XDG_CACHE_HOME elsewhere"
        )


def _fetch(archive: Archive, final: Path, who: str) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    part = _part(final)
    with _held(part, who) as file:
        missing = not final.is_file()  # else another process was faster
        try:
            if missing:
                _receive(archive, final, file, who)
        finally:
            if not _length(part):
                part.unlink(missing_ok=True)
                origin(part).unlink(missing_ok=True)
        if missing:
            part.replace(final)
            origin(part).unlink(missing_ok=True)


def _receive(archive: Archive, final: Path, file: IO[bytes], who: str) -> None:
    """Fill the part with the right bytes, or leave what may be continued, or nothing."""
    part = _part(final)
    unit, word = (KILO, "kB") if (archive.bytes or MEGA) < 10 * MEGA else (MEGA, "MB")
    teller = ProgressReporter(f"{who}: downloading {archive.name}, {word}")

    def tell(done: int, total: int | None) -> None:
        teller.update(-(-done // unit), None if total is None else -(-total // unit))

    def expect(count: int) -> None:
        check_space(final.parent, count, who)

    transfer = Download(archive.url, archive.bytes, part, file, expect, tell)
    begun = _length(part)
    try:
        transfer.run()
        if begun and _digest(part, archive) != archive.digest:  # its beginning, of another day, may be to blame
            transfer.empty()
            transfer.run()
    except WriteFailed as error:
        cause = error.__cause__
        assert isinstance(cause, OSError)
        if cause.errno == errno.ENOSPC:
            transfer.empty()
        raise cause from None
    if (found := _digest(part, archive)) != archive.digest:
        transfer.empty()
        raise HarnessError(
            f"{who}: what came from {archive.host} is not {archive.name} ({archive.algorithm} {found}, "
            f"expected {archive.digest}); nothing is kept; try again, or {_mend(archive, final)}"
        )


@contextmanager
def _held(part: Path, who: str) -> Iterator[IO[bytes]]:
    """The part, open for appending and this process's alone."""
    while True:
        with part.open("a+b") as file:
            _lock(file, who)
            try:
                ours = os.path.samestat(part.stat(), os.fstat(file.fileno()))
            except FileNotFoundError:  # whoever had it before has finished, or removed it
                ours = False
            if ours:
                yield file
                return


def _lock(file: IO[bytes], who: str) -> None:
    """Released when the file is closed or the process dies. Where there are no locks, the checksum has to do."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{who}: another process is fetching it; waiting", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        return


def _mend(archive: Archive, final: Path) -> str:
    """What a user can do by hand."""
    return f"get {archive.name} from {archive.url} and put it into {final.parent}"


def _part(final: Path) -> Path:
    return final.with_name(f"{final.name}.part")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, archive: Archive) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, archive.algorithm).hexdigest()
