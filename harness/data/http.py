"""Download one file over HTTP, continuing a part of it with range requests and retrying while bytes arrive.

`NAME.part.from`, beside the part, holds the ETag or date of the version that the part belongs to, so that two versions
are never joined. A server without range requests sends the whole file again.
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
ATTEMPTS, ATTEMPTS_WITHOUT_ANSWER = 5, 2  # in a row that bring no new byte; where no byte ever came
CHUNK, HEAD = 1 << 20, 512  # bytes
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP status codes worth another attempt
PAGE_TYPES = {"text/html", "application/xhtml+xml"}
PAGE_START = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml[^>]*>\s*<!doctype)", re.IGNORECASE)


class DownloadFailed(Exception):  # noqa: N818  (its caller knows the fix)
    """The server does not deliver the file; the message says why."""


class WebPageReceived(DownloadFailed):
    """The server sent a web page instead of the file."""


class WriteFailed(Exception):  # noqa: N818
    """The disk takes no more bytes; `__cause__` is the OSError."""


@dataclass
class Download:
    """A file to be downloaded.

    url         its address
    length      its bytes; None: unknown
    part        where it is written
    file        the same, open for appending
    check_room  called with the number of bytes about to come; may raise
    report      called with (done, total) bytes; total None while it is unknown
    """

    url: str
    length: int | None
    part: Path
    file: IO[bytes]
    check_room: Callable[[int], None]
    report: Callable[[int, int | None], None]

    def run(self) -> None:
        """Download until the file is complete; raises DownloadFailed or WriteFailed."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError

        failures, best = 0, 0
        while not self._is_complete():
            try:
                if self._attempt():
                    return
                reason = f"the connection ended after {self._received():,} bytes"
            except HTTPError as error:
                reason = f"it answered {error.code} {error.reason}"
                error.close()
                if error.code not in TRANSIENT:
                    raise DownloadFailed(reason) from None
            except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
                reason = " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
            have = self._received()
            failures, best = (1, have) if have > best else (failures + 1, best)
            if failures >= (ATTEMPTS if best else ATTEMPTS_WITHOUT_ANSWER):
                raise DownloadFailed(reason)
            time.sleep(PAUSE * 2 ** (failures - 1))

    def restart(self) -> None:
        """Forget what has come."""
        self.file.truncate(0)
        version_file(self.part).unlink(missing_ok=True)

    def _received(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def _is_complete(self) -> bool:
        have = self._received()
        if self.length is not None and have > self.length:
            self.restart()
        return 0 < have == self.length

    def _attempt(self) -> bool:
        """Make one request; whether the file is complete now."""
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        have = self._received()
        try:
            answer = urlopen(Request(self.url, headers=self._headers(have)), timeout=TIMEOUT)
        except HTTPError as error:
            if error.code != 416 or not have:  # 416: there are no bytes from here on
                raise
            error.close()
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            self.restart()
            return False
        with answer:
            if answer.headers.get_content_type() in PAGE_TYPES:
                raise WebPageReceived
            if answer.status == 206:
                start, total = _span(answer.headers.get("Content-Range"))
            else:  # the whole file: no range requests, or another version
                self.restart()
                have = start = 0
                total = _number(answer.headers.get("Content-Length"))
            if start != have:
                self.restart()
                return False
            if self.length is not None and total not in (None, self.length):
                raise DownloadFailed(f"it offers {total:,} bytes instead of {self.length:,}: moved or replaced")
            total = self.length if total is None else total
            self.check_room((total or have) - have)
            return self._append(answer, have, total)

    def _append(self, answer: Any, have: int, total: int | None) -> bool:
        """Write the body as it comes; whether the file is complete then."""
        chunk = answer.read(HEAD if total is None else min(HEAD, total - have))
        if not have:
            if PAGE_START.match(chunk):
                raise WebPageReceived
            self._write_version(answer.headers)
        while chunk:
            try:
                self.file.write(chunk)
                self.file.flush()  # kept even if this process is killed
            except OSError as error:
                raise WriteFailed from error
            have += len(chunk)
            self.report(have, total)
            if have == total:
                return True
            chunk = answer.read1(CHUNK if total is None else min(CHUNK, total - have))
        return total is None

    def _headers(self, have: int) -> dict[str, str]:
        headers = {"User-Agent": "obfuscation-harness", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if version_file(self.part).is_file():
                headers["If-Range"] = version_file(self.part).read_text()
        return headers

    def _write_version(self, headers: Any) -> None:
        """Write down the version of the part: a strong ETag, else the date."""
        tag = headers.get("ETag") or "W/"
        version = headers.get("Last-Modified") if tag.startswith("W/") else tag
        if version:
            version_file(self.part).write_text(version)


def version_file(part: Path) -> Path:
    """The file that holds the version of a part."""
    return part.with_name(f"{part.name}.from")


def _span(content_range: str | None) -> tuple[int | None, int | None]:
    """Start and total length of a partial answer."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range or "")
    return (int(found[1]), _number(found[2])) if found else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
