"""Answers of people are read as the page saves them, scored as the paper does, and anything else is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from harness.errors import HarnessError
from harness.registry import load_registry
from harness.study import answers
from harness.study.agreement import Said, judge, table
from harness.study.judgements import PEOPLE, read, write
from tests.helpers.surveys import simulated, survey, write_answers

KEY = survey().key


def said(*people):
    """people: (name, answers by class names)"""
    numbers = {name: number for number, name in enumerate(KEY.classes)}
    return [
        Said(KEY, question, person, PEOPLE, frozenset(numbers[name] for name in given[question.id]))
        if question.id in given
        else Said(KEY, question, person, PEOPLE, None)
        for person, given in people
        for question in KEY.questions
    ]


def truth(question):
    return [KEY.classes[number] for number in question.classes]


# Files


def test_a_file_is_read_as_it_was_saved(tmp_path):
    file = write_answers(tmp_path / "a.json", KEY, "ann", {"q01": ["red_fox", "blue_car"], "q02": []})
    ((key, found),) = answers.read([file], [survey(seed=2).key, KEY])
    assert key is KEY and found.person == "ann"
    assert found.answers == {"q01": {0, 2}, "q02": set()}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"survey": "0" * 16}, "answers to survey '0000000000000000', and the key is of"),
        ({"answers": {"q01": ["red_foxes"]}}, "q01: no class 'red_foxes'.*did you mean 'red_fox'"),
        ({"answers": {"q01": ["red_fox", "red_fox"]}}, "q01: a class is named twice"),
        ({"answers": {"q50": []}}, "no question 'q50'"),
        ({"answers": {"q01": "red_fox"}}, "expected a list"),
        ({"answers": {"q01": [2]}}, "expected text"),
        ({"answers": []}, "expected a table"),
        ({"answers": {f"q{number}": [] for number in range(60)}}, "answers"),
        ({"person": "Ann Miller"}, "letters, digits"),
        ({"person": ""}, "letters, digits"),
        ({"person": "../../x"}, "letters, digits"),
        ({"person": "ann\n"}, "letters, digits"),
        ({"form": 2}, "form"),
        ({"age": 30}, "no field 'age'"),
    ],
)
def test_another_document_is_refused_in_one_line(tmp_path, document, said):
    file = tmp_path / "a.json"
    whole = {"form": 1, "survey": KEY.survey, "person": "ann", "answers": {"q01": ["red_fox"]}}
    file.write_text(json.dumps(whole | document))
    with pytest.raises(HarnessError, match=said) as refused:
        answers.read([file], [KEY])
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 5000, "nested more than|not JSON"),
        ('{"form": 1, "form": 1}', "written twice"),
        ("x" * (answers.ANSWER_BYTES + 1), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(HarnessError, match=said):
        answers.read([tmp_path / "a.json"], [KEY])


def test_a_person_answers_a_survey_once_and_may_answer_another_one(tmp_path):
    first = write_answers(tmp_path / "a.json", KEY, "ann", {})
    second = write_answers(tmp_path / "b.json", KEY, "ann", {"q01": []})
    other = write_answers(tmp_path / "c.json", survey(seed=2).key, "ann", {})
    assert len(answers.read([first, other], [KEY, survey(seed=2).key])) == 2
    with pytest.raises(HarnessError, match=r"b.json: .*a.json holds answers of 'ann' to this survey too"):
        answers.read([first, second], [KEY])


# Scores


def test_the_paper_s_rule_a_source_is_recognised_where_its_class_is_named_however_many_are():
    right = ("right", {question.id: truth(question) for question in KEY.questions})
    every = ("every", {question.id: list(KEY.classes) for question in KEY.questions})
    nothing = ("nothing", {question.id: [] for question in KEY.questions})
    first = ("first", {question.id: truth(question)[:1] for question in KEY.questions})
    rows = {row.name: row for row in table(said(right, every, nothing, first))["judges"]}

    assert [rows[name].recognised for name in ("right", "every", "nothing")] == [1, 1, 0]
    assert [rows[name].right for name in ("right", "every", "nothing", "first")] == [1, 105 / (49 * 4), None, 1]
    assert [rows[name].pairs for name in rows] == [105] * 4 and rows["every"].named == 49 * 4
    assert rows["nothing"].cannot_tell == 49 and rows["right"].cannot_tell == 0
    assert rows["first"].recognised == pytest.approx((42 * 0.5 + 7 / 3) / 49)


def test_a_hand_made_file_gives_the_table_that_is_counted_by_hand():
    """Of the seven questions of mix: three with both classes, one with the second, one wrong, one unsure, one open."""
    mix = [question for question in KEY.questions if question.technique == "mix"]
    wrong = next(name for name in KEY.classes if name not in truth(mix[4]))
    given = {question.id: truth(question) for question in mix[:3]}
    given |= {mix[3].id: truth(mix[3])[1:], mix[4].id: [wrong], mix[5].id: []}
    rows = table(said(("ann", given)))
    (row,) = [row for row in rows["techniques"] if row.name == "mix"]
    assert (row.images, row.pairs, row.named, row.cannot_tell, row.open) == (6, 12, 8, 1, 1)
    assert row.recognised == pytest.approx(7 / 12) and row.right == pytest.approx(7 / 8) and row.agree is None
    assert [r.name for r in rows["techniques"]] == [
        "mix", "mix3", "graft_mix", "shuffle_mix", "noise_mix", "pixelize_mix", "blur_mix",
    ]  # fmt: skip
    assert all((r.images, r.pairs, r.recognised, r.open) == (0, 0, None, 7) for r in rows["techniques"][1:])
    assert (rows["all"][0].pairs, rows["all"][0].open) == (12, 43)


def test_agreement_is_the_share_of_pairs_of_judges_with_one_verdict():
    question = KEY.questions[0]
    both, one, none = truth(question), truth(question)[:1], []
    people = [(name, {question.id: named}) for name, named in (("a", both), ("b", one), ("c", none))]
    count = len(both)
    # the first source: yes yes no (1 of 3 pairs agree); the others: yes no no (1 of 3)
    assert table(said(*people))["all"][0].agree == pytest.approx(1 / 3)
    assert table(said(people[0], people[0]))["all"][0].agree == 1
    assert table(said(people[0], people[1]))["all"][0].agree == pytest.approx(1 / count)


@pytest.fixture(scope="module")
def judged():
    people = [("ann", {"q01": truth(KEY.questions[0]), "q02": []}), ("bo", {"q01": []})]
    return judge([KEY], said(*people), load_registry())


def test_an_open_question_gives_no_judgement_and_i_cannot_tell_gives_one_for_each_source(judged):
    found, _ = judged
    images = {(each.image, each.by): [] for each in found.judgements}
    for each in found.judgements:
        images[each.image, each.by].append(each.recognised)
    counts = [len(question.classes) for question in KEY.questions[:2]]
    assert images == {
        (f"{KEY.survey}/q01", "ann"): [True] * counts[0],
        (f"{KEY.survey}/q02", "ann"): [False] * counts[1],
        (f"{KEY.survey}/q01", "bo"): [False] * counts[0],
    }
    assert {each.kind for each in found.judgements} == {"person"}


def test_every_pair_has_the_distance_to_its_source_by_every_metric(judged):
    """dSSIM and MSE against scikit-image and NumPy; a metric without weights is null with its reason."""
    found, reasons = judged
    assert len(found.pairs) == 105
    questions = {KEY.image_id(question): question for question in KEY.questions}
    for pair in found.pairs:
        question = questions[pair.image]
        assert pair.technique == question.technique
        image, source = (x.astype(float) for x in (question.image, question.sources[pair.source]))
        similar = structural_similarity(
            image, source, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert pair.metrics["dssim"] == pytest.approx(1 - similar, abs=0.02)
        assert pair.metrics["mse"] == pytest.approx(np.square(image - source).mean(), rel=1e-4)
        assert set(pair.metrics) == set(load_registry().section("metrics"))
        assert all((pair.metrics[name] is None) == (name in reasons) for name in pair.metrics)


def test_judgements_are_written_and_read(judged, tmp_path):
    found, _ = judged
    write(found, tmp_path / "judgements.json")
    again = read(tmp_path / "judgements.json")
    assert again == found
    assert again.dataset == {
        "name": "colours", "fingerprint": "f" * 32, "height": 32, "width": 32, "surveys": [KEY.survey],
        "knobs": "scaled",
    }  # fmt: skip


def test_surveys_of_one_data_set_are_scored_together_and_others_are_not():
    second = survey(seed=2).key
    found, _ = judge([KEY, second], [], load_registry())
    assert len({(pair.image, pair.source) for pair in found.pairs}) == 210
    with pytest.raises(HarnessError, match="of another data set, size or knobs"):
        judge([KEY, survey(size=48).key], [], load_registry())
    with pytest.raises(HarnessError, match="given twice"):
        judge([KEY, KEY], [], load_registry())


def test_simulated_people_are_scored_as_they_were_simulated(judged):
    """SIMULATED: 20 people whose chance is a known function of dSSIM; the share that was recognised is its mean."""
    dssim = {(pair.image.rpartition("/")[2], pair.source): pair.metrics["dssim"] for pair in judged[0].pairs}
    people = [(f"simulated{n}", simulated(KEY, dssim, f"simulated{n}", threshold=0.8, width=0.1)) for n in range(20)]
    rows = table(said(*people))
    chances = {q.id: [1 / (1 + math.exp((dssim[q.id, s] - 0.8) / 0.1)) for s in range(len(q.classes))]
               for q in KEY.questions}  # fmt: skip
    expected = np.mean([np.mean(values) for values in chances.values()])
    spread = math.sqrt(sum(p * (1 - p) for values in chances.values() for p in values) / 20) / 105
    assert 0.1 < expected < 0.9
    assert abs(rows["all"][0].recognised - expected) < 4 * spread
    assert rows["all"][0].right == 1
