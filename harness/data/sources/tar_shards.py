"""WebDataset-style tar shards: members of one base name are a sample, an image and a `.cls` or `.json` with its label.

Nothing is unpacked to the disk: a first pass reads headers and labels, and an image is read at its place in the shard
when it is decoded. Shards are not compressed. All that is irregular is refused with the shard and the member: links
and devices, names that leave the archive, sizes beyond the bounds of image files, samples without a partner or with
two, and an archive that ends without its end mark, which a shard that was cut does.
Reference: Aizman, Maltby and Breuel 2019 (WebDataset).
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from harness.data.decode import LazyImage
from harness.data.identity import file_state
from harness.data.image_folder import EXTENSIONS
from harness.data.packed import PackedFile
from harness.data.pixels import LARGEST_FILE
from harness.data.sources.encoded import checked_label, class_names, encoded_image
from harness.data.unpack import path_inside
from harness.errors import HarnessError
from harness.system.files import open_regular
from harness.system.schema import shown

BLOCK = 512  # bytes
LARGEST_LABEL_FILE = 2**16  # bytes of a .cls or .json member
LARGEST_HEADER = 2**20  # bytes of a long name or of extended header records
MOST_SAMPLES = 5_000_000
_LABELS = (".cls", ".json")


@dataclass
class _Sample:
    image: tuple[str, int, int] | None = None  # member, offset, bytes
    label: int | str | None = None
    labelled_by: str = ""


def tar_images(shards: Sequence[PackedFile]) -> list[LazyImage]:
    """The images of all shards. Raises HarnessError, one sentence that names the shard and the member."""
    found: dict[str, tuple[PackedFile, _Sample]] = {}
    for shard in shards:
        for base, sample in _samples(shard.path).items():
            if base in found:
                other = found[base][0].path.name
                raise HarnessError(f"{shard.path}: the samples {shown(base)} are here and in {other}; rename one")
            found[base] = shard, sample
            if len(found) > MOST_SAMPLES:
                raise HarnessError(f"{shard.path}: more than {MOST_SAMPLES:,} samples in all; name fewer shards")
    if not found:
        raise HarnessError(f"{shards[0].path}: it holds no sample; expected an image and a .cls or .json of one name")
    names = class_names(str(shards[0].path), [sample.label for _, sample in found.values() if sample.label is not None])
    states = {shard.path: file_state(shard.path) for shard in shards}
    images = []
    for shard, sample in found.values():
        assert sample.image is not None and sample.label is not None  # `_samples` checks it
        member, offset, length = sample.image
        state, is_proof = states[shard.path]
        read = partial(_read, shard.path, member, offset, length)
        key = f"{shard.path}\0{state} {offset} {length}"
        images.append(encoded_image(member, names[sample.label], shard.role, read, key, is_proof))
    return images


def _samples(shard: Path) -> dict[str, _Sample]:
    """What the shard holds by base name, every sample complete."""
    samples: dict[str, _Sample] = {}
    try:
        with open_regular(shard) as file:
            for member in _members(shard, file):
                _add(shard, file, member, samples)
    except OSError as error:
        raise HarnessError(f"{shard}: {error.strerror or error}; check the file") from None
    for base, sample in samples.items():
        if sample.image is None:
            raise HarnessError(f"{shard}: {shown(sample.labelled_by)} has no image beside it ({base}.jpg, say); add it")
        if sample.label is None:
            raise HarnessError(f"{shard}: {shown(sample.image[0])} has no label beside it; add {shown(f'{base}.cls')}")
    return samples


def _members(shard: Path, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The regular files, each checked; the end mark must follow the last."""
    last, end = "its beginning", 0
    try:
        with tarfile.open(fileobj=_Bounded(file), mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                archive.members = []  # which else grow by every member
                last = shown(info.name)
                end = info.offset_data + (-(-info.size // BLOCK) * BLOCK if info.isreg() else 0)
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise HarnessError(
                        f"{shard}: {last} is a link, a device or a sparse file; a shard holds plain files"
                    )
                yield info
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise HarnessError(f"{shard} is cut, damaged or compressed after {last} ({reason}); copy it anew") from None
    file.seek(end)
    if file.read(BLOCK) != bytes(BLOCK):
        raise HarnessError(f"{shard} is cut or damaged after {last}: the end mark is missing; copy it anew")


class _Bounded:
    """A file of which no more is read at once than a header needs: a length that a header states may be anything."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, count: int) -> bytes:
        if not 0 <= count <= LARGEST_HEADER:
            raise ValueError(f"a header of {count:,} bytes, more than {LARGEST_HEADER:,}")
        return self._read(count)


def _add(shard: Path, file: IO[bytes], info: tarfile.TarInfo, samples: dict[str, _Sample]) -> None:
    path = path_inside(shard, info.name)
    folder, _, name = path.rpartition("/")
    stem, dot, suffix = name.partition(".")
    suffix = f"{dot}{suffix}".lower()
    base = f"{folder}/{stem}" if folder else stem
    if not stem or (suffix not in EXTENSIONS and suffix not in _LABELS):
        raise HarnessError(
            f"{shard}: {shown(info.name)} ends in {shown(suffix or name)}; expected an image "
            f"({', '.join(sorted(EXTENSIONS))}) or {' or '.join(_LABELS)}"
        )
    sample = samples.setdefault(base, _Sample())
    if suffix in EXTENSIONS:
        if sample.image is not None:
            raise HarnessError(f"{shard}: {shown(info.name)} is the second image of {shown(base)}; keep one")
        if info.size > LARGEST_FILE:
            raise HarnessError(f"{shard}: {shown(info.name)} has {info.size:,} bytes, more than {LARGEST_FILE:,}")
        sample.image = path, info.offset_data, info.size
        return
    if sample.label is not None:
        raise HarnessError(f"{shard}: {shown(info.name)} is the second label of {shown(base)}; keep one")
    if info.size > LARGEST_LABEL_FILE:
        raise HarnessError(f"{shard}: {shown(info.name)} has {info.size:,} bytes, more than {LARGEST_LABEL_FILE:,}")
    place = file.tell()
    file.seek(info.offset_data)
    content = file.read(info.size)
    file.seek(place)
    sample.label = checked_label(f"{shard}: {shown(info.name)}", _label(suffix, content))
    sample.labelled_by = info.name


def _label(suffix: str, content: bytes) -> Any:
    """What the member says, of any kind: the caller checks it."""
    try:
        text = content.decode()
        if suffix == ".cls":
            digits = text.strip()
            return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else content[:40]
        document = json.loads(text)
    except (ValueError, RecursionError):
        return content[:40]
    if not isinstance(document, dict):
        return document
    return next((document[name] for name in ("label", "cls") if name in document), document)


def _read(shard: Path, member: str, offset: int, length: int) -> bytes:
    with open_regular(shard) as file:
        file.seek(offset, os.SEEK_SET)
        content = file.read(length)
    if len(content) < length:
        raise ValueError(f"{shard.name} ends within {member}")
    return content
