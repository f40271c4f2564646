"""Unpack a zip or tar archive safely: only regular files inside the folder, and no more bytes than announced.

All members are checked before the first is written. One that leaves the folder, is a link or a device, or brings the
total length above the limit makes the whole archive refused.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import HarnessError

CHUNK = 1 << 20  # bytes
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted
    NotImplementedError,  # a compression that Python does not know
)


@dataclass(frozen=True)
class ArchiveMember:
    """A file in an archive.

    path    inside the archive, with forward slashes
    length  bytes, as the archive announces
    open    opens it for reading
    """

    path: str
    length: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, wanted: Callable[[str], bool], max_bytes: int, report: Callable[[int, int], None]
) -> dict[str, str]:
    """Write the wanted files into the empty `folder`; returns the sha256 of each by its path.

    max_bytes  of the wanted files together; more raise HarnessError
    report     called with (done, total) files
    """
    with ExitStack() as stack:
        stack.enter_context(_readable_errors(archive))
        chosen = [member for member in _members(archive, stack) if wanted(member.path)]
        if (total := sum(member.length for member in chosen)) > max_bytes:
            raise HarnessError(f"{archive} unpacks to {total:,} bytes, more than the {max_bytes:,} that are expected")
        digests: dict[str, str] = {}
        for done, member in enumerate(chosen):
            report(done, len(chosen))
            digests[member.path] = _write(archive, member, folder)
        report(len(chosen), len(chosen))
    return digests


@contextmanager
def _readable_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HarnessError(f"{archive} cannot be unpacked ({reason}); remove it and run again") from error


def _members(archive: Path, stack: ExitStack) -> list[ArchiveMember]:
    """Every file in the archive; folders are made as files need them."""
    if zipfile.is_zipfile(archive):
        zipped = stack.enter_context(zipfile.ZipFile(archive))
        return [member for info in zipped.infolist() if (member := _zip_member(archive, zipped, info))]
    if tarfile.is_tarfile(archive):
        tarred = stack.enter_context(tarfile.open(archive))  # noqa: SIM115  (the caller's stack closes it)
        return [member for info in tarred.getmembers() if (member := _tar_member(archive, tarred, info))]
    raise HarnessError(f"{archive} is neither a zip nor a tar archive; remove it and run again")


def _zip_member(archive: Path, zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> ArchiveMember | None:
    path = path_inside(archive, info.filename)
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise HarnessError(f"{archive} holds {info.filename!r}, a link or a device; such an archive is not unpacked")
    return None if info.is_dir() else ArchiveMember(path, info.file_size, lambda: zipped.open(info))


def _tar_member(archive: Path, tarred: tarfile.TarFile, info: tarfile.TarInfo) -> ArchiveMember | None:
    path = path_inside(archive, info.name)
    if not (info.isreg() or info.isdir()):
        raise HarnessError(f"{archive} holds {info.name!r}, a link or a device; such an archive is not unpacked")

    def opened() -> IO[bytes]:
        file = tarred.extractfile(info)
        assert file is not None  # a regular file
        return file

    return None if info.isdir() else ArchiveMember(path, info.size, opened)


def path_inside(archive: Path, name: str) -> str:
    """The path of a member below the folder, backslashes read as slashes; raises HarnessError where it leaves it."""
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in parts or "\0" in path:
        raise HarnessError(f"{archive} holds {name!r}, which leaves the folder; such an archive is not unpacked")
    return "/".join(parts)


def _write(archive: Path, member: ArchiveMember, folder: Path) -> str:
    digest, written = hashlib.sha256(), 0
    path = folder / member.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise HarnessError(f"{archive} holds {member.path!r} twice; such an archive is not unpacked") from None
    with target, member.open() as source:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > member.length:
                raise HarnessError(f"{archive}: {member.path} is longer than the {member.length:,} bytes announced")
            target.write(chunk)
            digest.update(chunk)
    if written < member.length:
        raise HarnessError(f"{archive}: {member.path} is shorter than the {member.length:,} bytes announced")
    return digest.hexdigest()
