"""`harness new` writes plugins that work before they are edited."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from harness.contract.scaffold import new_plugin
from harness.errors import HarnessError
from harness.registry import Entry, bind, load_registry
from harness.registry.availability import why_unavailable

NAMES = {"defense": "lonelyfade", "attack": "lonelystretch", "metric": "lonelydistance"}


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in NAMES.values():
        monkeypatch.delitem(sys.modules, name, raising=False)


def made(kind: str, folder: Path) -> Entry:
    """The entry of a freshly made plugin, read as --registry would."""
    name = NAMES[kind]
    python, registry = new_plugin(kind, name, folder)
    assert (python, registry) == (folder / f"{name}.py", folder / f"{name}.yaml")
    return load_registry([registry]).find(name)


@pytest.mark.parametrize("kind", NAMES)
def test_a_new_plugin_is_available_and_complete(kind: str, tmp_path: Path) -> None:
    """Every knob is set in its entry, so it binds at once."""
    entry = made(kind, tmp_path)

    assert entry.noun == kind and why_unavailable(entry) is None
    assert set(bind(entry).keywords) == set(entry.params) != set()


def test_a_new_defense_works(tmp_path: Path) -> None:
    """Images in range, the same for the same rng, and nothing written in place."""
    defense = bind(made("defense", tmp_path))
    sources = torch.rand(5, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[0.75, 0.25]]).repeat(5, 1)
    kept = sources.clone()

    images, again = (defense(sources, weights, torch.Generator().manual_seed(1)) for _ in range(2))

    assert images.shape == (5, 3, 8, 8) and images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, again) and torch.equal(sources, kept)


def test_a_new_defense_refuses_a_bad_knob(tmp_path: Path) -> None:
    """The template shows how to refuse a value."""
    defense = bind(made("defense", tmp_path).with_settings({"strength": 2}))

    with pytest.raises(HarnessError, match=r"strength 2\.0 is outside \[0, 1\]"):
        defense(torch.rand(1, 2, 3, 8, 8), torch.tensor([[0.5, 0.5]]), torch.Generator())


def test_a_new_metric_is_zero_between_equals(tmp_path: Path) -> None:
    """One number per image."""
    metric = bind(made("metric", tmp_path))
    images = torch.rand(4, 3, 8, 8)

    assert torch.equal(metric(images, images), torch.zeros(4))
    assert metric(images, 1 - images).shape == (4,)


def test_a_new_attack_offers_one_candidate_per_target(tmp_path: Path) -> None:
    """As bytes, in the order of the targets."""
    from harness.observation import Observation

    attack = bind(made("attack", tmp_path))
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    targets = torch.tensor([4, 1]).numpy()
    observation = Observation(images, targets, ("a", "b"), sources=2, device="cpu", granted=frozenset())

    guess = attack(observation, torch.Generator())

    assert guess.candidates.shape == (2, 1, 3, 8, 8) and guess.candidates.dtype == torch.uint8


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("defence", "fine", "cannot make a 'defence'; did you mean 'defense'"),
        ("dataset", "fine", "cannot make a 'dataset'"),
        ("defense", "my-mix", "cannot name a function"),
        ("defense", "2fast", "cannot name a function"),
        ("defense", "class", "cannot name a function"),
        ("defense", "../up", "cannot name a function"),
        ("defense", "", "cannot name a function"),
        ("attack", "shuffle_mix", r"defense 'shuffle_mix' exists already \(built-in\)"),
        ("defense", "random", "a Python module called 'random' is installed"),
    ],
)
def test_an_unusable_name_is_refused(kind: str, name: str, message: str, tmp_path: Path) -> None:
    """Before a file is written."""
    with pytest.raises(HarnessError, match=message):
        new_plugin(kind, name, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither file, and a missing folder is not made."""
    (tmp_path / "lonelyfade.yaml").write_text("mine")

    with pytest.raises(HarnessError, match=r"lonelyfade\.yaml exists already"):
        new_plugin("defense", "lonelyfade", tmp_path)
    with pytest.raises(HarnessError, match="is not a folder; make it first"):
        new_plugin("defense", "lonelyfade", tmp_path / "gone")

    assert [file.name for file in tmp_path.iterdir()] == ["lonelyfade.yaml"]
    assert (tmp_path / "lonelyfade.yaml").read_text() == "mine"
