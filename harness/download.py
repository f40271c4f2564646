"""One archive from the web into a folder: whole and checked, or not there under its name.

What has come so far lies in `NAME.part` and is continued, by this call after a broken connection or by a later one
after Ctrl-C. `NAME.part.from` keeps the server's name for that version, so that two versions are never joined. The
part is also the lock: of two processes one fetches and the other waits. The checksum decides in the end.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from harness.errors import HarnessError
from harness.offline import offline

if TYPE_CHECKING:
    from harness.types import Progress

TIMEOUT = 30.0  # seconds without a byte
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
PATIENCE, PATIENCE_WITH_NOBODY = 5, 2  # attempts in a row that bring nothing new; where not one byte ever came
CHUNK, HEAD = 1 << 20, 512  # bytes
MEGA = 1_000_000
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another in a moment
PAGES = {"text/html", "application/xhtml+xml"}


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


_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Downloads made inside tell `progress` how far they are."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


class Teller:
    """Tells how far a piece of work is: to the bar where there is one, in plain lines where there is no terminal."""

    def __init__(self, what: str) -> None:
        self.what, self._bar, self._said = what, _progress.get(), -1

    def tell(self, done: int, total: int | None) -> None:
        if self._bar:
            self._bar(self.what, done, total or 0)
        tenth = done * 10 // total if total else done // 100
        if tenth > self._said and not sys.stderr.isatty():
            print(f"{self.what}: {done:,}{f' of {total:,}' if total else ''}", file=sys.stderr)
            self._said = tenth


def name_of(url: str) -> str:
    """The file that an address names."""
    return unquote(Path(urlparse(url).path).name)


def fetch(archive: Archive, folder: Path, who: str) -> Path:
    """The archive in `folder`, checked; fetched where it is not there yet.

    who  the data set, as messages call it
    """
    final = folder / archive.name
    if not final.is_file():
        if offline():
            raise HarnessError(
                f"{who}: {archive.name} is not here and --offline downloads nothing; {mend(archive, final)}"
            )
        check_space(folder, to_come(archive, folder), who)
        try:
            _fetch(archive, final, who)
        except OSError as error:
            raise _unwritable(who, folder, error) from error
    elif (found := _digest(final, archive)) != archive.digest:
        raise HarnessError(
            f"{who}: {final} is not the archive that was published ({archive.algorithm} {found}, "
            f"expected {archive.digest}); remove it and run again"
        )
    return final


def to_come(archive: Archive, folder: Path) -> int:
    """Bytes that are not in the folder yet, as far as the length is known."""
    final = folder / archive.name
    return 0 if final.is_file() else max(0, (archive.bytes or 0) - _length(_part(final)))


def mend(archive: Archive, final: Path) -> str:
    """What a user can do by hand."""
    return f"get {archive.name} from {archive.url} and put it into {final.parent}"


def check_space(folder: Path, needed: int, who: str) -> None:
    """Refuse to begin what the disk cannot hold. `folder` need not be there yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise HarnessError(
            f"{who}: needs {_megabytes(needed)} in {folder} and {_megabytes(free)} are free; "
            "free some space or set XDG_CACHE_HOME elsewhere"
        )


def _fetch(archive: Archive, final: Path, who: str) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    part = _part(final)
    with _held(part, who) as file:
        there = False
        try:
            if not final.is_file():  # else another process was faster
                begun = file.seek(0, os.SEEK_END)
                _receive(archive, file, final, who)
                if begun and _digest(part, archive) != archive.digest:  # its beginning, of another day, may be to blame
                    _empty(file, part)
                    _receive(archive, file, final, who)
                if (found := _digest(part, archive)) != archive.digest:
                    _empty(file, part)
                    raise HarnessError(
                        f"{who}: what came from {archive.host} is not {archive.name} ({archive.algorithm} {found}, "
                        f"expected {archive.digest}); nothing is kept; try again, or {mend(archive, final)}"
                    )
                part.replace(final)
                there = True
                _origin(part).unlink(missing_ok=True)
        finally:
            if not there and not _length(part):  # still this process's own: the lock is held
                part.unlink(missing_ok=True)
                _origin(part).unlink(missing_ok=True)


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


def _receive(archive: Archive, file: IO[bytes], final: Path, who: str) -> None:
    """Append what is missing, in as many attempts as bring something new."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError

    failures, best = 0, 0
    while True:
        have = file.seek(0, os.SEEK_END)
        if archive.bytes is not None and have > archive.bytes:
            _empty(file, _part(final))
        elif have and have == archive.bytes:
            return
        try:
            if _attempt(archive, file, final, who):
                return
            reason = f"the connection ended after {file.seek(0, os.SEEK_END):,} bytes"
        except HTTPError as error:
            reason = f"it answered {error.code} {error.reason}"
            error.close()
            if error.code not in PASSING:
                raise _unreachable(archive, final, who, reason) from None
        except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
            reason = " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
        have = file.seek(0, os.SEEK_END)
        failures, best = (1, have) if have > best else (failures + 1, best)
        if failures >= (PATIENCE if best else PATIENCE_WITH_NOBODY):
            raise _unreachable(archive, final, who, reason)
        time.sleep(PAUSE * 2 ** (failures - 1))


def _attempt(archive: Archive, file: IO[bytes], final: Path, who: str) -> bool:
    """One request; whether the archive is whole now."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    part = _part(final)
    have = file.seek(0, os.SEEK_END)
    try:
        answer = urlopen(Request(archive.url, headers=_headers(part, have)), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416 or not have:  # 416: there is nothing from here on
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        _empty(file, part)
        return False
    with answer:
        if answer.headers.get_content_type() in PAGES:
            raise _page(archive, final, who)
        if answer.status == 206:
            start, total = _span(answer.headers.get("Content-Range"))
            if start != have:
                _empty(file, part)
                return False
        else:  # all of it: the server knows no ranges, or has another version
            _empty(file, part)
            have, total = 0, _number(answer.headers.get("Content-Length"))
        if archive.bytes is not None and total not in (None, archive.bytes):
            raise _unreachable(
                archive,
                final,
                who,
                f"it offers {total:,} bytes and the archive has {archive.bytes:,}: moved or replaced",
            )
        check_space(final.parent, (total or have) - have, who)
        return _append(archive, file, final, who, answer, have, archive.bytes if total is None else total)


def _append(
    archive: Archive, file: IO[bytes], final: Path, who: str, answer: Any, have: int, total: int | None
) -> bool:
    """Write the body as it comes; whether that is all."""
    unit, word = (1000, "kB") if (total or MEGA) < 10 * MEGA else (MEGA, "MB")
    teller = Teller(f"{who}: downloading {archive.name}, {word}")
    piece = answer.read(HEAD if total is None else min(HEAD, total - have))
    if not have:
        if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml[^>]*>\s*<!doctype)", piece, re.IGNORECASE):
            raise _page(archive, final, who)
        _remember(_part(final), answer.headers)
    while piece:
        try:
            file.write(piece)
            file.flush()  # what has come stays, whatever ends this process
        except OSError as error:
            if error.errno == errno.ENOSPC:
                _empty(file, _part(final))
            raise _unwritable(who, final.parent, error) from error
        have += len(piece)
        teller.tell(-(-have // unit), None if total is None else -(-total // unit))
        if have == total:
            return True
        piece = answer.read1(CHUNK if total is None else min(CHUNK, total - have))
    return total is None


def _headers(part: Path, have: int) -> dict[str, str]:
    headers = {"User-Agent": "obfuscation-harness", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if _length(_origin(part)):
            headers["If-Range"] = _origin(part).read_text()
    return headers


def _remember(part: Path, headers: Any) -> None:
    """The version that this is the beginning of: a strong ETag, else the date."""
    tag = headers.get("ETag") or "W/"
    version = headers.get("Last-Modified") if tag.startswith("W/") else tag
    if version:
        _origin(part).write_text(version)
    else:
        _origin(part).unlink(missing_ok=True)


def _empty(file: IO[bytes], part: Path) -> None:
    file.truncate(0)
    _origin(part).unlink(missing_ok=True)


def _part(final: Path) -> Path:
    return final.with_name(f"{final.name}.part")


def _origin(part: Path) -> Path:
    return part.with_name(f"{part.name}.from")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, archive: Archive) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, archive.algorithm).hexdigest()


def _span(content_range: str | None) -> tuple[int | None, int | None]:
    """Where a partial answer begins, and how long the whole is."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range or "")
    return (int(found[1]), _number(found[2])) if found else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _megabytes(count: int) -> str:
    return f"{max(0, count) / MEGA:,.1f} MB"


def _page(archive: Archive, final: Path, who: str) -> HarnessError:
    return HarnessError(
        f"{who}: {archive.host} sent a web page in place of {archive.name} (a login, a notice, or it has moved); "
        f"open {archive.url} in a browser, get {archive.name} and put it into {final.parent}"
    )


def _unreachable(archive: Archive, final: Path, who: str, reason: str) -> HarnessError:
    kept = "what has come is kept and the same command continues; or " if _length(_part(final)) else ""
    return HarnessError(
        f"{who}: {archive.name} cannot be fetched from {archive.host} ({reason}); {kept}{mend(archive, final)}"
    )


def _unwritable(who: str, folder: Path, error: OSError) -> HarnessError:
    reason = error.strerror or str(error)
    return HarnessError(f"{who}: cannot write {folder}: {reason}; free some space or set XDG_CACHE_HOME elsewhere")
