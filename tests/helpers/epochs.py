"""Planted data for attacks on several epochs: smooth coloured pictures, their releases, and who was mixed with whom."""

from __future__ import annotations

import numpy as np
import torch
from scipy import optimize

from harness.images import average, shuffle_blocks
from harness.observation import KnownDefense, LabelledImages, Observation, Pairing
from harness.plugins.defenses.graft import graft as grafted
from harness.randomness import torch_generator
from harness.release import Scheme, obfuscate
from harness.types import Release

KEY = b"k" * 32
GRANTED = frozenset({"releases", "defense", "public"})


def waves(count, seed=0, size=16):
    """(count, 3, size, size) uint8: sums of slow waves in colours of their own, all different."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    images = np.full((count, 3, size, size), 0.5)
    for _ in range(6):
        tint = rng.normal(0, 1, (count, 3, 1, 1))
        across, down, phase = (rng.uniform(*span, (count, 1, 1, 1)) for span in ((-2, 2), (-2, 2), (0, 1)))
        images += 0.09 * tint * np.sin(2 * np.pi * (across * x + down * y + phase))
    return (images.clip(0, 1) * 255).round().astype(np.uint8)


class Seen:
    """The observation of some epochs, and their secrets and pairings."""

    def __init__(
        self, function, weights=(0.5, 0.5), *, count=40, epochs=6, size=16, public=60, traits=("linear",), params=None,
        granted=GRANTED, images=None, device="cpu", draw=0, **mixing,
    ):  # fmt: skip
        mixing = {"weights": weights, "pairing": "permutation", "intra_class": False, "label": "dominant", **mixing}
        scheme = Scheme("planted", function, mixing)
        self.images = waves(count, 1, size) if images is None else images
        made = [
            obfuscate(scheme, self.images, np.arange(count) % 2, 2, KEY + bytes([epoch]) + bytes(draw), device)
            for epoch in range(epochs)
        ]
        releases, self.secrets = [release for release, _ in made], [secret for _, secret in made]
        self.truth = [Pairing(secret.sources, secret.shares) for secret in self.secrets]
        own = LabelledImages(torch.from_numpy(waves(public, 2, size)), np.arange(public) % 2)
        rows = np.arange(len(releases[0]))
        self.observation = Observation(
            releases[0].images, rows, ("even", "odd"), scheme.sources, device, frozenset(granted),
            _releases=[Release(release.images.cpu(), release.labels) for release in releases],
            _known=KnownDefense(params or {}, mixing, frozenset(traits)), _scheme=scheme, _public=own, _key=KEY,
            _plans=self.truth,
        )  # fmt: skip


def generator(key=b"the rng of an attack"):
    return torch_generator(key, "cpu")


# Defenses


def mixed(sources, weights, rng):
    return average(sources, weights)


def noisy(sources, weights, rng, sigma=20):
    mean = average(sources, weights)
    return mean + sigma / 255 * torch.randn(mean.shape, generator=rng)


def shuffled(sources, weights, rng, block=4):
    return average(shuffle_blocks(sources, block, rng), weights)


def graft(sources, weights, rng):
    return grafted(sources, weights, rng, p=0.6, per="pixel")


def static(sources, weights, rng):
    """Fresh noise: nothing is there."""
    return torch.rand(sources[:, 0].shape, generator=rng)


# Measures


def right(truth, guess, originals):
    """Shares of slots (release, source) and of whole releases that are linked rightly, in the best renumbering.

    Sources of equal share may come in any order.
    """
    guessed = 1 + max(int(pairing.sources.max()) for pairing in guess)
    together = np.zeros((originals, guessed))
    for true, found in zip(truth, guess, strict=True):
        for mine in true.sources.T:
            for theirs in found.sources.T:
                known = theirs >= 0
                np.add.at(together, (mine[known], theirs[known]), 1)
    names = np.full(guessed + 1, -1)
    mine, theirs = optimize.linear_sum_assignment(-together)
    names[theirs] = mine
    slots = [
        np.array([len(set(a) & set(names[b])) for a, b in zip(true.sources, found.sources, strict=True)])
        for true, found in zip(truth, guess, strict=True)
    ]
    k = truth[0].sources.shape[1]
    return np.concatenate(slots).mean() / k, (np.concatenate(slots) == k).mean()
