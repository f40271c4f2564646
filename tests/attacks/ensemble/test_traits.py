"""The traits of every registered defense are found by calling it, whatever it declares."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.observation import KnownDefense
from harness.plugins.attacks.ensemble.traits import PROBED, probed
from harness.randomness import torch_generator
from harness.registry import bind, load_registry
from harness.release import Scheme
from tests.planted.cheats import shown
from tests.planted.data import observed, photographs
from tests.planted.schemes import PLANTED
from tests.planted.table import Planted, as_released

DEFENSES = {entry.name: entry for entry in load_registry().section("defenses").values()}


def seen(name, traits, params):
    """The adversary's view of a registered defense that declares these."""
    entry = DEFENSES[name]
    weights = entry.mixing["weights"]
    vector = (0.5, 0.5) if isinstance(weights, dict) else tuple(weights)
    observation = observed(Planted(shown, "", "", as_released, weights=vector), photographs()).observation
    return replace(
        observation,
        _known=KnownDefense(params, observation.defense.mixing, frozenset(traits)),
        _scheme=Scheme("planted", bind(entry), observation.defense.mixing),
    )


@pytest.mark.parametrize("name", DEFENSES)
def test_the_traits_and_parameters_of_registered_defenses_are_found(name):
    entry = DEFENSES[name]

    known = probed(seen(name, (), {}), torch_generator(b"rng", "cpu")).defense

    assert known.traits == PROBED & set(entry.traits)
    for knob in {"block", "kernel", "grid", "per"} & set(entry.params):
        assert known.params[knob] == entry.params[knob]
    if "p" in entry.params:
        assert known.params["p"] == pytest.approx(entry.params["p"], abs=0.03)


def test_a_wrong_trait_is_dropped_and_one_that_cannot_be_probed_stays():
    known = probed(seen("mix", {*PROBED, "reference"}, {"kernel": 17}), torch_generator(b"rng", "cpu")).defense

    assert known.traits == {"linear", "reference"}


@pytest.mark.parametrize(
    ("name", "linear"),
    [("inverted", True), ("long_convolution", True), ("bit_reversal_called_linear", False), ("modular_pad", False)],
)
def test_linear_is_decided_by_probing(name, linear):
    observation = observed(PLANTED[name], photographs()).observation

    known = probed(observation, torch_generator(b"rng", "cpu")).defense

    assert ("linear" in known.traits) == linear
    assert torch.equal(observation.images, probed(observation, torch_generator(b"rng", "cpu")).images)
