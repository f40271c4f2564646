"""The ledger beside a client's secrets: which pictures were released how often, over all runs.

A picture is known by its content: by the hash of its pixels and by that of its file, so that neither another name, nor
another folder, nor other metadata, nor another lossless format makes it a new one. A copy that was resized or encoded
with losses is a new one. A picture that is in a folder several times is released as often by each release.

A run enters its releases before it makes them and confirms them before they get their name; a run that failed takes
them out again, and those of a killed run, which made none, do not count. The file has mode 0600, is replaced as a whole
under a lock, and begins with a checksum: one that is damaged is refused, and so is one that is gone, or an older copy,
while secrets say that they were entered in it (`harness.publish.ledger_secrets`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import numpy as np
from msgspec import Meta, Struct, structs, to_builtins

from harness.errors import HarnessError
from harness.publish.ledger_secrets import Unread, entered_secrets
from harness.system.documents import parse_json, read_bytes
from harness.system.files import NO_LOCKS, HeldLock, lock_file, write_private
from harness.system.new_folder import remove_leftovers
from harness.system.schema import decode
from harness.system.text import counted, first_few, one_line

log = logging.getLogger("harness")
FORM = 1
WAIT = 60.0  # seconds for another run that reads or writes the ledger
MOST = 2**28  # bytes of the file
VALUES = MOST // 32  # of the file: a picture is one, in 41 bytes
_FIX = "put back its copy from after the last release: an older one counts too few"

_Text = Annotated[str, Meta(max_length=20_000)]
_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8,64}$", description="hexadecimal digits")]
_Picture = Annotated[str, Meta(pattern=r"^[0-9a-f]{16} [0-9a-f]{16}$", description="two hashes")]
_Count = Annotated[int, Meta(ge=1, le=10**9)]


@dataclass(frozen=True)
class Asked:
    """A run before it is entered; the fields are those of `Run`."""

    folder: str
    releases: int
    at_most: int | None
    defense: str
    settings: str
    out: str
    secret: str


class Run(Struct, forbid_unknown_fields=True, frozen=True):
    """One run of `harness obfuscate`.

    state     "released", "begun": entered and not confirmed, or "killed": it ended so, and counts nothing
    pictures  the key of the set of its pictures in `Content.sets`
    at_most   the budget that it stated; None: that of the runs before it
    """

    id: _Id
    state: Literal["begun", "released", "killed"]
    time: _Text
    folder: _Text
    pictures: _Id
    releases: _Count
    defense: _Text
    settings: _Text
    out: _Text
    secret: _Text
    at_most: _Count | None = None


class Content(Struct, forbid_unknown_fields=True, frozen=True):
    """The ledger without its checksum.

    sets  the two hashes of every picture, as often as it is in the folder
    id    what a secret knows it by wherever it is moved; "" in one that an earlier version began
    """

    runs: Annotated[list[Run], Meta(max_length=10**6)]
    sets: dict[_Id, Annotated[list[_Picture], Meta(max_length=10**7)]]
    id: _Id | Literal[""] = ""


@dataclass
class Entry:
    """A run that is entered.

    book    the id of the ledger
    before  how often the pictures were released before it: of the one that was released most often
    """

    ledger: Ledger
    book: str
    id: str
    before: int

    def confirm(self) -> None:
        """Everything is written and about to get its name. Raises HarnessError."""

        def confirmed(content: Content) -> Content:
            if self.id not in [run.id for run in content.runs]:
                raise HarnessError(f"ledger {self.ledger.path} was replaced while this ran; nothing was released")
            runs = [structs.replace(run, state="released") if run.id == self.id else run for run in content.runs]
            return structs.replace(content, runs=runs)

        self.ledger.change(confirmed)

    def take_out(self) -> None:
        """Nothing was released."""
        self.ledger.change(lambda held: structs.replace(held, runs=[run for run in held.runs if run.id != self.id]))


@dataclass(frozen=True)
class Ledger:
    """The ledger at a place; the file is made by the first run."""

    path: Path

    def check(self, beside: Path) -> None:
        """Refuse a ledger that is damaged, missing or cannot be written, before the work.

        beside  the folder of the secrets
        """
        with self._locked():
            unread = self._check_secrets(self._read(), beside)
        if unread:
            log.warning(
                "%s cannot be read (%s); if one is a secret that was entered in %s, that may count too few",
                counted(len(unread), "file"), first_few(unread), self.path,
            )  # fmt: skip

    @contextmanager
    def entered(self, run: Asked, pictures: Sequence[str], beside: Path, is_out: Callable[[], bool]) -> Iterator[Entry]:
        """Enter the releases of a run, and take them out again where the block raises and nothing is out.

        pictures  `identity` of each, of copies too
        is_out    whether the release has its name

        Raises HarnessError where the pictures would be released more often than the budget allows.
        """
        number = uuid.uuid4().hex
        with ExitStack() as alive:
            _hold(alive, self._lock_of(number))
            entry = self._enter(number, run, sorted(pictures), beside)
            try:
                yield entry
            except BaseException:
                if not is_out():
                    try:
                        entry.take_out()
                    except (HarnessError, OSError):
                        log.warning("%s: still counts releases that were not made", self.path)
                raise

    def change(self, edit: Callable[[Content], Content]) -> None:
        """Replace the content. Raises HarnessError."""
        with self._locked():
            self._write(edit(self._read()))

    def _enter(self, number: str, run: Asked, pictures: list[str], beside: Path) -> Entry:
        key = hashlib.sha256("\n".join(pictures).encode()).hexdigest()[:32]
        with self._locked():
            content = self._read()
            self._check_secrets(content, beside)
            content = self._settled(content)
            counts = _counts(content)
            before, copies = _of_each(counts, pictures), _of_each(_hashes(pictures), pictures)
            most = max(before, default=0)
            self._check_budget(content, set(pictures), run, before, copies)
            entered = Run(
                id=number,
                state="begun",
                time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                folder=one_line(run.folder),
                pictures=key,
                releases=run.releases,
                defense=run.defense,
                settings=run.settings,
                out=one_line(run.out),
                secret=one_line(run.secret),
                at_most=run.at_most,
            )
            book = content.id or uuid.uuid4().hex
            self._write(Content([*content.runs, entered], {**content.sets, key: pictures}, book))
        return Entry(self, book, number, most)

    def _check_budget(
        self, content: Content, pictures: set[str], run: Asked, before: list[int], copies: list[int]
    ) -> None:
        kept = _budget(content, pictures)
        budget = run.at_most or kept
        if kept and budget and budget > kept:
            log.warning("the budget is raised from %d to %d releases", kept, budget)
        each = [count + run.releases * number for count, number in zip(before, copies, strict=True)]
        if budget is None or max(each, default=0) <= budget:
            return
        over, of_all = sum(count > budget for count in each), counted(len(before), "picture")
        source = "--at-most" if run.at_most else f"the budget in {self.path}"
        if max(count + run.releases for count in before) <= budget:
            often = max(number for count, number in zip(each, copies, strict=True) if count > budget)
            raise HarnessError(
                f"{over:,} of {of_all} have copies, up to {often} in all, and each release holds every copy,"
                f" which is above {source} {budget}; nothing was released: keep one of each"
            )
        if not max(before):
            raise HarnessError(f"{run.releases} releases are more than the {budget} of --at-most; make fewer")
        raise HarnessError(
            f"{over:,} of {of_all} were released up to {counted(max(before), 'time')} before, "
            f"and {run.releases} more are above {source} {budget}; nothing was released: make fewer, or release "
            "other pictures"
        )

    def _check_secrets(self, content: Content, beside: Path) -> list[str]:
        """Refuse a ledger that does not know a secret which was entered in it; what may be one and cannot be read."""
        unread: list[str] = []
        runs, names = {run.id for run in content.runs}, {Path(run.secret).name for run in content.runs}
        folders = {beside, self.path.parent, *(Path(run.secret).parent for run in content.runs)}
        for secret in entered_secrets(self.path, content.id, folders):
            if isinstance(secret, Unread):
                if one_line(secret.file.name) not in names:
                    self._check_unread(secret)
                    unread.append(str(secret.file))
                continue
            if secret.run in runs or (not secret.run and one_line(secret.file.name) in names):
                continue
            if not os.path.lexists(self.path):
                raise HarnessError(f"ledger {self.path} is missing, and {secret.file} was entered in it; {_FIX}")
            raise HarnessError(f"ledger {self.path} does not know {secret.file}, which was entered in it; {_FIX}")
        return unread

    def _check_unread(self, found: Unread) -> None:
        """Refuse what may be a secret that the ledger does not know, but for what another user keeps to himself.

        Where the ledger is missing, that is refused too if it is named as a secret.
        """
        is_missing = not os.path.lexists(self.path)
        if found.is_anothers and not (is_missing and found.file.suffix.lower() == ".npz"):
            return
        raise HarnessError(
            f"{found.file} cannot be read ({found.reason}) and may be, or hold, a secret that was entered in ledger "
            f"{self.path}, which {'is missing' if is_missing else 'does not know it'}; make it readable, or keep it "
            "elsewhere if it is none"
        )

    def _settled(self, content: Content) -> Content:
        """With runs that were killed marked: they were never confirmed, and nobody holds their lock.

        One whose release is out was confirmed in another copy of the ledger, and counts.
        """
        runs = []
        for run in content.runs:
            if run.state == "begun" and self._is_dead(run.id):
                run = structs.replace(run, state="released" if _holds_files(run.out) else "killed")
            runs.append(run)
        return structs.replace(content, runs=runs)

    def _is_dead(self, number: str) -> bool:
        """Whether the run has ended; where that cannot be known it counts."""
        try:
            with lock_file(self._lock_of(number), private=True):
                return True
        except (filelock.Timeout, OSError):
            return False

    def _lock_of(self, number: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{number}.lock")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the ledger against other runs, which hold it for a moment."""
        ends = time.monotonic() + WAIT
        with ExitStack() as held:
            while (lock := _hold(held, self.path.with_name(f".{self.path.name}.lock"), wait=False)) is None:
                if time.monotonic() > ends:
                    raise HarnessError(f"ledger {self.path}: another run holds it; try again")
                time.sleep(0.05)
            with suppress(OSError):
                remove_leftovers(self.path, lock)
            yield

    # The file

    def _read(self) -> Content:
        """What it holds; nothing where there is none."""
        if not os.path.lexists(self.path):
            return Content([], {})
        try:
            held = parse_json(read_bytes(self.path, MOST, "ledger"), str(self.path), VALUES)
        except HarnessError as error:
            raise HarnessError(f"ledger {error}; {_FIX}") from None
        if not isinstance(held, dict) or held.get("form", FORM) != FORM:
            raise HarnessError(f"ledger {self.path} is none that this version reads; use the one that wrote it")
        if held.get("sha256") != _checksum(held.get("content")):
            raise HarnessError(f"ledger {self.path} is damaged: its checksum does not match; {_FIX}")
        content = decode(held["content"], Content, f"ledger {self.path}", fix=_FIX)
        if unknown := {run.pictures for run in content.runs} - set(content.sets):
            raise HarnessError(f"ledger {self.path} lacks the pictures {min(unknown)} of a run; {_FIX}")
        return content

    def _write(self, content: Content) -> None:
        used = {run.pictures for run in content.runs}
        content = structs.replace(content, sets={key: held for key, held in content.sets.items() if key in used})
        plain = to_builtins(content)
        text = json.dumps({"form": FORM, "sha256": _checksum(plain), "content": plain}, indent=1)
        try:
            if content.runs:
                write_private(self.path, lambda file: file.write(text.encode()), replace=True)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise HarnessError(
                f"cannot write the ledger {self.path}: {error.strerror}; nothing was released, name another --ledger"
            ) from None


def identity(pixels: Any, file: bytes) -> str:
    """What a picture is known by: the hash of its pixels (H, W, 3) and that of its file."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)  # no copy: it may be large
    return f"{digest.hexdigest()[:16]} {file.hex()[:16]}"


def _checksum(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _counts(content: Content) -> Counter[str]:
    """How often each hash was released."""
    counts: Counter[str] = Counter()
    for run in [run for run in content.runs if run.state != "killed"]:
        for each, copies in _hashes(content.sets[run.pictures]).items():
            counts[each] += run.releases * copies
    return counts


def _hashes(pictures: Iterable[str]) -> Counter[str]:
    """How often each hash is that of a picture; a picture has two, which differ."""
    return Counter(each for picture in pictures for each in picture.split())


def _of_each(counts: Mapping[str, int], pictures: Sequence[str]) -> list[int]:
    """The larger count of the two hashes of every picture."""
    return [max(counts[each] for each in picture.split()) for picture in pictures]


def _holds_files(folder: str) -> bool:
    with suppress(OSError, ValueError):
        return bool(os.listdir(folder))
    return False


def _budget(content: Content, pictures: set[str]) -> int | None:
    """The budget that was stated last for any of these pictures."""
    known = {part for picture in pictures for part in picture.split()}
    for run in reversed([run for run in content.runs if run.state != "killed"]):
        if run.at_most and any(known.intersection(picture.split()) for picture in content.sets[run.pictures]):
            return run.at_most
    return None


def _hold(held: ExitStack, path: Path, *, wait: bool = True) -> HeldLock | None:
    """Hold a lock until the stack ends, where the file system has locks; None where another run has it."""
    try:
        return held.enter_context(lock_file(path, private=True))
    except filelock.Timeout:
        if wait:
            raise
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise HarnessError(
                f"cannot write beside the ledger {path.parent}: {error.strerror}; name another --ledger"
            ) from None
    return HeldLock()
