"""The hidden attribute is read from undefended images; a guess from the label alone is at chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import NotGranted
from harness.plugins.attacks.attribute import attribute_shares
from harness.train import convergence
from harness.types import Guess, Splits
from tests.helpers.planted import attack, bench, splits

pytestmark = pytest.mark.usefixtures("short_trainings")

SEED = 0


def coarse(data: Splits) -> Splits:
    """The stripes with "straight" (across, down) or "skew" (slanted) as labels, and their class as an attribute."""

    def regroup(part):
        hidden = part.labels
        return replace(
            part,
            labels=(hidden < 2).astype(np.int64),
            classes=("skew", "straight"),
            attributes=hidden,
            attribute_names=part.classes,
        )

    roles = {role: regroup(getattr(data, role)) for role in ("private", "public", "test")}
    return replace(data, **roles, fingerprint="coarse " + data.fingerprint)


def here(function, **fields):
    entry = attack(function, "attribute", ("labels",), **fields)
    return replace(entry, use=f"tests.attacks.test_attribute:{function}")


def label_alone(observation, rng):
    """Skew is slanted; straight is called across."""
    answers = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    return Guess(scores=answers[observation.labels])


def one_too_few(observation, rng):
    return Guess(scores=torch.ones(len(observation.targets), len(observation.classes)))


def entry_of(stage, **settings):
    return stage.registry.get("attacks", "attribute").with_settings(
        {"arch": "mcpherson_face", "train_epochs": 2, **settings}
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return bench(tmp_path_factory.mktemp("attribute"), coarse(splits(private=60, public=90)))


def test_an_undefended_attribute_is_read_far_above_the_chance_given_by_the_label(stage):
    found = stage.attack(stage.undefended, entry_of(stage), SEED)

    assert found.status == "ok", found.reason
    score = found.scores["attribute"]
    assert (score["chance"], score["chance_constant"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert score["low"] > score["chance"] and score["corrected"] > 0.5 and score["n"] == 60
    assert found.facts["held_out_n"] == 18 and found.facts["steps"] >= convergence.LEAST_STEPS


def test_a_guess_from_the_label_alone_is_at_chance(stage):
    found = stage.attack(stage.undefended, here("label_alone"), SEED)

    assert found.scores["attribute"]["mean"] == pytest.approx(2 / 3)
    assert found.scores["attribute"]["corrected"] == pytest.approx(0)


def test_a_learned_attack_at_the_labels_chance_has_failed(stage):
    found = stage.attack(stage.undefended, here("label_alone", traits=("learned",)), SEED)

    assert found.status == "failed" and "not above chance (0.67)" in found.reason


def test_shuffled_attributes_are_not_learned(monkeypatch):
    """With shuffled attributes of the adversary the attack fails, so that no defense looks private."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 60)
    data = coarse(splits(private=12, public=90))
    attributes = np.random.default_rng(3).permutation(data.public.attributes)
    stage = bench(None, replace(data, public=replace(data.public, attributes=attributes)))

    found = stage.attack(stage.undefended, entry_of(stage), SEED)

    assert found.status == "failed" and not found.scores


def test_an_attribute_that_the_label_excludes_gets_score_zero(stage):
    """From the adversary's own images: skew is slanted, straight is one of the others; soft labels are shares."""
    seen = stage.client.observe(stage.undefended, entry_of(stage), SEED)

    hard, soft = attribute_shares(seen, torch.tensor([0, 1])), attribute_shares(seen, torch.tensor([[0.25, 0.75]]))

    assert hard.tolist() == [[0, 0, 1], [1, 1, 0]] and soft.tolist() == [[0.75, 0.75, 0.25]]


def test_a_set_without_a_second_attribute_is_inapplicable():
    stage = bench(None, splits(private=12))

    results = [stage.attack(stage.undefended, entry, SEED) for entry in (entry_of(stage), here("one_too_few"))]

    assert [result.status for result in results] == ["inapplicable"] * 2
    assert all("cifar10_coarse" in result.reason for result in results)


def test_scores_over_classes_are_refused_as_attributes(stage):
    found = stage.attack(stage.undefended, here("one_too_few"), SEED)

    assert found.status == "failed" and "expected (60, 3)" in found.reason


def test_attributes_of_public_images_are_a_copy(stage):
    seen = stage.client.observe(stage.undefended, entry_of(stage), SEED)

    seen.public.attributes[:] = 0

    again = stage.client.observe(stage.undefended, entry_of(stage), SEED)
    assert again.public.attributes.any() and again.attributes == ("across", "down", "slanted")
    with pytest.raises(NotGranted):
        _ = replace(seen, granted=frozenset()).public
