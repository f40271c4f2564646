"""The key of a survey, answers that anybody may have sent, and judgements to calibrate: JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path

from harness.registry import Registry
from tests.fuzz.archive_targets import JSON_FILES
from tests.fuzz.inputs import Input
from tests.fuzz.material import Material
from tests.fuzz.mutations import flow, mutated_bytes, mutated_tree
from tests.helpers.judged import write_by_hand
from tests.helpers.surveys import survey, write_answers


def answers(rng: random.Random, place: Path, material: Material) -> Input:
    """One of two files is not what the page saves."""
    key_file, first, second = _valid(place)
    _damage(second, rng)
    return _scored(key_file, first, second)


def survey_key(rng: random.Random, place: Path, material: Material) -> Input:
    """The key of a survey is not what was written."""
    key_file, first, second = _valid(place)
    _damage(key_file, rng)
    return _scored(key_file, first, second)


def judgements(rng: random.Random, place: Path, material: Material) -> Input:
    """One of two files of judgements is not what was written."""
    distances = [0.1, 0.3, 0.4, 0.5, 0.6, 0.8]
    files = [
        write_by_hand(place / f"{person}.json", distances, [1, 1, 0, 1, 0, 0], (person,)) for person in ("ann", "bo")
    ]
    _damage(files[1], rng)

    def call() -> None:
        from harness.study.calibration.calibrate import calibrate, document
        from harness.study.calibration.gather import gather
        from harness.study.calibration.tables import page, text

        found = calibrate(gather(files))
        json.dumps(document(found), allow_nan=False)
        assert text(found) and page(found, [])

    return Input(call, ["calibrate", *map(str, files), "--out", str(place / "calibration")])


def _valid(place: Path) -> tuple[Path, Path, Path]:
    from harness.study import key as keys

    key = survey().key
    keys.write(key, place / "key.json")
    truth = {question.id: [key.classes[number] for number in question.classes] for question in key.questions}
    files = [write_answers(place / f"{person}.json", key, person, truth) for person in ("ann", "bo")]
    return place / "key.json", files[0], files[1]


def _damage(file: Path, rng: random.Random) -> None:
    kind, content = rng.random(), file.read_bytes()
    if kind < 0.25:
        file.write_bytes(mutated_bytes(content, rng))
    elif kind < 0.3:
        file.write_bytes(rng.choice(JSON_FILES))
    else:
        tree = mutated_tree(json.loads(content), rng)
        try:
            text = json.dumps(tree, default=str)
        except (RecursionError, TypeError, ValueError):
            text = flow(tree)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))


def _scored(key_file: Path, *files: Path) -> Input:
    def call() -> None:
        from harness.study import answers as sent
        from harness.study import key as keys
        from harness.study.agreement import Said, judge, table
        from harness.study.judgements import PEOPLE, read, write

        key = keys.read(key_file)
        said = [
            Said(of, question, person.person, PEOPLE, person.answers.get(question.id))
            for of, person in sent.read(files, [key])
            for question in of.questions
        ]
        table(said)
        found, _ = judge([key], said, Registry(()))
        write(found, key_file.with_name("judgements.json"))
        assert len(read(key_file.with_name("judgements.json")).judgements) == len(found.judgements)

    return Input(call, ["survey", "score", str(key_file), *map(str, files)])
