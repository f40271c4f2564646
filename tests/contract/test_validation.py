"""Every registered plugin passes the checks of its kind, and planted faults are found by the right check."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from harness.contract import Finding, validate
from harness.images import average
from harness.plugins.attacks.restoration import training
from harness.plugins.evaluators import inception, perceptual
from harness.registry import Entry, load_registry
from harness.train import convergence, learner
from harness.types import Guess, Mixture

REGISTRY = load_registry()
MIXING = {"weights": [0.75, 0.25], "pairing": "permutation", "intra_class": False, "label": "dominant"}


def faults(findings: list[Finding]) -> dict[str, str]:
    """What does not hold, and why."""
    return {finding.check: finding.why for finding in findings if not finding.ok}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """fid, lpips and dists find no weights and fetch none."""
    monkeypatch.setattr(inception, "_networks", {})
    monkeypatch.setattr(inception, "_missing", [])
    monkeypatch.setattr(perceptual, "_loaded", {})
    monkeypatch.setattr(perceptual, "_missing", {})
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("HARNESS_DOWNLOAD", raising=False)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Validate a function as if a registry listed it."""

    def validated(function: Any, section: str = "defenses", **fields: Any) -> dict[str, str]:
        module = ModuleType("planted_plugin")
        module.function = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "planted_plugin", module)
        kind = {"mixing": MIXING} if section == "defenses" else {"higher_is": "farther"}
        return faults(validate(Entry("planted", section, "planted_plugin:function", **(kind | fields)), REGISTRY))

    return validated


@pytest.mark.parametrize("name", REGISTRY.section("defenses"))
def test_registered_defenses_pass(name: str) -> None:
    findings = validate(REGISTRY.get("defenses", name), REGISTRY)

    assert len(findings) >= 10
    assert faults(findings) == {}


@pytest.mark.parametrize("name", REGISTRY.section("metrics"))
def test_registered_metrics_pass(name: str) -> None:
    findings = validate(REGISTRY.get("metrics", name), REGISTRY)

    assert len(findings) >= 6
    assert faults(findings) == {}


@pytest.mark.parametrize(("name", "network"), [("fid", "Inception"), ("lpips", "VGG16"), ("dists", "VGG16")])
def test_a_metric_that_cannot_be_checked_says_why(name: str, network: str) -> None:
    """Without its weights it neither passes nor fails."""
    findings = validate(REGISTRY.get("metrics", name), REGISTRY)

    assert any("not checked" in finding.why and network in finding.why for finding in findings)


# ---- defenses --------------------------------------------------------------------------------------------------------


def sound(sources: Any, weights: Any, rng: Any) -> Any:
    mixed = average(sources, weights)
    return mixed + 0.05 * torch.randn(mixed.shape, generator=rng, device=mixed.device)


def halves_in_place(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources.mul_(0.5), weights)


def blanks_a_corner_in_place(sources: Any, weights: Any, rng: Any) -> Any:
    sources[..., :8, :8] = 0  # writing the same twice shows only in the first call
    return average(sources, weights)


def rounds_weights_in_place(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights.clamp_(max=0.4))


def uses_torchs_global_generator(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights) + 0.1 * torch.rand(())


def reseeds_torchs_global_generator(sources: Any, weights: Any, rng: Any) -> Any:
    torch.manual_seed(0)
    return average(sources, weights) + 0.1 * torch.rand(())


def uses_numpys_global_generator(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights) + 0.1 * np.random.rand()


def returns_grey_levels(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights) * 255


def returns_bytes(sources: Any, weights: Any, rng: Any) -> Any:
    return (average(sources, weights) * 255).byte()


def returns_doubles(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights).double()


def returns_its_sources(sources: Any, weights: Any, rng: Any) -> Any:
    return sources


def loses_a_row(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights)[..., 1:, :]


def squeezes(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights).squeeze(0)


def divides_by_zero(sources: Any, weights: Any, rng: Any) -> Any:
    mixed = average(sources, weights)
    return mixed.where(mixed > 0.1, float("nan"))


def divides_by_the_others(sources: Any, weights: Any, rng: Any) -> Any:
    return average(sources, weights) / (len(sources) - 1)  # infinite for a mixture on its own


def shares_too_much(sources: Any, weights: Any, rng: Any) -> Any:
    return Mixture(average(sources, weights), weights * 1.1)


def shares_too_few(sources: Any, weights: Any, rng: Any) -> Any:
    return Mixture(average(sources, weights), weights[:, :1])


def returns_nothing(sources: Any, weights: Any, rng: Any) -> Any:
    average(sources, weights)


FAULTY = {
    halves_in_place: ("writes into nothing it was given", "writes into its sources; return new tensors"),
    blanks_a_corner_in_place: ("writes into nothing it was given", "writes into its sources; return new tensors"),
    rounds_weights_in_place: ("writes into nothing it was given", "writes into its weights; return new tensors"),
    uses_torchs_global_generator: ("leaves the global generators alone", "global generator, or seeds one; use rng"),
    reseeds_torchs_global_generator: ("leaves the global generators alone", "global generator, or seeds one; use rng"),
    uses_numpys_global_generator: ("is a function of its arguments and rng", "draw from rng alone"),
    returns_grey_levels: ("stays in the range of images", "images are in [0, 1], not 0-255"),
    returns_bytes: ("returns float32 images, one per mixture", "images are torch.uint8, expected torch.float32"),
    returns_doubles: ("returns float32 images, one per mixture", "images are torch.float64, expected torch.float32"),
    returns_its_sources: (
        "returns float32 images, one per mixture",
        "images of (6, 2, 3, 32, 32), expected (6, 3, 32, 32)",
    ),
    loses_a_row: ("returns float32 images, one per mixture", "images of (6, 3, 31, 32), expected (6, 3, 32, 32)"),
    squeezes: ("takes a single mixture", "one mixture gives (3, 32, 32)"),
    divides_by_zero: ("holds no NaN or infinity", "holds NaN or infinity"),
    divides_by_the_others: ("takes a single mixture", ""),
    shares_too_much: ("returns shares that sum to 1", "do not sum to 1"),
    shares_too_few: ("returns shares that sum to 1", "shares of (6, 1), expected (6, 2)"),
    returns_nothing: ("returns float32 images, one per mixture", ""),
}


def test_a_correct_defense_passes(check: Callable[..., dict[str, str]]) -> None:
    assert check(sound) == {}


@pytest.mark.parametrize("function", FAULTY, ids=lambda function: function.__name__)
def test_a_faulty_defense_fails_with_the_reason(check: Callable[..., dict[str, str]], function: Any) -> None:
    name, why = FAULTY[function]

    found = check(function)

    assert why in found[name]


def test_a_fault_fails_its_own_check_alone(check: Callable[..., dict[str, str]]) -> None:
    """A defense whose only fault is to write in place passes every other check: each gets fresh tensors."""
    assert set(check(halves_in_place)) == {"writes into nothing it was given"}


def test_a_plugin_that_cannot_be_bound_is_checked_no_further(check: Callable[..., dict[str, str]]) -> None:
    assert list(check(sound, params={"sigma": 3})) == ["can be imported and given its knobs"]
    assert "no knob 'sigma'" in check(sound, params={"sigma": 3})["can be imported and given its knobs"]


# ---- metrics ---------------------------------------------------------------------------------------------------------


def squared(images: Any, originals: Any) -> Any:
    return (images - originals).square().mean((1, 2, 3))


def one_number(images: Any, originals: Any) -> Any:
    return squared(images, originals).mean()


def bare_list(images: Any, originals: Any) -> Any:
    return squared(images, originals).tolist()


def logarithm(images: Any, originals: Any) -> Any:
    return squared(images, originals).log10().where(images.mean() > 2, float("nan"))


def similarity(images: Any, originals: Any) -> Any:
    return 1 - squared(images, originals)


def biased(images: Any, originals: Any) -> Any:
    return squared(images, originals) + 0.1


def relative(images: Any, originals: Any) -> Any:
    distance = squared(images, originals)
    return distance / (distance.max() + 1e-9) * len(distance) * distance.mean()


def rounds_images_in_place(images: Any, originals: Any) -> Any:
    return squared(images.mul_(255).round_().div_(255), originals)


def darkens_originals_in_place(images: Any, originals: Any) -> Any:
    return squared(images, originals.clamp_(max=0.7))


FAULTY_METRICS = {
    one_number: ("returns one finite number per image", "one number per image"),
    bare_list: ("returns one finite number per image", "one number per image"),
    logarithm: ("returns one finite number per image", "not finite"),
    similarity: ("orders weak and strong noise as higher_is says", "but higher_is says farther"),
    biased: ("equal images are at distance 0", "apart, expected 0"),
    relative: ("scores each image by itself", "depends on the others of its batch"),
    rounds_images_in_place: ("writes into nothing it was given", "writes into its images; return new tensors"),
    darkens_originals_in_place: ("writes into nothing it was given", "return new tensors"),
}


def test_a_correct_metric_passes(check: Callable[..., dict[str, str]]) -> None:
    assert check(squared, "metrics") == {}
    assert check(similarity, "metrics", higher_is="closer") == {}


@pytest.mark.parametrize("function", FAULTY_METRICS, ids=lambda function: function.__name__)
def test_a_faulty_metric_fails_with_the_reason(check: Callable[..., dict[str, str]], function: Any) -> None:
    name, why = FAULTY_METRICS[function]

    found = check(function, "metrics")

    assert why in found[name]


# ---- attacks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rounds, taken as converged: the checks ask what an attack uses and returns, not how well it learned."""
    monkeypatch.setattr(convergence, "LEAST_STEPS", 10)
    monkeypatch.setattr(convergence, "_LEAST_FALL", 10.0)
    monkeypatch.setattr(convergence, "_SLOW", 1)

    def short(*arguments: Any, rounds: int, **options: Any) -> dict[str, Any]:
        return convergence.follow_until_flat(*arguments, rounds=min(rounds, 5), **options)

    monkeypatch.setattr(learner, "follow_until_flat", short)
    monkeypatch.setattr(training, "follow_until_flat", short)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REGISTRY.section("attacks")))
def test_every_registered_attack_passes(name: str, short_trainings: None) -> None:
    findings = validate(REGISTRY.get("attacks", name), REGISTRY)

    assert len(findings) > 1 and not [found for found in findings if not found.ok]


def all_alike(observation: Any, rng: Any) -> Guess:
    return Guess(gallery=torch.zeros(len(observation.targets), len(observation.gallery)))


def one_stranger_too_many(observation: Any, rng: Any) -> Guess:
    return Guess(gallery=torch.zeros(len(observation.targets), len(observation.gallery) + 1))


def strongest_colour(observation: Any, rng: Any) -> Guess:
    held = observation.public.attributes
    commonest = torch.from_numpy(np.bincount(held, minlength=len(observation.attributes))).float()
    return Guess(scores=commonest.expand(len(observation.targets), -1))


def classes_for_attributes(observation: Any, rng: Any) -> Guess:
    return Guess(scores=torch.ones(len(observation.targets), observation.public.labels.max() + 2))


KINDS = {
    all_alike: ("reidentification", "gallery", {}),
    one_stranger_too_many: ("reidentification", "gallery", {"the guess is of its kind and shape": "expected (30, 36)"}),
    strongest_colour: ("attribute", "public", {}),
    classes_for_attributes: ("attribute", "public", {"the guess is of its kind and shape": "expected (30, 3)"}),
}


@pytest.mark.parametrize("function", KINDS, ids=lambda function: function.__name__)
def test_guesses_over_a_gallery_and_over_attributes_are_validated(
    check: Callable[..., dict[str, str]], function: Any
) -> None:
    kind, granted, wrong = KINDS[function]

    found = check(function, "attacks", higher_is=None, kind=kind, granted=(granted,))

    assert set(found) == set(wrong)
    assert all(why in found[name] for name, why in wrong.items())
