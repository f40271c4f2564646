"""A folder of records: one JSON file per finished piece of work (RunSpec, RunResult), and beside it its arrays.

A record holds everything that can change its outcome (`records.provenance`), and its name is the hash of that: an
edited plugin gives another record, and a finished command run again finds all its pieces done. Files are written under
another name and renamed (`records.record_files`). `Records` sets a damaged file aside under another name; `read_all`
and `read_one` change nothing and raise instead.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from harness.errors import HarnessError
from harness.records.numbers import (
    DamageError,
    FormatError,
    NoDigestError,
    UnreadableError,
    check_arrays,
    digest,
    read_arrays,
)
from harness.records.record_files import Standing, next_document, numbers_beside, replace_record, set_aside, standing
from harness.scores import index_array
from harness.statistics import known_mean
from harness.system.documents import JSON_BYTES, parse_json, read_bytes
from harness.system.files import TEMPORARY_SUFFIX, write_atomically
from harness.system.schema import shown

if TYPE_CHECKING:
    from harness.types import Array

FORMAT = 1
KEY_LENGTH = 24
ABANDONED_AFTER = 3600.0  # seconds
_KEY = rf"[0-9a-f]{{{KEY_LENGTH}}}"
_WRITTEN = rf"{_KEY}\.json|{_KEY}\.npz|\.{_KEY}\.json\.next|\.writable\.[0-9a-f]{{32}}"
_OF_A_KILLED_RUN = re.compile(rf"\.({_WRITTEN})\.[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}")
"""Names under which `write_atomically` writes what stands in a folder of records."""
ADD_DIGESTS = "python -m harness.records.add_digests"
Kind: TypeAlias = Literal["release", "utility", "attack"]
Status: TypeAlias = Literal["ok", "failed", "skipped", "inapplicable"]
FINISHED: tuple[Status, ...] = ("ok", "inapplicable")  # anything else is tried again
_TRIES = 20  # to read a record that another process replaces at that moment
log = logging.getLogger("harness")


@dataclass(frozen=True)
class RunSpec:
    """What is to be run, whole: JSON-able inputs, nothing that names a machine.

    by_name  whether the key depends on what the data set is called too, as that of older records does
    """

    kind: Kind
    inputs: Mapping[str, Any]
    by_name: bool = False

    @cached_property
    def key(self) -> str:
        """A hash of the inputs. Of the data set its content counts, and not its name."""
        inputs = dict(self.inputs)
        if not self.by_name and isinstance(inputs.get("dataset"), Mapping):
            inputs["dataset"] = {name: value for name, value in inputs["dataset"].items() if name != "name"}
        text = json.dumps([FORMAT, self.kind, inputs], sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    @property
    def names(self) -> list[str]:
        """The defense, and the attack where there is one."""
        entries = [self.inputs.get(part) for part in ("defense", "attack")]
        return [entry["name"] for entry in entries if entry]

    @property
    def releases(self) -> int | None:
        """R, the distinct releases that the figures depend on; None: release 0 alone, or a record that does not say.

        Older records know T alone, and every epoch had a release of its own.
        """
        found: int | None = self.inputs.get("releases", self.inputs.get("epochs"))
        return found


@dataclass(frozen=True)
class RunResult:
    """What happened.

    scores   name -> {mean, low, high, p5, min, n, ...}
    arrays   the numbers behind them, one per release or image
    facts    what else is worth knowing (steps, losses), JSON-able
    seconds  of the work itself
    asked    how the images were asked for (data set, size, limit): what it takes to do it again, beside its inputs
    """

    spec: RunSpec
    status: Status
    reason: str | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self.spec.inputs

    def numbers(self, name: str) -> tuple[Array, Array]:
        """An array as one number for each of its (n,) images, and (n,) the original that each is of.

        A null is the mean over its derangements; numbers that were not measured (NaN) are left out.
        """
        values = self.arrays[name]
        of = self.arrays.get(index_array(name), self.arrays.get("units", np.arange(len(values))))
        values = known_mean(values) if values.ndim == 2 else values
        known = np.isfinite(values)
        return values[known], of[known]


class Records:
    """A folder of records. Each is read and checked once, and again where its files have changed since."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[Path, tuple[Standing, RunResult]] = {}  # by path: how its files stood, what they say

    @classmethod
    def nowhere(cls) -> Records:
        """Keeps nothing and finds nothing: for trials."""
        return _Nowhere(Path())

    def check_writable(self) -> None:
        """Refuse a folder that will not take a record, before the work for it is done."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".writable.{uuid.uuid4().hex}"
            write_atomically(probe, lambda file: file.write(b"ok"))
            probe.unlink(missing_ok=True)
            for leftover in self.folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    is_written = _OF_A_KILLED_RUN.fullmatch(leftover.name)
                    if is_written and time.time() - leftover.stat().st_mtime > ABANDONED_AFTER:
                        leftover.unlink()
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> HarnessError:
        reason = "is a file" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror or error
        return HarnessError(f"records folder {self.folder}: {reason}; name another with --records")

    def find(self, spec: RunSpec) -> RunResult | None:
        """The finished record of this work; None where there is none, or only a failure that is worth another try."""
        for each in (spec, replace(spec, by_name=True)):
            path = self.folder / f"{each.key}.json"
            result = self._read(path) if os.path.lexists(path) else None
            if result and result.status in FINISHED:
                same = each.by_name or result.spec == spec
                return result if same else replace(result, spec=spec)  # by the name that is asked for now
        return None

    def write(self, result: RunResult) -> RunResult:
        """Keep a result, instead of an earlier one of the same work; what was kept.

        One that could not be read again, such as a plugin's array of another length than its index, is kept as failed.
        """
        finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        document = {
            "format": FORMAT,
            "key": result.spec.key,
            "kind": result.spec.kind,
            "inputs": result.spec.inputs,
            "status": result.status,
            "reason": result.reason,
            "scores": result.scores,
            "facts": result.facts,
            "seconds": round(result.seconds, 3),
            "finished": finished,
            "asked": dict(result.asked),
        }
        text = json.dumps(document, allow_nan=False)
        try:
            document = parse_json(text, "it")  # names are text, as they will be when it is read
            _check_document(document)
            if result.status == "ok":
                check_arrays(result.spec.kind, result.arrays)
        except (DamageError, HarnessError) as fault:
            if result.status == "failed":
                raise HarnessError(f"record {result.spec.key} cannot be written: {fault}") from None
            reason = f"it made figures that no record can hold: {fault}"
            failed = replace(result, status="failed", reason=reason, scores={}, arrays={}, facts={})
            return self.write(failed)
        document["digest"] = digest(document, result.arrays)
        path = self.folder / f"{result.spec.key}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_record(path, document, result.arrays)
        except OSError as error:
            raise self._refused(error) from None
        return replace(result, finished=finished)

    def all(self) -> Iterator[RunResult]:
        """Every sound record, in the order of their names."""
        old: list[Path] = []
        for path in paths(self.folder):
            result = self._read(path, old)
            if result is not None:
                yield result
        if old:
            log.warning(
                "%d record%s in %s, such as %s, left out: without a digest of their numbers; add it: %s %s",
                len(old), "" if len(old) == 1 else "s", self.folder, old[0].name, ADD_DIGESTS, self.folder,
            )  # fmt: skip

    def _read(self, path: Path, old: list[Path] | None = None) -> RunResult | None:
        """old  collects records without a digest, which are else named one by one"""
        for _ in range(_TRIES):
            seen = standing(path)
            before, result = self._known.get(path, (None, None))
            if result is not None and before == seen:
                return result
            try:
                result = read(path)
            except FormatError as fault:
                if isinstance(fault, NoDigestError) and old is not None:
                    old.append(path)
                else:
                    log.warning("record %s is %s: left out", path, fault)
                return None
            except DamageError as fault:
                if self._set_aside(path, fault, seen):
                    return None
                continue  # it was replaced meanwhile
            self._known[path] = (seen, result)
            return result
        log.warning("record %s is being replaced by another process: left out", path)
        return None

    def _set_aside(self, path: Path, fault: DamageError, seen: Standing) -> bool:
        """Whether the damaged record is dealt with; False where its files are not those that were seen."""
        try:
            aside = set_aside(path, seen)
        except OSError as denied:
            log.warning("record %s is damaged (%s) and cannot be set aside: %s", path, fault, denied.strerror)
            return True
        if aside is not None:
            log.warning("record %s is damaged (%s): set aside as %s", path, fault, aside.name)
        return aside is not None


def paths(folder: Path) -> list[Path]:
    """The JSON files of all records of a folder, in the order of their names."""
    return sorted(folder.glob("[0-9a-f]" * KEY_LENGTH + ".json"))


def read(path: Path) -> RunResult:
    """One record from its JSON file and the numbers beside it; one that is being replaced as it was or as it will be.

    Raises DamageError.
    """
    for _ in range(_TRIES):
        seen = standing(path)
        try:
            return _read_files(path, path)
        except DamageError as error:
            fault = error
        following = next_document(path)
        if os.path.isfile(following):  # False where the folder cannot be searched
            with contextlib.suppress(DamageError):
                return _read_files(following, path)
        if standing(path) == seen:
            break
    raise fault


def _read_files(file: Path, path: Path) -> RunResult:
    """The record at `path`, of which `file` is the JSON file."""
    try:
        document = load(file)
        arrays = parse(document, path)
        if "digest" not in document:
            raise NoDigestError(f"without a digest of its numbers; add it: {ADD_DIGESTS} {path.parent}")
        if document["digest"] != digest(document, arrays):
            raise DamageError("its figures or numbers are not those that were recorded: they do not match its digest")
    except MemoryError:
        raise UnreadableError("unreadable (it does not fit into memory)") from None
    names = ("status", "reason", "scores", "facts", "seconds", "finished")
    asked = document.get("asked", {})  # not there yet in the first records
    spec = _spec(document)
    return RunResult(spec, arrays=arrays, asked=asked, **{name: document[name] for name in names})


def load(path: Path) -> dict[str, Any]:
    """The JSON object in a record's file, of the format of this code. Raises DamageError."""
    try:
        document = parse_json(read_bytes(path, JSON_BYTES, "record"), path.name)
    except HarnessError as fault:
        said = str(fault).removeprefix(f"{path.parent}{os.sep}").removeprefix(f"{path.name}: ").partition(";")[0]
        if isinstance(fault.__context__, OSError):
            raise UnreadableError(f"unreadable ({said.removeprefix('cannot be read: ')})") from None
        raise DamageError(said) from None
    if not isinstance(document, dict):
        raise DamageError("it is no JSON object")
    if document.get("format", FORMAT) != FORMAT:
        raise FormatError(f"of format {shown(document['format'])}, not {FORMAT}")
    return document


def parse(document: dict[str, Any], path: Path) -> dict[str, Array]:
    """The arrays beside a record's document, after checks of everything but the digest. Raises DamageError."""
    _check_document(document)
    key = _spec(document).key
    if key != document["key"] or key != path.stem:
        raise DamageError("its inputs do not hash to its name")
    numbers = numbers_beside(path)
    if numbers is None and document["status"] == "ok":
        raise DamageError(f"{path.stem}.npz is missing")
    arrays = read_arrays(numbers) if numbers else {}
    if document["status"] == "ok":
        check_arrays(document["kind"], arrays)
    return arrays


def _spec(document: dict[str, Any]) -> RunSpec:
    """The work of a record, with the key by which it is stored."""
    spec = RunSpec(document["kind"], document["inputs"])
    return spec if spec.key == document["key"] else replace(spec, by_name=True)


def _check_document(document: dict[str, Any]) -> None:
    from harness.records.document import FIX, checked  # msgspec

    try:
        checked(document, "it")
    except HarnessError as fault:
        raise DamageError(str(fault).removeprefix("it: ").removesuffix(f"; {FIX}")) from None


class _Nowhere(Records):
    def find(self, spec: RunSpec) -> RunResult | None:
        return None

    def write(self, result: RunResult) -> RunResult:
        return result


def read_all(folder: Path) -> list[RunResult]:
    """Every record of a folder, in the order of their names; a damaged one is an error."""
    return [_read(path) for path in paths(folder)]


def read_one(given: str, folder: Path) -> RunResult:
    """One record: the path of its JSON file, or its key in `folder`, of which a beginning is enough."""
    path = Path(given)
    if path.suffix != ".json":
        found = sorted(folder.glob(f"{given}*.json")) if given.isalnum() else []
        if len(found) != 1:
            said = f"{len(found)} records begin so" if found else "there is none"
            raise HarnessError(f"record {given}: {said} in {folder}; give its file, or its key with --records")
        (path,) = found
    if not os.path.lexists(path):
        raise HarnessError(f"record {path}: there is no such file; give a record's JSON file, or its key")
    return _read(path)


def _read(path: Path) -> RunResult:
    try:
        return read(path)
    except UnreadableError as fault:
        raise HarnessError(f"record {path} is {fault}; try again once it can be read") from None
    except DamageError as fault:
        raise HarnessError(
            f"record {path} is damaged, or of another format ({fault}); "
            "restore it, or remove it and run that cell again"
        ) from None
