"""Answer files of a survey, as its page saves them: checked field by field, for people can send anything.

An answer names classes; none of them is "I cannot tell". A question without an entry was not answered, and is judged
neither way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from harness.errors import HarnessError
from harness.registry.settings import did_you_mean
from harness.study.key import Key
from harness.study.plan import QUESTIONS
from harness.system.documents import read_json
from harness.system.schema import decode, shown

ANSWER_BYTES = 2**20
MOST_FILES = 10_000
_Person = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,40}\Z", description="1 to 40 letters, digits, - and _, which is no real name")
]
_Text = Annotated[str, Meta(max_length=5_000)]


@dataclass(frozen=True)
class Answers:
    """What one person said.

    answers  question -> the classes that were named, by position in the key; a question that is open is not in it
    """

    person: str
    answers: Mapping[str, frozenset[int]]


class _Document(Struct, forbid_unknown_fields=True):
    form: Annotated[int, Meta(ge=1, le=1)]
    survey: _Text
    person: _Person
    answers: Annotated[dict[_Text, Annotated[list[_Text], Meta(max_length=10_000)]], Meta(max_length=QUESTIONS)]


def read(files: Sequence[Path], keys: Sequence[Key]) -> list[tuple[Key, Answers]]:
    """Each file's answers with the key of its survey. HarnessError where a file is none, or is a person's second one.

    A person may answer several surveys, each once.
    """
    if len(files) > MOST_FILES:
        raise HarnessError(f"{len(files):,} files of answers; at most {MOST_FILES:,} are read")
    found: list[tuple[Key, Answers]] = []
    sent: dict[tuple[str, str], Path] = {}
    for file in files:
        held = decode(read_json(file, "file of answers", ANSWER_BYTES), _Document, str(file))
        key = next((key for key in keys if key.survey == held.survey), None)
        if key is None:
            ids = ", ".join(key.survey for key in keys)
            raise HarnessError(f"{file}: these are answers to survey {shown(held.survey)}, and the key is of {ids}")
        first = sent.setdefault((held.survey, held.person), file)
        if first is not file:
            raise HarnessError(f"{file}: {first} holds answers of {held.person!r} to this survey too; keep one of them")
        found.append((key, _checked(held, key, file)))
    return found


def _checked(held: _Document, key: Key, file: Path) -> Answers:
    numbers = {name: number for number, name in enumerate(key.classes)}
    known = {question.id for question in key.questions}
    answers: dict[str, frozenset[int]] = {}
    for question, names in held.answers.items():
        if question not in known:
            raise HarnessError(f"{file}: answers: the survey has no question {shown(question)}; give the file as saved")
        for name in names:
            if name not in numbers:
                near = did_you_mean(name, numbers)
                raise HarnessError(f"{file}: answers: {question}: no class {shown(name)}{near}; give the file as saved")
        if len(set(names)) < len(names):
            raise HarnessError(f"{file}: answers: {question}: a class is named twice; give the file as saved")
        answers[question] = frozenset(numbers[name] for name in names)
    return Answers(held.person, answers)
