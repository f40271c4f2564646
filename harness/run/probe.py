"""Whether plugins suit a run, found out in a process of its own: a plugin that ends its process ends no run.

A plugin is imported and its knobs are checked; a defense is tried on two grey images, and an attack says what it lacks
on this machine. What a plugin's author or caller can fix (a knob, a missing module, a size) is refused now. One that
raises something else, or ends the process, when it is called fails its own pieces of work later, and no others. A
network of one's own is built and tried on two images, and whatever it raises is refused.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from harness.errors import HarnessError
from harness.registry import Entry, Registry, bind, load_registry, why_not_ready
from harness.registry.own_networks import OwnNetwork
from harness.run.scheduler import TRIES
from harness.scores import judged
from harness.system import fork_server
from harness.system.supervisor import ending
from harness.types import Array

_PATIENCE = 5.0
"""Seconds in which a process that has answered may end by itself."""


@dataclass(frozen=True)
class Question:
    """What is asked of the plugins.

    labels, size  of the private images; None: they are not tried on images
    classes       how many there are
    """

    entries: Sequence[Entry | OwnNetwork]
    labels: Array | None
    size: tuple[int, int]
    classes: int = 0


@dataclass(frozen=True)
class Answer:
    """What was found out about one plugin.

    refused    why it cannot be run as asked
    not_ready  what it lacks on this machine
    """

    refused: str | None = None
    not_ready: str | None = None


def ask(question: Question, registry: Registry) -> list[Answer]:
    """Ask in this process. The answers, one per entry."""
    return [_answer(question, entry, registry, lambda: None) for entry in question.entries]


def ask_apart(question: Question, registry: Registry) -> list[Answer]:
    """Ask in a process of its own; after a plugin that ends it, in another one. The answers, one per entry."""
    answers: list[Answer] = []
    losses = 0
    while len(answers) < len(question.entries):
        rest = replace(question, entries=question.entries[len(answers) :])
        found, ended = _ask_once(rest, registry.files)
        answers += found
        losses = 1 if found else losses + 1
        if len(answers) < len(question.entries) and losses >= TRIES:  # it is the plugin, not a killer from outside
            answers.append(ended)
            losses = 0
    return answers


def _ask_once(question: Question, files: Sequence[Path]) -> tuple[list[Answer], Answer]:
    """The answers until the process ended, and that for the plugin that was asked last."""
    ours, theirs = Pipe()
    process = fork_server.launch(_serve, (theirs, question, files), "use fewer --workers")
    theirs.close()
    answers: list[Answer] = []
    is_imported = False
    with contextlib.suppress(EOFError, OSError):
        while len(answers) < len(question.entries):
            wait([ours, process.sentinel])
            if not ours.poll():  # it has ended, and a child of its holds the connection
                break
            message = ours.recv()
            is_imported = message is None
            if message is not None:
                answers.append(message)
    ours.close()
    wait([process.sentinel], _PATIENCE)
    code = process.end()
    if is_imported or len(answers) == len(question.entries):
        return answers, Answer()
    entry = question.entries[len(answers)]
    why = f"its import {ending(code)}"
    return answers, Answer(f"{entry.noun} {entry.name!r} is unavailable: {why}")


def _serve(environment: dict[str, str], connection: Connection, question: Question, files: Sequence[Path]) -> None:
    fork_server.begin(environment)
    threading.Thread(target=_end_with_sender, args=(connection,), daemon=True).start()
    registry = load_registry(files)
    is_changed = False
    for entry in question.entries:
        answer = _answer(question, entry, registry, lambda: _tell(connection, None))
        if is_changed and answer != Answer():
            return  # perhaps for what a plugin before it did to this process: it is asked again in another one
        _tell(connection, answer)
        is_changed |= entry.is_foreign


def _tell(connection: Connection, message: Answer | None) -> None:
    try:
        connection.send(message)
    except OSError:  # who asked is gone, or a plugin has closed the connection
        os._exit(1)


def _end_with_sender(connection: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        connection.recv()  # nothing is ever sent
    os._exit(1)


def _answer(question: Question, entry: Entry | OwnNetwork, registry: Registry, imported: Callable[[], None]) -> Answer:
    try:
        if isinstance(entry, OwnNetwork):
            from harness.train import own

            if entry.entry is not None:
                bind(entry.made_importable())
            imported()
            own.build(entry, question.classes, question.size)
            return Answer()
        bind(entry)
        imported()
        if entry.section == "attacks":
            return Answer(not_ready=why_not_ready(entry))
        if entry.section == "defenses" and question.labels is not None:
            import torch

            from harness.client.client import check_scheme, scheme_of

            check_scheme(scheme_of(entry, registry), question.labels, question.size)
            grey = torch.full((1, 3, *question.size), 0.5)
            for name in judged():
                bind(registry.get("metrics", name))(grey, grey)
    except HarnessError as error:
        return Answer(refused=str(error))
    except (Exception, SystemExit):  # its pieces of work will fail, and say why
        return Answer()
    return Answer()
