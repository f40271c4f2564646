"""SIMULATED people with a known threshold answer 24 surveys; and what cannot be calibrated says why in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from harness.errors import HarnessError
from harness.study.calibration.calibrate import calibrate, document, source_of
from harness.study.calibration.gather import gather
from harness.study.calibration.roc import ACC, CUT_OFF
from harness.study.judgements import write
from tests.helpers.judged import DATASET, HALF, WIDTH, answered_surveys, by_hand, write_by_hand

DISTANCES, SEEN = (0.2, 0.5, 0.4, 0.8), (1, 1, 0, 0)
PEOPLE = ("ann", "bo", "cy")
DOUBT = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    file = tmp_path_factory.mktemp("judged") / "judgements.json"
    write(answered_surveys(), file)
    return calibrate(gather([file]))


def of(metric, calibration, kind=0):
    return next(each for each in calibration.against[kind].metrics if each.metric == metric)


def calibrated(tmp_path, *given, **more):
    return calibrate(gather([write_by_hand(tmp_path / "judgements.json", *given, **more)]))


@pytest.mark.slow
def test_the_threshold_of_24_surveys_is_within_its_interval(simulated):
    """t_acc of the population is where the chance of not being recognised is the share of all that are not."""
    found = of("dssim", simulated)
    chance = expit((found.distances - HALF) / WIDTH)
    t_acc = HALF + WIDTH * np.log(chance.mean() / (1 - chance.mean()))
    every = np.sort(found.distances)
    above, below = np.cumsum(chance[np.argsort(found.distances)]), np.cumsum(1 - chance[np.argsort(found.distances)])
    far = (1 - below / below[-1]) ** 2 + (above / above[-1]) ** 2

    assert expit((t_acc - HALF) / WIDTH) == pytest.approx(chance.mean())
    assert found.chosen[ACC].low < t_acc < found.chosen[ACC].high
    assert found.chosen[CUT_OFF].low < every[far.argmin()] < found.chosen[CUT_OFF].high
    assert found.chosen[ACC].high - found.chosen[ACC].low < 0.06
    assert found.grade == "outstanding" and found.tells


@pytest.mark.slow
def test_a_metric_that_is_noise_has_an_auc_of_a_half_within_its_interval(simulated):
    found = of("noise", simulated)

    assert found.low < 0.5 < found.high and found.high - found.low < 0.08
    assert not found.tells and found.chosen[ACC].low is None
    assert set(simulated.limits) == {"dssim"}  # these people do not see what dHaar measures


@pytest.mark.slow
def test_what_is_simulated_is_headed_so(simulated):
    assert document(simulated)["simulated"] is True
    assert source_of(simulated).startswith("SIMULATED: 24 people, 2,520 judgements of 2,520 pairs")


def test_judges_are_kept_apart_by_kind(tmp_path):
    people = write_by_hand(tmp_path / "people.json", DISTANCES, DOUBT, PEOPLE)
    vision = write_by_hand(tmp_path / "vision.json", DISTANCES, (0, 0, 1, 1), ("google_vision",), kind="google_vision")

    found = calibrate(gather([vision, people]))

    assert [each.kind for each in found.against] == ["person", "google_vision"]
    assert of("dssim", found).auc > 0.5 > of("dssim", found, 1).auc  # these labels recognise what is far
    assert of("dssim", found).clusters.by == ("people", "images")
    assert of("dssim", found, 1).clusters.by == ("images",) and found.against[1].notes == []


def test_thresholds_of_boards_are_the_stricter_of_both_and_of_people_alone(tmp_path):
    rng = np.random.default_rng(2)
    distances = rng.uniform(0.2, 0.9, 60)
    seen = rng.random((5, 60)) > expit((distances - 0.5) / 0.08)
    found = calibrated(tmp_path, distances, seen, tuple("abcde"))
    chosen = of("dssim", found).chosen

    assert found.limits == {"dssim": round(max(chosen[ACC].threshold, chosen[CUT_OFF].threshold), 2)}
    alone = calibrated(tmp_path, distances, seen[:1], ("google_vision",), kind="google_vision")
    assert alone.limits == {}


def test_one_person_is_calibrated_over_images_and_that_is_said(tmp_path):
    found = calibrated(tmp_path, DISTANCES, SEEN)

    assert found.against[0].notes == [
        "one person judged: intervals hold the choice of images alone, not that of people"
    ]
    assert of("dssim", found).clusters.by == ("images",) and of("dssim", found).low is not None


def test_a_perfect_metric_has_no_interval(tmp_path):
    found = of("dssim", calibrated(tmp_path, (0.2, 0.3, 0.7, 0.8), SEEN, PEOPLE))

    assert (found.auc, found.low, found.high, found.grade, found.tells) == (1.0, None, None, "outstanding", False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((DISTANCES, (0, 0, 0, 0)), r"no pair was recognised \(person\), so there is no ROC curve; ask about easier"),
        (
            (DISTANCES, (1, 1, 1, 1)),
            r"every pair was recognised \(person\), so there is no ROC curve; ask about harder",
        ),
        (((0.5, 0.5, 0.5, 0.5), SEEN), r"dSSIM is \.500 for every pair, so it tells none from another"),
    ],
)
def test_what_cannot_be_calibrated_says_why(tmp_path, given, said):
    with pytest.raises(HarnessError, match=f"nothing can be calibrated: {said}") as refused:
        calibrated(tmp_path, *given, PEOPLE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"fid": None}, "Inception feature distance was not measured of any pair"),
        ({"dssim": 0.5, "fid": None}, "Inception feature distance was not measured of any"),
    ],
)
def test_a_metric_without_its_weights_is_said(tmp_path, metrics, said):
    with pytest.raises(HarnessError, match=said):
        calibrated(tmp_path, DISTANCES, SEEN, PEOPLE, metrics=metrics)


def test_pairs_without_distances_are_said(tmp_path):
    made = by_hand(DISTANCES, SEEN)
    pairs = [type(pair)(pair.image, pair.source, pair.technique, {}) for pair in made.pairs]
    write(type(made)(DATASET, pairs, made.judgements), tmp_path / "judgements.json")

    with pytest.raises(HarnessError, match="the files hold no distances of these pairs"):
        calibrate(gather([tmp_path / "judgements.json"]))
