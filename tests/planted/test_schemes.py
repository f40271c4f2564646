"""Every planted defense is a valid plugin, and its decoder breaks it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from harness.contract import validate
from harness.registry import Entry, load_registry
from tests.planted.data import measured, observed, photographs
from tests.planted.schemes import CHEATS, FIRST_TEN, PLANTED, SOUND

NOTHING = {"weights": [1.0], "pairing": "permutation", "intra_class": False, "label": "dominant"}


def faults(monkeypatch, function, mixing, traits=(), params=None):
    """What `harness validate` objects to."""
    module = ModuleType("planted_scheme")
    module.function = function
    monkeypatch.setitem(sys.modules, "planted_scheme", module)
    entry = Entry(
        "planted", "defenses", "planted_scheme:function", 1, dict(params or {}), mixing, tuple(sorted(traits))
    )
    return {finding.check: finding.why for finding in validate(entry, load_registry()) if not finding.ok}


def test_the_planted_set_has_many_kinds():
    assert len(PLANTED) >= 35
    assert len({planted.kind for planted in PLANTED.values()}) >= 12
    assert len(SOUND) >= 5
    assert len(CHEATS) >= 6
    assert len(FIRST_TEN) == 10


@pytest.mark.parametrize("name", PLANTED)
def test_planted_defenses_are_valid_plugins(name, monkeypatch):
    planted = PLANTED[name]

    assert faults(monkeypatch, planted.function, planted.mixing, planted.traits, planted.params) == {}


@pytest.mark.parametrize("name", SOUND)
def test_sound_defenses_are_valid_plugins(name, monkeypatch):
    assert faults(monkeypatch, SOUND[name], NOTHING) == {}


@pytest.mark.parametrize("name", PLANTED)
def test_the_decoder_breaks_the_defense(name):
    planted = PLANTED[name]
    attacked = observed(planted, photographs())
    before = attacked.observation.images.clone()

    found = measured(planted, attacked)

    assert found <= planted.limit
    assert planted.limit <= 0.1 or planted.because
    assert torch.equal(before, attacked.observation.images)
