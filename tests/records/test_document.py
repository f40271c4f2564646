"""harness.records.document: every record that was ever written has the shape, and what has not is one line."""

import copy
import json

import pytest

from harness.errors import HarnessError
from harness.records.document import checked, read_record
from tests.helpers.paths import ROOT

FILES = sorted((ROOT / "leaderboards").glob("**/[0-9a-f]*[0-9a-f].json"))
if not FILES:
    pytest.skip("a source distribution has no records", allow_module_level=True)
RECORD = json.loads(next(f for f in FILES if '"attacked_dssim"' in f.read_text()).read_text())


def test_every_committed_record_has_the_shape():
    for file in FILES[::7]:
        assert read_record(file) == json.loads(file.read_text())


def changed(place, value):
    document = copy.deepcopy(RECORD)
    *path, last = place.split(".")
    inner = document
    for step in path:
        inner = inner[step]
    inner[last] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("format", 2, "r.json: format: expected 1, got 2"),
        ("key", "../x", "r.json: key: expected a hash"),
        ("kind", "attacks", "r.json: kind: expected attack or release or utility, got 'attacks'"),
        ("status", "done", "r.json: status: expected"),
        ("inputs", [], "r.json: inputs: expected a table, got []"),
        ("inputs.dataset", "x", "r.json: inputs.dataset: expected a table, got 'x'"),
        ("inputs.dataset.name", 3, "r.json: inputs.dataset.name: expected text, got 3"),
        ("inputs.dataset.name", "x" * 301, "inputs.dataset.name: expected text of length 300 or less"),
        ("inputs.dataset.height", 0, "inputs.dataset.height: expected a whole number, 1 or more, got 0"),
        ("inputs.defense.name", None, "inputs.defense.name: expected text, got nothing"),
        ("inputs.defense.params", [1], "inputs.defense.params: expected a table"),
        ("inputs.defense.mixing.weights", [[[1.0]]], "inputs.defense.mixing.weights.#1.#1: expected a number"),
        ("inputs.defense.mixing.weights", None, "inputs.defense.mixing.weights: expected"),
        ("inputs.attack", None, "r.json: inputs: attack: expected a table, got nothing"),
        ("inputs.attack.granted", "labels", "inputs.attack.granted: expected a list"),
        ("inputs.judges", [{"name": "x"}], "inputs.judges.#1: version is missing"),
        ("inputs.attack.params", {"arch": {"beta": 1}}, "inputs: attack.params.arch: expected text or nothing"),
        ("inputs.attack.params", None, "inputs.attack.params: expected a table, got nothing"),
        ("inputs.seed", -1, "inputs.seed: expected a whole number, 0 or more"),
        ("inputs.seed", True, "inputs.seed: expected a whole number, got true"),
        ("inputs.versions", {"torch": 2}, "inputs.versions.torch: expected text, got 2"),
        ("scores.attacked_dssim", 3, "scores.attacked_dssim: expected a table, got 3"),
        ("scores.attacked_dssim.mean", "high", "scores.attacked_dssim.mean: expected"),
        ("scores.attacked_dssim.n", 1.5, "scores.attacked_dssim.n: expected a whole number, got 1.5"),
        ("scores", {"a": {"n": 1, "mean": 0.5}, "b": {}}, "scores.b: n is missing"),
        ("facts", None, "facts: expected a table, got nothing"),
        ("seconds", -1, "seconds: expected a number, 0"),
        ("finished", "2026-13-45", "finished: expected a time such as"),
        ("reason", ["x"], "reason: expected text or nothing"),
    ],
)
def test_what_has_not_the_shape_is_one_line_with_file_field_and_value(place, value, said):
    with pytest.raises(HarnessError) as caught:
        checked(changed(place, value), "r.json")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("document", [None, [], 3, "x", {}, {"format": 1}])
def test_what_is_no_record_at_all_is_refused(document):
    with pytest.raises(HarnessError, match=r"^r\.json: "):
        checked(document, "r.json")


def test_what_a_later_version_adds_is_let_through():
    document = changed("inputs.defense.published", "0" * 32)
    document["digest"] = "0" * 64
    assert checked(document, "r.json") == document


def test_a_utility_record_says_which_training_it_is_of():
    record = json.loads(next(file for file in FILES if '"kind": "utility"' in file.read_text()).read_text())
    del record["inputs"]["utility"]["params"]["recipe"]
    with pytest.raises(HarnessError, match=r"inputs: utility\.params: recipe is missing"):
        checked(record, "r.json")
