"""One file over HTTP, appended to what there is of it, in as many requests as bring something new.

`NAME.part.from`, beside the part, keeps the server's name for the version that the part is the beginning of, so that
two versions are never joined. A server that knows no ranges sends all of it again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

TIMEOUT = 30.0  # seconds without a byte
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
PATIENCE, PATIENCE_WITH_NOBODY = 5, 2  # attempts in a row that bring nothing new; where not one byte ever came
CHUNK, HEAD = 1 << 20, 512  # bytes
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another in a moment
PAGES = {"text/html", "application/xhtml+xml"}
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml[^>]*>\s*<!doctype)", re.IGNORECASE)


class DownloadFailed(Exception):  # noqa: N818  (its caller knows the mend)
    """It cannot be had from there; the message says why."""


class WebPageReceived(DownloadFailed):
    """A web page came in its place."""


class WriteFailed(Exception):  # noqa: N818
    """The disk took no more; `__cause__` is the OSError."""


@dataclass
class Download:
    """A file on its way.

    url     where it is
    length  bytes that it has; None: as many as come
    part    the path of what there is
    file    the same, open for appending
    expect  called with the bytes that are about to come; may refuse
    tell    called with (done, total) bytes; total None while it is unknown
    """

    url: str
    length: int | None
    part: Path
    file: IO[bytes]
    expect: Callable[[int], None]
    tell: Callable[[int, int | None], None]

    def run(self) -> None:
        """Until it is whole; or NotReceived, NotWritten."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError

        failures, best = 0, 0
        while not self._is_whole():
            try:
                if self._attempt():
                    return
                reason = f"the connection ended after {self._have():,} bytes"
            except HTTPError as error:
                reason = f"it answered {error.code} {error.reason}"
                error.close()
                if error.code not in PASSING:
                    raise DownloadFailed(reason) from None
            except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
                reason = " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
            have = self._have()
            failures, best = (1, have) if have > best else (failures + 1, best)
            if failures >= (PATIENCE if best else PATIENCE_WITH_NOBODY):
                raise DownloadFailed(reason)
            time.sleep(PAUSE * 2 ** (failures - 1))

    def empty(self) -> None:
        """Begin again."""
        self.file.truncate(0)
        origin(self.part).unlink(missing_ok=True)

    def _have(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def _is_whole(self) -> bool:
        have = self._have()
        if self.length is not None and have > self.length:
            self.empty()
        return 0 < have == self.length

    def _attempt(self) -> bool:
        """One request; whether the file is whole now."""
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        have = self._have()
        try:
            answer = urlopen(Request(self.url, headers=self._headers(have)), timeout=TIMEOUT)
        except HTTPError as error:
            if error.code != 416 or not have:  # 416: there is nothing from here on
                raise
            error.close()
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            self.empty()
            return False
        with answer:
            if answer.headers.get_content_type() in PAGES:
                raise WebPageReceived
            if answer.status == 206:
                start, total = _span(answer.headers.get("Content-Range"))
            else:  # all of it: the server knows no ranges, or has another version
                self.empty()
                have = start = 0
                total = _number(answer.headers.get("Content-Length"))
            if start != have:
                self.empty()
                return False
            if self.length is not None and total not in (None, self.length):
                raise DownloadFailed(f"it offers {total:,} bytes instead of {self.length:,}: moved or replaced")
            total = self.length if total is None else total
            self.expect((total or have) - have)
            return self._append(answer, have, total)

    def _append(self, answer: Any, have: int, total: int | None) -> bool:
        """Write the body as it comes; whether that is all."""
        piece = answer.read(HEAD if total is None else min(HEAD, total - have))
        if not have:
            if PAGE.match(piece):
                raise WebPageReceived
            self._remember(answer.headers)
        while piece:
            try:
                self.file.write(piece)
                self.file.flush()  # what has come stays, whatever ends this process
            except OSError as error:
                raise WriteFailed from error
            have += len(piece)
            self.tell(have, total)
            if have == total:
                return True
            piece = answer.read1(CHUNK if total is None else min(CHUNK, total - have))
        return total is None

    def _headers(self, have: int) -> dict[str, str]:
        headers = {"User-Agent": "obfuscation-harness", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if origin(self.part).is_file():
                headers["If-Range"] = origin(self.part).read_text()
        return headers

    def _remember(self, headers: Any) -> None:
        """The version that this is the beginning of: a strong ETag, else the date."""
        tag = headers.get("ETag") or "W/"
        version = headers.get("Last-Modified") if tag.startswith("W/") else tag
        if version:
            origin(self.part).write_text(version)


def origin(part: Path) -> Path:
    """Where the version of a part is kept."""
    return part.with_name(f"{part.name}.from")


def _span(content_range: str | None) -> tuple[int | None, int | None]:
    """Where a partial answer begins, and how long the whole is."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range or "")
    return (int(found[1]), _number(found[2])) if found else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
