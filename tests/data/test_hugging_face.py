"""The hub is asked through `datasets`: its splits are roles, its failures one sentence, --offline is passed on."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from harness.data.load import load
from tests.helpers.folders import parts, refusal


class Split:
    """What is used of a `datasets.Dataset`: features, columns, rows and the cast that leaves images encoded."""

    def __init__(self, rows, names):
        self.rows, self.features = rows, {"image": None, "label": SimpleNamespace(names=names)}
        self.is_encoded = False

    def cast_column(self, column, feature):
        assert column == "image" and feature == "encoded"
        self.is_encoded = True
        return self

    def __getitem__(self, key):
        assert self.is_encoded, "decoded images pass by the bounds of files"
        return [row["label"] for row in self.rows] if key == "label" else self.rows[key]


@pytest.fixture
def hub(flat, monkeypatch):
    """A library that knows `pets` with the pictures of the folder `flat`, and what it was asked."""
    library, asked = ModuleType("datasets"), []
    library.config = SimpleNamespace(HF_HUB_OFFLINE=False)
    library.Image = lambda decode: "encoded" if decode is False else None
    library.get_dataset_config_names = lambda name: ["small"]
    rows = [
        {"image": {"bytes": file.read_bytes(), "path": None}, "label": int(file.parent.name == "dog")}
        for file in sorted(flat.rglob("*.png"))
    ]

    def load_dataset(name, config, *, split, cache_dir):
        asked.append((name, config, split, library.config.HF_HUB_OFFLINE))
        if name != "pets" or library.config.HF_HUB_OFFLINE:
            raise ConnectionError("cannot reach\nthe hub")
        if split is not None:
            return Split(rows, ["cat", "dog"])
        return {
            "train": Split(rows[4:-4], ["cat", "dog"]),
            "validation": Split([*rows[:4], *rows[-4:]], ["cat", "dog"]),
            "unused": Split([], []),
        }

    library.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", library)
    monkeypatch.delenv("HARNESS_OFFLINE", raising=False)
    return asked


def test_a_split_is_the_folder_of_the_same_pictures(hub, flat, cache):
    of_hub, of_folder = load("hf:pets@train", cache=cache), load(flat, cache=cache)

    assert hub == [("pets", None, "train", False)]
    assert of_hub.fingerprint == of_folder.fingerprint and of_hub.name == "pets@train"
    for one, other in zip(parts(of_folder), parts(of_hub), strict=True):
        assert np.array_equal(one.images, other.images)


def test_train_and_validation_are_roles_and_a_config_is_no_split(hub, cache):
    splits = load("hf:pets@small", cache=cache)

    assert hub == [("pets", "small", None, False)]
    assert len(splits.test) == 8 and all(name.startswith("validation/") for name in splits.test.names)


def test_a_hub_that_is_not_reached_is_one_sentence_and_offline_is_passed_on(hub, cache, monkeypatch):
    assert "(cannot reach the hub); check name and network" in refusal("hf:other", cache=cache)
    monkeypatch.setenv("HARNESS_OFFLINE", "1")

    assert "--offline downloads nothing" in refusal("hf:pets", cache=cache)
    assert [offline for *_, offline in hub] == [False, True]
    assert sys.modules["datasets"].config.HF_HUB_OFFLINE is False, "left as it was"
