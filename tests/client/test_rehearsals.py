"""A rehearsal shares no random numbers with the release, and is the same for every attack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from harness.client.client import Client
from harness.registry import Entry
from harness.release import as_tensor
from harness.types import Dataset, Splits
from tests.helpers.releases import REGISTRY, Bytes, Classes, noise_of, same


def test_a_rehearsal_shares_nothing_with_the_release(photographs: Bytes, classes: Classes) -> None:
    """Even on the very same images: another order, other partners, other noise; and each rehearsal is another."""
    hashes = np.array([f"{row:032d}" for row in range(24)], "S32")
    photos = Dataset(photographs, classes, hashes, tuple(map(str, range(24))), ("astronaut", "chelsea", "coffee"))
    client = Client(Splits("same", photos, photos, photos, "0" * 32), REGISTRY, "cpu", releases=1, targets=24)
    defense = REGISTRY.get("defenses", "noise_mix").with_settings({"weights": [1.0], "sigma": 5})
    attack = Entry("rehearser", "attacks", "nowhere:attack", granted=("defense", "public"), kind="recognition")
    observation = client.observe(defense, attack, 0)
    public = observation.public

    made = [
        client.release(defense, 0, 0),
        *(observation.rehearse(public.images, public.labels, epoch) for epoch in (0, 1)),
    ]

    assert torch.equal(observation.images, made[0][0].images)
    assert np.array_equal(public.images.numpy(), photographs)
    for i, one in enumerate(made):
        for other in made[:i]:
            assert not np.array_equal(one[1].sources, other[1].sources)
            noises = [noise_of(release, secret, photographs).ravel() for release, secret in (one, other)]
            assert abs(np.corrcoef(*noises)[0, 1]) < 0.02
            by_original = [
                noise_of(*each, photographs)[each[1].dominant_rows.argsort()].ravel() for each in (one, other)
            ]
            assert abs(np.corrcoef(*by_original)[0, 1]) < 0.1  # clipping alone makes them alike, a little


def test_rehearsals_repeat_for_every_attack_and_differ_by_seed(photographs: Bytes, classes: Classes) -> None:
    hashes = np.array([f"{row:032d}" for row in range(24)], "S32")
    photos = Dataset(photographs, classes, hashes, tuple(map(str, range(24))), ("astronaut", "chelsea", "coffee"))
    client = Client(Splits("same", photos, photos, photos, "0" * 32), REGISTRY, "cpu", releases=1, targets=24)
    defense = REGISTRY.get("defenses", "shuffle_mix")
    attack = Entry("one", "attacks", "nowhere:attack", granted=("defense", "public"), kind="recognition")

    made = [
        client.observe(defense, attack_, seed).rehearse(as_tensor(photographs), classes, 0)
        for attack_, seed in ((attack, 0), (replace(attack, name="other"), 0), (attack, 1))
    ]

    assert same(made[0], made[1])
    assert not same(made[0], made[2])
