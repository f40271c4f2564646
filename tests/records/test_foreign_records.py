"""A record of somebody else: every field has the shape that boards take for granted, or the record is named and left.

Each record here has a key and a digest that are right for what it says.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.records import Records, RunSpec
from harness.records.numbers import DamageError, digest
from harness.records.store import read
from tests.helpers.rows import attacked, never_found, recognised, release, trained

MADE = {
    "release": never_found(release()),
    "attack": attacked("inversion"),
    "recogniser": recognised(np.arange(200) % 2),
    "utility": trained(0.8),
}


def forged(folder: Path, made: str = "release", arrays=None, **fields) -> Path:
    """A record with other arrays and fields (`inputs__seed=-1`; ... removes one), its key and digest made to fit."""
    written = Records(folder).write(MADE[made])
    path = folder / f"{written.spec.key}.json"
    document = json.loads(path.read_text())
    path.unlink()
    path.with_suffix(".npz").unlink()
    for name, value in fields.items():
        *above, last = name.split("__")
        table = document
        for step in above:
            table = table[step]
        if value is ...:
            del table[last]
        else:
            table[last] = value
    arrays = {name: values for name, values in {**MADE[made].arrays, **(arrays or {})}.items() if values is not None}
    try:
        document["key"] = RunSpec(document["kind"], document["inputs"]).key
        path = folder / f"{document['key']}.json"
        document["digest"] = digest(document, arrays)
    except (KeyError, ValueError, TypeError):  # no key belongs to it
        pass
    path.write_text(json.dumps(document))
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    return path


def refused(path: Path) -> str:
    start = time.perf_counter()
    with pytest.raises(DamageError) as caught:
        read(path)
    assert time.perf_counter() - start < 2
    said = str(caught.value)
    assert "\n" not in said and len(said) < 300
    return said


@pytest.mark.parametrize("kind", MADE)
def test_a_record_with_a_right_key_and_digest_is_read(tmp_path, kind):
    record = read(forged(tmp_path, kind))

    assert record.inputs == MADE[kind].inputs and record.arrays.keys() == MADE[kind].arrays.keys()


FIELDS = [
    ({"status": "finished"}, "status: expected"),
    ({"status": None}, "status: expected"),
    ({"kind": "attacks"}, "kind: expected"),
    ({"finished": "2027-13-45"}, "finished: "),
    ({"finished": "yesterday"}, "finished: "),
    ({"finished": "2027-01-01T00:00:00"}, "finished: "),
    ({"finished": 2027}, "finished: expected"),
    ({"seconds": -1}, "seconds: expected a number"),
    ({"seconds": "1"}, "seconds: expected a number"),
    ({"reason": 5}, "reason: expected"),
    ({"scores": []}, "scores: expected a table"),
    ({"scores": ...}, "scores is missing"),
    ({"scores__dssim": 0.5}, "scores.dssim: expected a table"),
    ({"scores__dssim__mean": "0.5"}, "scores.dssim.mean: expected a number"),
    ({"scores__dssim__mean": 1e300}, "scores.dssim.mean: expected"),
    ({"scores__dssim__mean": ...}, "scores.dssim: mean is missing"),
    ({"scores__dssim__n": -1}, "scores.dssim.n: expected a whole number, 0 or more"),
    ({"scores__dssim__chance": 1.5}, "scores.dssim.chance: expected a number"),
    ({"inputs": None}, "inputs: expected a table"),
    ({"inputs__seed": -1}, "inputs.seed: expected a whole number, 0 or more"),
    ({"inputs__seed": 1.5}, "inputs.seed: expected a whole number"),
    ({"inputs__seed": 10**16}, "inputs.seed: expected a whole number"),
    ({"inputs__seed": ...}, "inputs: seed is missing"),
    ({"inputs__targets": ...}, "inputs: targets is missing"),
    ({"inputs__dataset": "photos"}, "inputs.dataset: expected a table"),
    ({"inputs__dataset__name": ["photos"]}, "inputs.dataset.name: expected text"),
    ({"inputs__dataset__height": 0}, "inputs.dataset.height: expected a whole number, 1 or more"),
    ({"inputs__defense__mixing": ...}, "inputs.defense: mixing is missing"),
    ({"inputs__defense__mixing__weights": []}, "inputs.defense.mixing.weights: expected"),
    ({"inputs__defense__mixing__weights": [[]]}, "inputs.defense.mixing.weights"),
    ({"inputs__defense__params": None}, "inputs.defense.params: expected a table"),
    ({"inputs__defense__version": "1"}, "inputs.defense.version: expected a whole number"),
    ({"inputs__metrics": ["dssim"]}, "inputs.metrics.#1: expected a table"),
    ({"inputs__versions": {"torch": 2}}, "inputs.versions.torch: expected text"),
    ({"inputs__device": ""}, "inputs.device: expected text"),
    ({"facts": None}, "facts: expected a table"),
    ({"facts__rehearsal": [1]}, "facts: rehearsal: expected a table"),
    ({"facts__wrong_rows": {"shown": 3, "targets": 2, "distractors": 1, "distractors_shown": 0}}, "facts: wrong_rows"),
    ({"facts__own_rows": {"shown": 3, "originals": 2}}, "facts: own_rows"),
    ({"facts__wrong_rows": {"shown": 0, "targets": 0, "distractors": 1, "distractors_shown": 0}}, "facts: wrong_rows"),
    ({"facts__elsewhere": {"reid_rank1": 1}}, "facts: elsewhere.reid_rank1: expected a table"),
    ({"asked": None}, "asked: expected a table"),
    ({"asked": {"limit": "all"}}, "asked.limit: expected a whole number"),
    ({"digest": 5}, "digest"),
    ({"digest": "0" * 64}, "digest"),
]


@pytest.mark.parametrize(("fields", "said"), FIELDS, ids=lambda value: str(value)[:60])
def test_a_field_of_another_shape_is_named(tmp_path, fields, said):
    kept = fields if "digest" not in fields else {}
    path = forged(tmp_path, **kept)
    if not kept:
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    assert said in refused(path)


def test_what_a_kind_of_record_has_to_name(tmp_path):
    assert "inputs: attack is missing" in refused(forged(tmp_path, "attack", inputs__attack=...))
    assert "inputs.attack: params is missing" in refused(forged(tmp_path, "attack", inputs__attack__params=...))
    assert "inputs: utility is missing" in refused(forged(tmp_path, "utility", inputs__utility=...))
    assert "inputs: utility.params: model is missing" in refused(
        forged(tmp_path, "utility", inputs__utility__params={})
    )
    assert "inputs: epochs is missing" in refused(forged(tmp_path, "utility", inputs__epochs=...))


ARRAYS = [
    ({"dssim": np.ones(3)}, "array 'dssim' is float64 of shape (3,); expected (200,) numbers"),
    ({"dssim": np.ones((200, 2))}, "array 'dssim' is float64 of shape (200, 2)"),
    ({"dssim": np.ones(0)}, "array 'dssim' is float64 of shape (0,)"),
    ({"dssim": np.float64(1.0)}, "array 'dssim' is float64 of shape ()"),
    ({"dssim": np.full(200, np.nan)}, "array 'dssim' holds nan; expected 0 to"),
    ({"dssim": np.full(200, np.inf)}, "array 'dssim' holds inf; expected 0 to"),
    ({"dssim": np.full(200, -1.0)}, "array 'dssim' holds -1.0; expected 0 to"),
    ({"dssim": np.array(["a"] * 200)}, "array 'dssim' holds <U1; expected numbers"),
    ({"dssim": np.ones(200, complex)}, "array 'dssim' holds complex128; expected numbers"),
    ({"reid_rank1": np.full(200, 2.0)}, "array 'reid_rank1' holds 2.0; expected 0 to 1"),
    ({"null_dssim": np.ones(200)}, "array 'null_dssim' is float64 of shape (200,); expected (200, derangements)"),
    ({"null_dssim": np.ones((200, 4))}, "array 'null_dssim' is float64 of shape (200, 4); expected 5 derangements"),
    ({"worst_dssim": np.ones(201)}, "array 'worst_dssim'"),
    ({"units": None}, "array 'units' is missing"),
    ({"units": np.arange(200.0)}, "array 'units' is float64"),
    ({"units": np.arange(-1, 199)}, "array 'units'"),
    ({"units": np.arange(0)}, "array 'units'"),
    ({"originals": np.arange(200)[::-1]}, "array 'originals' names an original twice, or is not sorted"),
    ({"held": np.zeros(200, int)}, "array 'held' names an original twice, or is not sorted"),
]


@pytest.mark.parametrize(("arrays", "said"), ARRAYS, ids=lambda value: str(value)[:60].replace("\n", " "))
def test_an_array_of_another_shape_is_named(tmp_path, arrays, said):
    assert said in refused(forged(tmp_path, arrays=arrays))


def test_accuracies_are_shares(tmp_path):
    assert "array 'utility' holds 3.0" in refused(forged(tmp_path, "utility", {"utility": np.full(50, 3.0)}))
    assert "array 'utility' is missing" in refused(
        forged(tmp_path, "utility", {"utility": None, "units": np.arange(9)})
    )


TEXTS = {
    "nested": "[" * 100_000 + "]" * 100_000,
    "nested tables": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "a list": "[1, 2]",
    "nothing": "",
    "a long number": '{"format": 1, "seconds": ' + "9" * 5000 + "}",
    "an infinite number": '{"format": 1, "seconds": 1e999}',
    "not a number": '{"format": 1, "seconds": NaN}',
    "not UTF-8": b'{"format": 1, "key": "\xff\xfe"}',
    "half a surrogate": '{"format": 1, "key": "\\ud800"}',
    "a field twice": '{"format": 1, "format": 1}',
    "spaces": " " * 20_000_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_no_document_is_refused_at_once(tmp_path, text):
    path = tmp_path / f"{'a' * 24}.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    refused(path)


def test_a_folder_or_a_pipe_of_that_name_is_refused(tmp_path):
    (tmp_path / f"{'a' * 24}.json").mkdir()
    os.mkfifo(tmp_path / f"{'b' * 24}.json")

    for path in sorted(tmp_path.iterdir()):
        assert "regular file" in refused(path) or "folder" in refused(path)


def declaring(shape: str) -> bytes:
    """An .npy file of no bytes whose header says how many there are."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (0,)})
    return stream.getvalue().replace(b"(0,), }" + b" " * 20, b"(" + shape.encode().ljust(22) + b",), }"[:4])


def packed(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([print], object), allow_pickle=True)
    return stream.getvalue()


NUMBERS = {
    "no zip file": b"numbers",
    "a pickle": {"dssim.npy": pickled()},
    "no array": {"readme.txt": b"hello"},
    "a bomb": {"dssim.npy": np.lib.format.magic(1, 0) + bytes(300_000_000)},
    "a petabyte": {"dssim.npy": declaring("9" * 15)},
}


@pytest.mark.parametrize("content", NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_are_none_are_refused_at_once_and_in_little_memory(tmp_path, content):
    path = forged(tmp_path)
    if isinstance(content, bytes):
        path.with_suffix(".npz").write_bytes(content)
    else:
        packed(path.with_suffix(".npz"), content)

    assert ".npz" in refused(path)


def test_rank_names_every_such_record_and_ranks_the_rest(tmp_path, capfd, caplog):
    kept = Records(tmp_path / "r").write(release("none"))
    paths = [forged(tmp_path / "r", **fields) for fields, _ in FIELDS[5:12]]
    paths += [forged(tmp_path / "r", arrays=arrays) for arrays, _ in ARRAYS[:1]]

    with caplog.at_level(logging.WARNING, "harness"):
        assert main(["rank", "--records", str(tmp_path / "r"), "--out", str(tmp_path / "lb"), "--json"]) == 0

    lines = [entry.getMessage() for entry in caplog.records]
    assert len(lines) == len({path.name for path in paths}) and all("set aside" in line for line in lines)
    assert kept.spec.key in capfd.readouterr().out


def test_a_plugins_figures_that_no_record_can_hold_are_a_failure_with_the_reason(tmp_path):
    """And the folder stays readable: what is written is what is read."""
    made = MADE["release"]
    broken = Records(tmp_path).write(
        type(made)(made.spec, "ok", None, made.scores, {**made.arrays, "mine": np.ones(3)}, made.facts)
    )

    assert broken.status == "failed" and "array 'mine'" in str(broken.reason)
    assert [each.status for each in Records(tmp_path).all()] == ["failed"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_numbers_that_cannot_be_read_now_are_no_damage(tmp_path, monkeypatch, caplog, number):
    written = Records(tmp_path).write(MADE["release"])
    whole = sorted(tmp_path.iterdir())

    real = Path.open

    def refuse(path, *given, **named):
        if path.suffix == ".npz":
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert list(Records(tmp_path).all()) == [] and "left out" in caplog.text
    assert sorted(tmp_path.iterdir()) == whole
    assert [record.spec.key for record in Records(tmp_path).all()] == [written.spec.key]
