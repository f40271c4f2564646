"""Attacks judge the images of a survey: label services by the paper's rule, recognisers by their likeliest class."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, Skipped
from harness.plugins.attacks import google_vision
from harness.registry import Entry, load_registry
from harness.study.agreement import judge, table
from harness.study.ask import ask, check, check_data, needs_data
from harness.types import Guess
from tests.helpers.surveys import splits, survey

KEY, OTHER = survey().key, survey(seed=2).key
COLOURS = torch.tensor([[40, 60, 200], [40, 180, 60], [200, 60, 40], [220, 220, 220]]).float()


def likeness(observation, rng, **knobs):
    """Two classes with a positive score: the two colours nearest to the mean of the image."""
    means = observation.images[observation.targets].float().mean((2, 3))
    nearest = torch.cdist(means, COLOURS).argsort(1)
    scores = torch.zeros(len(means), 4)
    scores.scatter_(1, nearest[:, :1], 0.9)
    scores.scatter_(1, nearest[:, 1:2], 0.5)
    scores[means.std(1) < 5] = 0  # no answer for grey images
    return Guess(scores=scores)


seen = []


def knows(observation, rng):
    """Records which settings it is told of and how many images it gets; answers the first class."""
    weights = observation.defense.mixing["weights"]
    stack = torch.rand(1, len(weights), 3, 32, 32)
    observation.apply(stack, torch.tensor([weights], dtype=torch.float32), rng)
    release, _ = observation.rehearse(observation.public.images, observation.public.labels, 0)
    seen.append((dict(observation.defense.params), tuple(weights), len(observation.images), len(release)))
    return Guess(scores=torch.eye(4)[:1].expand(len(observation.images), -1), report={"learned": len(weights) == 2})


def entry(function, granted=(), params=None):
    return Entry(function, "attacks", f"tests.study.test_ask:{function}", 1, params or {}, kind="recognition",
                 granted=granted, cite="planted")  # fmt: skip


def nearest(question):
    """The classes by how near their colour is to the image's, and whether the image is grey; in NumPy."""
    mean = question.image.astype(float).mean((1, 2))
    order = np.square(COLOURS.numpy() - mean).sum(1).argsort()
    return list(order), mean.std(ddof=1) < 5


def test_an_attack_that_labels_names_every_class_with_a_label_and_another_one_its_likeliest():
    labels, _ = ask([KEY], entry("likeness", params={"labels": 10}), load_registry(), None)
    single, _ = ask([KEY], entry("likeness"), load_registry(), None)
    assert [each.question.id for each in labels] == [question.id for question in KEY.questions]
    for both, one in zip(labels, single, strict=True):
        order, grey = nearest(both.question)
        assert both.named == (set() if grey else set(order[:2]))
        assert one.named == (set() if grey else {order[0]})
        assert (both.by, both.kind) == ("likeness", "likeness")


def test_the_images_of_one_defense_and_setting_are_attacked_together_and_others_apart():
    seen.clear()
    said, lost = ask([KEY, OTHER], entry("knows", ("defense", "public")), load_registry(), splits())
    expected = Counter(
        (tuple(sorted(question.params.items())), question.weights) for key in (KEY, OTHER) for question in key.questions
    )
    assert Counter({(tuple(sorted(params.items())), weights): count for params, weights, count, _ in seen}) == expected
    assert {rehearsed for *_, rehearsed in seen} == {24}
    assert [(each.key.survey, each.question.id) for each in said] == [
        (key.survey, question.id) for key in (KEY, OTHER) for question in key.questions
    ]
    assert lost == len({q.weights for key in (KEY, OTHER) for q in key.questions if len(q.weights) == 3})


def test_a_network_that_is_trained_on_the_defense_recognises_colours():
    """`linear`, on the questions of grafting and pixelizing: their colours are those of the sources."""
    some = type(KEY)(**{**vars(KEY), "questions": [q for q in KEY.questions if q.technique == "pixelize_mix"][:3]})
    said, lost = ask([some], load_registry().get("attacks", "linear"), load_registry(), splits())
    assert lost == 0 and all(len(each.named) == 1 for each in said)
    assert sum(any(each.hits) for each in said) >= 2
    found, _ = judge([some], said, load_registry())
    assert len(found.judgements) == 6 and {each.kind for each in found.judgements} == {"linear"}
    assert table(said)["judges"][0].name == "linear"


def test_what_a_survey_cannot_give_is_refused():
    registry = load_registry()
    with pytest.raises(HarnessError, match="kind reconstruction and names no classes"):
        check(registry.get("attacks", "look"))
    with pytest.raises(HarnessError, match="cnn_release needs labels"):
        check(registry.get("attacks", "cnn_release"))
    for name in ("google_vision", "timm_labels", "cnn", "clean_cnn", "linear"):
        check(registry.get("attacks", name))
    assert [needs_data(registry.get("attacks", name)) for name in ("google_vision", "cnn")] == [False, True]


def test_other_images_and_none_to_learn_from_are_refused():
    from dataclasses import replace

    with pytest.raises(HarnessError, match="was made of other images"):
        check_data([KEY], replace(splits(), fingerprint="0" * 32))
    with pytest.raises(HarnessError, match="no public images to learn from"):
        check_data([KEY], replace(splits(), public=splits().public.take(np.array([], np.int64))))
    check_data([KEY], splits())


def test_scores_of_another_shape_are_refused(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "likeness", lambda observation, rng: Guess(scores=torch.zeros(2, 4)))
    with pytest.raises(HarnessError, match=r"likeness: scores of shape \(2, 4\); expected finite ones, 49 x 4"):
        ask([KEY], entry("likeness"), load_registry(), None)


# Google Vision, over a real connection to a server on this machine


@pytest.fixture
def service(monkeypatch, tmp_path):
    pytest.importorskip("google.cloud.vision")
    from tests.helpers.vision_service import Service

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(google_vision, "_requests", 0)
    made = Service()

    def colours(request, context):
        import io

        from PIL import Image

        pictures = [np.asarray(Image.open(io.BytesIO(one.image.content))) for one in request.requests]
        made.asked.append((pictures, None))
        names = ["Automobile", "frog", "vulpes", "cat"]
        answers = [[names[number] for number in nearest_of(picture)[:2]] for picture in pictures]
        return made.vision.BatchAnnotateImagesResponse(
            responses=[made.labelled((one, 0.9), ("Pattern", 0.8), (two, 0.6)) for one, two in answers]
        )

    def nearest_of(picture):
        return np.square(COLOURS.numpy() - picture.astype(float).mean((0, 1))).sum(1).argsort()

    made.server.stop(None).wait()
    monkeypatch.setattr(Service, "answer", lambda self, request, context: colours(request, context))
    made = Service()
    yield made
    made.server.stop(None).wait()


def test_google_vision_is_asked_about_the_released_images_and_counts_as_in_the_paper(service):
    names = {"blue_car": ["automobile"], "green_frog": ["frog"], "red_fox": ["vulpes"], KEY.classes[3]: ["cat"]}
    attack = load_registry().get("attacks", "google_vision")
    attack = attack.with_settings({"endpoint": service.endpoint, "synonyms": names})
    said, lost = ask([KEY], attack, load_registry(), None)
    sent = [picture.transpose(2, 0, 1) for pictures, _ in service.asked for picture in pictures]
    released = {question.image.tobytes() for question in KEY.questions}
    assert {picture.tobytes() for picture in sent} == released and lost == 0
    assert [each.named for each in said] == [set(nearest(each.question)[0][:2]) for each in said]
    recognised = [number in nearest(q)[0][:2] for q in KEY.questions for number in q.classes]
    found, _ = judge([KEY], said, load_registry())
    assert [each.recognised for each in found.judgements] == recognised
    assert {(each.by, each.kind) for each in found.judgements} == {("google_vision", "google_vision")}


def test_without_credentials_google_vision_is_skipped(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "K_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Skipped):
        ask([KEY], load_registry().get("attacks", "google_vision"), load_registry(), None)
