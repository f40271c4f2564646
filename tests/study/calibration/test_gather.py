"""Judgements of several files are one set where they fit, and refused in one sentence where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.study.calibration.gather import gather
from harness.study.judgements import Judgements, write
from tests.helpers.judged import DATASET, by_hand, write_by_hand

DISTANCES, SEEN = (0.2, 0.4, 0.6, 0.8), (1, 1, 0, 0)


def test_people_and_an_attack_of_two_files_are_together(tmp_path):
    people = write_by_hand(tmp_path / "people.json", DISTANCES, SEEN, ("ann", "bo"))
    vision = write_by_hand(tmp_path / "vision.json", DISTANCES, (1, 0, 0, 0), ("google_vision",), kind="google_vision")

    found = gather([people, vision])

    assert (found.name, found.height, found.width, found.simulated) == ("pictures", 64, 64, False)
    assert len(found.pairs) == 4 and len(found.judgements) == 12
    assert {each.kind for each in found.judgements} == {"person", "google_vision"}


def test_a_distance_that_one_file_lacks_is_the_others(tmp_path):
    one = write_by_hand(tmp_path / "one.json", DISTANCES, SEEN, metrics={"dssim": None, "mse": 3.0})
    other = write_by_hand(tmp_path / "other.json", DISTANCES, SEEN, ("bo",), metrics={"dssim": 0.5, "mse": 3.0})

    assert {pair.metrics["dssim"] for pair in gather([one, other]).pairs.values()} == {0.5}


def test_one_survey_of_two_can_be_chosen(tmp_path):
    one = by_hand(DISTANCES, SEEN)
    other = [replace(each, image=each.image.replace("s1", "s2")) for each in one.pairs]
    more = [replace(each, image=each.image.replace("s1", "s2")) for each in one.judgements]
    write(Judgements(DATASET, [*one.pairs, *other], [*one.judgements, *more]), tmp_path / "both.json")

    assert gather([tmp_path / "both.json"]).surveys == ["s1", "s2"]
    assert len(gather([tmp_path / "both.json"], ["s2"]).judgements) == 4
    with pytest.raises(HarnessError, match=r"no judgements of survey 's3' \(surveys: 's1', 's2'\)"):
        gather([tmp_path / "both.json"], ["s3"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": {**DATASET, "width": 96}}, "width 96 is not 64 of"),
        ({"dataset": {**DATASET, "fingerprint": "e" * 32}}, "fingerprint 'e+' is not 'f+' of"),
        ({"dataset": {**DATASET, "height": "tall"}}, "dataset: height: expected a whole number"),
        ({"dataset": {"name": "pictures"}}, "dataset: height is missing"),
        ({"dataset": {**DATASET, "simulated": "yes"}}, "dataset: simulated: expected true or false"),
        ({"metrics": {"dssim": 0.3}}, "'dssim' of image 's1/q00', source 0 is 0.3, and 0.2 in another file"),
        ({"people": ("ann",)}, "'ann' judged image 's1/q00', source 0 in .*one.json too"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, change, said):
    one = write_by_hand(tmp_path / "one.json", DISTANCES, SEEN)
    other = write_by_hand(tmp_path / "other.json", DISTANCES, SEEN, **{"people": ("bo",), **change})

    with pytest.raises(HarnessError, match=said) as refused:
        gather([one, other])
    assert "other.json" in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_without_judgements_is_refused(tmp_path):
    write(Judgements(DATASET, [], []), tmp_path / "none.json")

    with pytest.raises(HarnessError, match=r"none\.json: holds no judgements; write some"):
        gather([tmp_path / "none.json"])
