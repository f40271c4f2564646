"""What of a data set is not used as one would expect: pictures that are not taken, and the same one in two classes.

It is said once, by the process that was asked, and kept in the records of releases.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.system.text import counted, first_few, one_line

NAMED = 20  # files at most that a record names
log = logging.getLogger("harness")

LeftOut = Sequence[tuple[str, str]]
"""(name, reason) of each file that is not taken."""


def of_left_out(left_out: LeftOut) -> dict[str, Any]:
    """Nothing where nothing is left out."""
    if not left_out:
        return {}
    return {"left_out": len(left_out), "left_out_files": [_with_reason(*each) for each in left_out[:NAMED]]}


def of_two_classes(names: Sequence[str], labels: Sequence[str], hashes: Sequence[str]) -> dict[str, Any]:
    """The pictures that are in two classes or more; nothing where there are none."""
    found = in_two_classes(names, labels, hashes)
    if not found:
        return {}
    return {"two_classes": len(found), "two_classes_files": [" = ".join(map(one_line, each)) for each in found[:NAMED]]}


def in_two_classes(names: Sequence[str], labels: Sequence[str], hashes: Sequence[str]) -> list[list[str]]:
    """The names of every picture that has different labels, the first of each label."""
    by_content: dict[str, dict[str, str]] = {}
    for name, label, content in zip(names, labels, hashes, strict=True):
        by_content.setdefault(content, {}).setdefault(label, name)
    return [list(each.values()) for each in by_content.values() if len(each) > 1]


def said_left_out(left_out: LeftOut) -> str:
    """One line: how many, and the first with their reasons."""
    few = first_few([_with_reason(*each) for each in left_out])
    return f"{counted(len(left_out), 'file')} left out: {few}"


def say(dataset: str, notes: Mapping[str, Any]) -> None:
    """Warn of what the notes hold, in the process that was asked and not in its workers."""
    if multiprocessing.parent_process() is not None:
        return
    for line in _lines(notes):
        log.warning("data set %s: %s", one_line(dataset), line)


def _lines(notes: Mapping[str, Any]) -> Iterable[str]:
    if count := notes.get("left_out"):
        yield f"{counted(count, 'file')} left out: {first_few(notes['left_out_files'])}"
    if count := notes.get("two_classes"):
        files = first_few(notes["two_classes_files"])
        yield f"{counted(count, 'picture')} in two classes, of which the first counts: {files}"


def _with_reason(name: str, reason: str) -> str:
    return f"{one_line(name)} ({one_line(reason)})"
