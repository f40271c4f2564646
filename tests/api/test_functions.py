"""One's own functions as defenses and attacks: named, checked, and recorded under their code."""

from __future__ import annotations

import functools
import textwrap

import pytest
import torch

import harness
from harness.api.functions import AttackPlugin, DefensePlugin, entry_of, with_functions
from harness.errors import HarnessError
from harness.images import average
from harness.records import provenance
from harness.registry import bind, load_registry

REGISTRY = load_registry()
STRENGTH = 0.5


def fade(sources, weights, rng, *, strength=STRENGTH):
    """Half of the mixture's contrast."""
    return average(sources, weights) * strength


def code_of(defense):
    entry, _ = entry_of("defenses", defense, REGISTRY)
    provenance.forget()
    return provenance.code("release", [entry])


def nested(strength, how=average):
    def fade(sources, weights, rng):
        return how(sources, weights) * strength

    return fade


def test_a_function_at_the_top_of_a_module_is_named_there():
    entry, _ = entry_of("defenses", fade, REGISTRY)

    assert (entry.name, entry.module, entry.params) == ("fade", __name__, {"strength": 0.5})
    assert entry.mixing == REGISTRY.get("defenses", "shuffle_mix").mixing and entry.is_foreign
    made = bind(entry)(torch.ones(1, 2, 3, 8, 8), torch.full((1, 2), 0.5), None)
    assert torch.equal(made, torch.full((1, 3, 8, 8), 0.5))


def test_a_function_inside_another_one_runs_with_what_it_closes_over():
    entry, registry = entry_of("defenses", nested(0.25), REGISTRY)

    made = bind(entry)(torch.ones(2, 2, 3, 8, 8), torch.full((2, 2), 0.5), None)

    assert torch.equal(made, torch.full((2, 3, 8, 8), 0.25))
    assert registry.get("defenses", "fade") == entry and "fade" not in REGISTRY.section("defenses")


def test_the_code_is_the_records_identity():
    """What it closes over and what it calls counts, its name and its place do not make two functions one."""

    def half(images):
        return images * 0.5

    def third(images):
        return images * 0.3

    assert code_of(nested(0.25)) == code_of(nested(0.25))
    assert code_of(nested(0.25)) != code_of(nested(0.5))

    def with_helper(helper):
        def fade(sources, weights, rng):
            return helper(average(sources, weights))

        return fade

    assert code_of(with_helper(half)) != code_of(with_helper(third))


def test_the_identity_is_that_of_the_same_function_in_a_registry_file(tmp_path):
    source = """
    from harness.images import average


    def fade(sources, weights, rng):
        return average(sources, weights) * 0.25
    """
    (tmp_path / "plug_faded.py").write_text(textwrap.dedent(source))
    (tmp_path / "mine.yaml").write_text(
        "defenses: {fade: {use: 'plug_faded:fade', version: 1, cite: me, mixing: {weights: [0.75, 0.25], "
        "pairing: permutation, intra_class: false, label: dominant}}}"
    )

    def fade(sources, weights, rng):
        return average(sources, weights) * 0.25

    of_file = load_registry([tmp_path / "mine.yaml"]).get("defenses", "fade")
    own, _ = entry_of("defenses", fade, REGISTRY)

    assert provenance.resolved(own) == provenance.resolved(of_file)
    assert provenance.code("release", [own]) == provenance.code("release", [of_file])


def test_knobs_have_the_functions_defaults_or_what_partial_binds():
    entry, _ = entry_of("defenses", functools.partial(fade, strength=0.1), REGISTRY)
    assert entry.params == {"strength": 0.1}
    assert entry.with_settings({"strength": 0.2}).params == {"strength": 0.2}

    plugin = DefensePlugin(fade, params={"strength": 1}, mixing={"weights": (0.5, 0.5)})
    entry, _ = entry_of("defenses", plugin, REGISTRY)
    assert entry.params == {"strength": 1} and entry.mixing["weights"] == [0.5, 0.5]


def test_registered_functions_stand_for_their_names():
    assert entry_of("defenses", harness.defenses.mix, REGISTRY)[0] == REGISTRY.get("defenses", "mix")
    registered = bind(REGISTRY.get("defenses", "shuffle_mix")).func
    assert entry_of("defenses", registered, REGISTRY)[0] == REGISTRY.get("defenses", "shuffle_mix")


def test_an_attack_says_its_kind_and_what_it_is_granted():
    def guess(observation, rng):
        raise AssertionError

    entry, _ = entry_of("attacks", guess, REGISTRY)
    assert (entry.kind, entry.granted) == ("reconstruction", ("labels", "releases", "defense", "public"))
    entry, _ = entry_of("attacks", AttackPlugin(guess, kind="recognition", granted=["public"], name="mine"), REGISTRY)
    assert (entry.name, entry.kind, entry.granted) == ("mine", "recognition", ("public",))


def no_rng(sources, weights):
    return average(sources, weights)


def needs_level(sources, weights, rng, *, level):
    return average(sources, weights)


def takes_weights(sources, shares, rng, *, weights=1):
    return average(sources, shares)


class Scheme:
    def __call__(self, sources, weights, rng):
        return average(sources, weights)

    def method(self, sources, weights, rng):
        return average(sources, weights)


def mix(sources, weights, rng):
    return average(sources, weights)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "defense 3 is int; expected a name, a function, or a list of them"),
        (None, "defense nothing is NoneType; expected a name"),
        ([], r"no defense is given; give a name \(harness list defenses\) or 'all'"),
        (lambda sources, weights, rng: sources, "a lambda is no function that a record can be named by"),
        (Scheme(), "is of type Scheme; expected a function"),
        (Scheme().method, "is of type method; expected a function"),
        (Scheme, "is a class; expected a function"),
        (len, "is of type builtin_function_or_method; expected a function"),
        (no_rng, r"defense 'no_rng': the function must take \(sources, weights, rng\) before its knobs"),
        (needs_level, r"defense 'needs_level': its knob level has no value; give it a default, or functools"),
        (takes_weights, "defense 'takes_weights': the knob weights is a part of mixing"),
        (functools.partial(fade, torch.ones(2)), "binds 1 arguments by position; bind knobs by name"),
        (
            functools.partial(fade, strenght=1),
            "defense 'fade': the function has no knob 'strenght'; did you mean 'streng",
        ),
        (functools.partial(fade, strength=torch.ones(2)), "strength is .*, which cannot be recorded"),
        (
            mix,
            r"defense 'mix' is the name of a registered one; rename the function, or give DefensePlugin",
        ),
        (DefensePlugin(fade, mixing={"weights": [0.5, 0.6]}), "weights 0.5,0.6 sum to 1.1"),
        (DefensePlugin(fade, mixing={"wait": 1}), "defenses.fade: mixing: .*wait"),
        (DefensePlugin(fade, name="a b"), "not a name; use up to 100 letters"),
        (AttackPlugin(fade), "is a AttackPlugin; give a DefensePlugin"),
        ([nested(0.1), nested(0.2)], r"two defenses are called 'fade'; give one another name: DefensePlugin"),
        (harness.metrics.dssim, "defense 'dssim' is of the metrics; give one of the defenses"),
    ],
)
def test_what_is_no_defense_is_refused_in_one_sentence(given, said):
    with pytest.raises(HarnessError, match=said) as refused:
        with_functions({"defenses": given}, REGISTRY)

    assert "\n" not in str(refused.value) and "/tmp" not in str(refused.value)


def test_a_tensor_of_the_session_is_refused():
    noise = torch.rand(8)

    def fade(sources, weights, rng):
        return average(sources, weights) + noise

    with pytest.raises(HarnessError, match="defense 'fade': it uses noise, a Tensor of this session, which no record"):
        entry_of("defenses", fade, REGISTRY)


def test_an_attack_of_another_kind_is_refused():
    with pytest.raises(
        HarnessError, match=r"attack attacks\.first_half: kind: expected .* or reidentification, got 'x'"
    ):
        entry_of("attacks", AttackPlugin(first_half, kind="x"), REGISTRY)


def first_half(observation, rng):
    raise AssertionError
