"""`harness survey make`, `score` and `ask` on a folder of stripes: what they print, write and refuse."""

from __future__ import annotations

import json
import sys

import pytest

from harness.cli import main
from harness.study import key as keys
from harness.study.judgements import read
from tests.helpers.answers import refused
from tests.helpers.planted import picture_folder
from tests.helpers.surveys import write_answers

ENTRIES = """
attacks:
  first: {use: "tests.helpers.planted:first_class", version: 1, kind: recognition, cite: planted}
  keyed: {use: "tests.helpers.planted:wants_a_key", version: 1, kind: recognition, cite: planted}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with pictures, and a survey of them."""
    place = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        picture_folder(place / "stripes", each=60, size=32)
        options = ["--dataset", str(place / "stripes"), "--seed", "4", "--out", str(place / "survey")]
        assert main(["survey", "make", *options]) == 0
    (place / "mine.yaml").write_text(ENTRIES)
    return place


@pytest.fixture
def harness(capsys, monkeypatch, made):
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments):
        code = main(["survey", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def key(made):
    return keys.read(made / "survey.key.json")


def answered(key, folder, person, count):
    """The true classes of the first questions, and "I cannot tell" to the others."""
    answers = {
        question.id: [key.classes[number] for number in question.classes] if place < count else []
        for place, question in enumerate(key.questions)
    }
    return write_answers(folder / f"answers-{person}.json", key, person, answers)


def test_a_survey_is_made_with_its_key_beside_it(made, key):
    assert sorted(path.name for path in made.iterdir() if path.name.startswith("survey")) == [
        "survey",
        "survey.key.json",
    ]
    assert key.dataset["name"] == "stripes" and key.seed == 4 and key.size == (32, 32)
    assert key.request == {"size": None, "limit": None, "public_share": None}


def test_make_says_what_it_made_and_refuses_to_make_it_again(harness, made, tmp_path):
    options = ("make", "--dataset", made / "stripes", "--seed", 5, "--paper-knobs", "--size", 48)
    code, out, err = harness(*options, "--out", tmp_path / "other", "--key", tmp_path / "kept.json", "--json")
    document = json.loads(out)
    assert code == 0 and document["questions"] == 49 and document["pairs"] == 105 and document["knobs"] == "as printed"
    assert document["classes"] == ["across", "down", "slanted"] and "shows private images" in err
    assert json.loads((tmp_path / "kept.json").read_text())["survey"] == document["survey"]
    assert refused(harness(*options, "--out", tmp_path / "other"), "not empty")
    assert refused(harness(*options, "--out", tmp_path / "new", "--key", tmp_path / "kept.json"), "is there already")
    assert refused(harness(*options, "--out", tmp_path / "new", "--key", tmp_path / "new/k.json"), "inside the survey")


def test_score_prints_the_table_and_writes_judgements(harness, made, key, tmp_path):
    files = [answered(key, tmp_path, "ann", 49), answered(key, tmp_path, "bo", 0)]
    files.append(write_answers(tmp_path / "answers-cy.json", key, "cy", {"q01": []}))
    out_file = tmp_path / "judgements.json"
    code, out, err = harness("score", made / "survey.key.json", *files, "--out", out_file)
    assert code == 0 and max(map(len, out.replace(str(out_file), "").splitlines())) <= 80
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert lines["technique"].split() == [
        "technique", "images", "pairs", "recognised", "right", "unsure", "open", "agree",
    ]  # fmt: skip
    assert lines["ann"].split()[1:4] == ["49", "105", "1.000"] and lines["bo"].split()[1:4] == ["49", "105", ".000"]
    assert lines["cy"].split()[1:3] == ["1", str(len(key.questions[0].classes))] and lines["cy"].split()[-2:] == [
        "48",
        "-",
    ]
    assert lines["mix3"].split()[1] == "7" and lines["all"].split()[1] == "49"
    found = read(out_file)
    missing = {name for pair in found.pairs for name, value in pair.metrics.items() if value is None}
    assert {line.split()[4].rstrip(":") for line in err.splitlines()} == missing
    assert len(found.pairs) == 105 and len(found.judgements) == 210 + len(key.questions[0].classes)


def test_score_as_json(harness, made, key, tmp_path):
    code, out, _ = harness("score", made / "survey.key.json", answered(key, tmp_path, "ann", 49), "--json")
    document = json.loads(out)
    assert code == 0 and document["surveys"] == [key.survey] and document["out"] is None
    assert [row["name"] for row in document["judges"]] == ["ann"] and document["all"][0]["recognised"] == 1


def test_bad_answers_and_keys_are_refused_in_one_line(harness, made, key, tmp_path):
    survey_key, ann = made / "survey.key.json", answered(key, tmp_path, "ann", 3)
    copy = tmp_path / "copy.json"
    copy.write_text(ann.read_text())
    assert refused(harness("score", survey_key, ann, copy), "answers of 'ann' to this survey too")
    assert refused(harness("score", survey_key, survey_key), "no field", "survey.key.json")
    assert refused(harness("score", ann, ann), "answers-ann.json")
    assert refused(harness("score", survey_key, tmp_path / "none.json"), "no such file of answers")
    assert refused(harness("score", survey_key, ann, "--also", survey_key), "given twice")
    assert refused(harness("score", survey_key, ann, "--out", tmp_path / "no/where.json"), "cannot be written")
    before = survey_key.read_bytes()
    assert refused(harness("score", survey_key, ann, "--out", survey_key), "would replace a file")
    assert refused(harness("ask", survey_key, "--attack", "timm_labels", "--out", survey_key), "would replace a file")
    assert survey_key.read_bytes() == before


def test_ask_prints_the_same_table_for_an_attack(harness, made, key, tmp_path):
    code, out, _ = harness(
        "ask",
        made / "survey.key.json",
        "--attack",
        "first",
        "--registry",
        made / "mine.yaml",
        "--out",
        tmp_path / "j.json",
    )
    assert code == 0
    first = sum(0 in question.classes for question in key.questions)
    found = read(tmp_path / "j.json")
    assert sum(each.recognised for each in found.judgements) == first and len(found.judgements) == 105
    assert [line for line in out.splitlines() if line.startswith("first")]


def test_ask_skips_what_lacks_something_and_says_why(harness, made, tmp_path, monkeypatch):
    options = ("ask", made / "survey.key.json", "--registry", made / "mine.yaml", "--out", tmp_path / "j.json")
    assert refused(harness(*options, "--attack", "keyed"), "keyed was skipped: no credentials; set PLANTED_KEY")
    assert not (tmp_path / "j.json").exists()
    code, _, err = harness(*options, "--attack", "keyed,first")
    assert code == 2 and "keyed was skipped" in err and len(read(tmp_path / "j.json").judgements) == 105
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "K_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert refused(harness("ask", made / "survey.key.json", "--attack", "google_vision"), "google_vision was skipped: ")


def test_ask_for_an_attack_that_learns_needs_the_data_set_of_the_survey(harness, made, tmp_path):
    key = made / "survey.key.json"
    assert refused(harness("ask", key, "--attack", "clean_cnn"), "give it with --dataset")
    other = picture_folder(tmp_path / "others", size=32, seed=9)
    assert refused(harness("ask", key, "--attack", "clean_cnn", "--dataset", other), "was made of other images")
    assert refused(harness("ask", key, "--attack", "look"), "names no classes")
    code, out, _ = harness("ask", key, "--attack", "clean_cnn", "--dataset", made / "stripes")
    assert code == 0 and "clean_cnn" in out
