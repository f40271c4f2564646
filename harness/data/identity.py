"""When a file is still the one that was read: by what the file system says of it, or by its content.

Length and modification time do not tell: uncompressed pictures have one length, and `cp -p`, `rsync -t`, `touch -r` and
archives keep times. The inode is another after a file was replaced, and nobody can set the time of the last change
(ctime). Where that time is no proof, the content is hashed: on file systems that count whole seconds, for a file that
was changed just now, and on Windows, where ctime is the time of creation.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

SECOND = 10**9
JUST_NOW = 3 * SECOND  # the coarsest clock of a file system (FAT: two seconds), and one for a clock that is ahead


def state_of(found: os.stat_result) -> str:
    """What changes with the file: length, times of modification and change, inode."""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def is_proof(found: os.stat_result, now: int) -> bool:
    """Whether a later change of the file's content would change its state.

    now  nanoseconds since 1970, read before the file's state was
    """
    if os.name == "nt" or found.st_ctime_ns % SECOND == 0:
        return False
    return found.st_ctime_ns < now - JUST_NOW


def file_state(path: Path) -> tuple[str, bool]:
    """`state_of` a file, links followed, and whether it `is_proof`; of a missing one a word."""
    now = time.time_ns()
    try:
        found = path.stat()
    except OSError:  # a dangling link: decoding reports it
        return "missing", True
    return state_of(found), is_proof(found, now) or not stat.S_ISREG(found.st_mode)


def content_of(path: Path) -> str:
    """sha256 of a file's bytes, in hex; of one that cannot be read a word."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def bytes_digest(content: bytes) -> str:
    """sha256 of the bytes of a file that lies in another, in hex."""
    return hashlib.sha256(content).hexdigest()
