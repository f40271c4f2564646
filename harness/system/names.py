"""Names that come from data (records, registries, folders) as file names: the only way from one to the other.

A file name never leaves its folder, is never hidden, reserved or too long, and two names never share one.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

LONGEST = 120
"""Of a file name, before its suffix: with suffixes and a temporary's, every file system takes it."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .,=@()\[\]-]*(?<![ .])")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_HASHED = re.compile(r".*-[0-9a-f]{12}")
_SLUG = 40


def file_name(name: str) -> str:
    """The name itself where it is plain, else what can be written of it with a hash of the whole.

    Plain are up to 120 letters, digits and `_ .,=@()[]-` of ASCII that begin with a letter, a digit or an underscore,
    do not end in a dot or a blank, and are no device of Windows. Different names give different file names, also on
    file systems that ignore case (see `file_names` for several plain ones).
    """
    plain = len(name) <= LONGEST and _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name)
    return name if plain and not _HASHED.fullmatch(name.casefold()) else _hashed(name)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """The file name of each; plain names that differ in case alone get a hash, as some file systems ignore case."""
    found = {name: file_name(name) for name in names}
    shared = Counter(file.casefold() for file in found.values())
    return {name: file if shared[file.casefold()] == 1 else _hashed(name) for name, file in found.items()}


def _hashed(name: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9]+", "_", name[:_SLUG]).strip("_")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{slug or 'name'}-{digest}"
