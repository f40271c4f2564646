"""Download one archive into a folder; it gets its name once it is complete and its checksum is right.

The bytes received so far are in `NAME.part`, and the download continues from there: in the same call after a broken
connection, in a later one after Ctrl-C. `NAME.part.lock` makes a second process wait for the first.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlparse

from harness.data.http import Download, DownloadFailed, WebPageReceived, WriteFailed, version_file
from harness.errors import HarnessError
from harness.system.files import NO_LOCKS, lock_file
from harness.system.messages import log
from harness.system.offline import offline
from harness.system.private import private_folder, tighten
from harness.system.progress import ProgressReporter

KILO, MEGA = 1000, 1_000_000


@dataclass(frozen=True)
class Archive:
    """A published file.

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
    """The file name at the end of an address."""
    return unquote(Path(urlparse(url).path).name)


def fetch(archive: Archive, folder: Path, dataset: str) -> Path:
    """The path of the archive in `folder`, checked; downloaded first where it is missing.

    dataset  its name, for messages
    """
    final = folder / archive.name
    if final.is_file():
        if (digest := _digest(final, archive)) != archive.digest:
            raise HarnessError(
                f"{dataset}: {final} is not the archive that was published ({archive.algorithm} {digest}, "
                f"expected {archive.digest}); remove it and run again"
            )
        return final
    if offline():
        raise HarnessError(
            f"{dataset}: {archive.name} is not here and --offline downloads nothing; {_manual_fix(archive, final)}"
        )
    check_space(folder, bytes_missing(archive, folder), dataset)
    try:
        _fetch(archive, final, dataset)
    except WebPageReceived:
        raise HarnessError(
            f"{dataset}: {archive.host} sent a web page in place of {archive.name} "
            f"(a login, a notice, or it has moved); look with a browser, then {_manual_fix(archive, final)}"
        ) from None
    except DownloadFailed as reason:
        resume = "what has come is kept and the same command continues; or " if _length(_part(final)) else ""
        raise HarnessError(
            f"{dataset}: {archive.name} cannot be fetched from {archive.host} ({reason}); "
            f"{resume}{_manual_fix(archive, final)}"
        ) from reason
    except OSError as error:
        raise HarnessError(
            f"{dataset}: cannot write {folder}: {error.strerror or error}; "
            "free some space or set XDG_CACHE_HOME elsewhere"
        ) from error
    return final


def bytes_missing(archive: Archive, folder: Path) -> int:
    """Bytes still to be downloaded, 0 where the length is unknown."""
    final = folder / archive.name
    return 0 if final.is_file() else max(0, (archive.bytes or 0) - _length(_part(final)))


def check_space(folder: Path, needed: int, dataset: str) -> None:
    """Raise HarnessError where the disk has less than `needed` bytes free. `folder` need not exist yet."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise HarnessError(
            f"{dataset}: needs {needed / MEGA:,.1f} MB in {folder} and {free / MEGA:,.1f} MB are free; "
            "free some space or set XDG_CACHE_HOME elsewhere"
        )


def _fetch(archive: Archive, final: Path, dataset: str) -> None:
    private_folder(final.parent)
    part = _part(final)
    with _locked(part, dataset):
        if final.is_file():  # fetched by another process in the meantime
            return
        try:
            with part.open("a+b") as file:
                _receive(archive, final, file, dataset)
            part.replace(final)
            tighten(final.parent)
        finally:
            if not _length(part):
                part.unlink(missing_ok=True)
                version_file(part).unlink(missing_ok=True)


def _receive(archive: Archive, final: Path, file: IO[bytes], dataset: str) -> None:
    """Fill the part with the right bytes; when that fails, keep what can be continued."""
    part = _part(final)
    unit, symbol = (KILO, "kB") if (archive.bytes or MEGA) < 10 * MEGA else (MEGA, "MB")
    reporter = ProgressReporter(f"{dataset}: downloading {archive.name}, {symbol}")

    def report(done: int, total: int | None) -> None:
        reporter.update(-(-done // unit), None if total is None else -(-total // unit))

    def check_room(count: int) -> None:
        check_space(final.parent, count, dataset)

    download = Download(archive.url, archive.bytes, part, file, check_room, report)
    resumed = _length(part) > 0
    try:
        download.run()
        if resumed and _digest(part, archive) != archive.digest:  # perhaps the beginning is of another version
            download.restart()
            download.run()
    except WriteFailed as error:
        cause = error.__cause__
        assert isinstance(cause, OSError)
        if cause.errno == errno.ENOSPC:
            download.restart()
        raise cause from None
    if (digest := _digest(part, archive)) != archive.digest:
        download.restart()
        raise HarnessError(
            f"{dataset}: what came from {archive.host} is not {archive.name} ({archive.algorithm} {digest}, "
            f"expected {archive.digest}); nothing is kept; try again, or {_manual_fix(archive, final)}"
        )


@contextmanager
def _locked(part: Path, dataset: str) -> Iterator[None]:
    """One process at a time; on a file system without locks only the checksum protects."""

    def say_waiting() -> None:
        log.info("%s: another process is fetching it; waiting", dataset)

    with ExitStack() as stack:
        try:
            stack.enter_context(lock_file(part.with_name(f"{part.name}.lock"), say_waiting))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _manual_fix(archive: Archive, final: Path) -> str:
    """What the user can do instead."""
    return f"get {archive.name} from {archive.url} and put it into {final.parent}"


def _part(final: Path) -> Path:
    return final.with_name(f"{final.name}.part")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, archive: Archive) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, archive.algorithm).hexdigest()
