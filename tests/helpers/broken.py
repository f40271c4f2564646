"""Ten defenses with a planted fault each, which the paper's attacks do not break, and one without a fault.

A defense's function gets sources, weights and a random generator. A fault in every image is planted in the function; a
fault of the protocol (partners that never change, an order that is not shuffled) in how the releases are made with it,
while the scheme that an adversary rehearses is a normal one, as where the client's code is at fault.
Mixtures of two or three are like their sources (dSSIM .3 to .5), so these are inverted as well, which is known.
Releases are uint8 by contract, so floats cannot leave this harness. Their nearest relative is a filter with long tails
whose inverse is two pixels wide: rounding, which protects a strong Gaussian blur, does not protect it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from harness.images import average, to_bytes, to_images
from harness.mixing import plan
from harness.observation import KnownDefense, LabelledImages, Observation
from harness.randomness import derive, numpy_generator, torch_generator
from harness.release import Scheme, obfuscate
from harness.types import Release

SIZE = 32
PRIVATE, PUBLIC = 40, 80
KEY = b"k" * 32


def pictures(count, seed):
    """(count, 3, 32, 32) uint8: textured spots, each of its own colour and pattern, on ground with a faint pattern.

    Textured places differ between images, as in photographs.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE

    def waves(steepness):
        across, down = rng.normal(0, steepness, (2, count, 1, 1, 1))
        return np.sin(2 * np.pi * (across * x + down * y + rng.random((count, 1, 1, 1))))

    images = 0.5 + rng.normal(0, 0.1, (count, 3, 1, 1)) + 0.04 * sum(waves(4) for _ in range(6))
    for _ in range(5):
        left, top = rng.random((2, count, 1, 1, 1))
        wide = rng.uniform(0.08, 0.16, (count, 1, 1, 1))
        spot = np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * wide**2))
        colour = rng.normal(0, 0.25, (count, 1, 1, 1)) + rng.normal(0, 0.12, (count, 3, 1, 1))
        images += spot * colour * (1 + waves(4))
    return (images.clip(0, 1) * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Broken:
    """A planted defense.

    fault     in words
    left      largest mean dSSIM allowed after `auto`; because: its reason
    partners  never change (their weights do); order: position i always holds original i
    """

    function: Callable[..., Any]
    fault: str
    left: float
    because: str
    weights: Any = (1.0,)
    epochs: int = 1
    traits: frozenset[str] = frozenset()
    params: Mapping[str, Any] = field(default_factory=dict)
    partners: bool = False
    order: bool = False


# The faulty functions


def scattered(sources, weights, rng):
    """Every pixel is moved, by one permutation for all images."""
    mixed = average(sources, weights).flatten(2)
    order = torch.randperm(mixed.shape[2], generator=torch.Generator().manual_seed(1))
    return mixed[..., order.to(mixed.device)].view(len(sources), *sources.shape[2:])


def same_noise(sources, weights, rng):
    """A third image, two thirds noise, which is the same for all."""
    noise = torch.rand(sources.shape[2:], generator=torch.Generator().manual_seed(2))
    return (average(sources, weights) + 2 * noise.to(sources)) / 3


def plain(sources, weights, rng):
    """Nothing but the mixture."""
    return average(sources, weights)


def noisy(sources, weights, rng, *, sigma):
    """The mixture in strong noise, drawn anew."""
    mixed = average(sources, weights)
    return mixed + sigma / 255 * torch.randn(mixed.shape, generator=rng, device=mixed.device)


def same_mask(sources, weights, rng):
    """Pixels of two images, by a mask that never changes."""
    mask = torch.rand(sources.shape[-2:], generator=torch.Generator().manual_seed(3)) < 0.5
    return torch.where(mask.to(sources.device), sources[:, 0], sources[:, 1])


def long_tails(sources, weights, rng):
    """A filter that reaches across the image, down and across, and suppresses no frequency completely."""
    tails = 0.75 ** ((torch.arange(SIZE)[:, None] - torch.arange(SIZE)) % SIZE).float()
    tails = (tails / tails.sum(1, keepdim=True)).to(sources)
    return tails @ average(sources, weights) @ tails.T


def dimmed(sources, weights, rng):
    """Every image fades to black by a secret factor of its own, which its brightness shows."""
    factor = 0.08 + 0.2 * torch.rand(len(sources), 1, 1, 1, generator=rng, device=sources.device)
    return factor * average(sources, weights)


def negative(sources, weights, rng):
    """The mixture with its grey levels inverted and its colours swapped."""
    return 1 - average(sources, weights).flip(1)


def tinged(sources, weights, rng, *, sigma):
    """The same with a little noise."""
    return noisy(negative(sources, weights, rng).unsqueeze(1), torch.ones(len(sources), 1), rng, sigma=sigma)


def same_key(sources, weights, rng):
    """Blocks are moved, turned and inverted by a secret key, the same for all images."""
    rng, side = torch.Generator().manual_seed(4), 4
    images = average(sources, weights)
    blocks = images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    count = blocks.shape[2]
    blocks = blocks[:, :, torch.randperm(count, generator=rng)].clone()
    turned = torch.rand(count, generator=rng) < 0.5
    blocks = torch.where(turned.view(-1, 1, 1), blocks.transpose(-1, -2), blocks)
    inverted = torch.rand(count, generator=rng) < 0.5
    blocks = torch.where(inverted.view(-1, 1, 1), 1 - blocks, blocks)
    across = images.shape[3] // side
    rows = blocks.unflatten(2, (-1, across)).permute(0, 1, 2, 4, 3, 5)
    return rows.reshape(images.shape)


def static(sources, weights, rng):
    """Noise without anything of the image: this one is private."""
    return torch.rand(sources[:, 0].shape, generator=rng, device=sources.device)


LINEAR = frozenset({"linear"})
NOISY = LINEAR | {"additive_noise"}
BROKEN = {
    "fixed_permutation": Broken(scattered, "one permutation of all pixels", 0.01, "exact", traits=LINEAR),
    "reused_noise": Broken(same_noise, "the same noise on every image", 0.02, "rounding, threefold", traits=LINEAR),
    "fixed_partners": Broken(
        negative, "partners never change", 0.1, "rounding, eightfold", ((0.5, 0.5), (0.6, 0.4)), 8, LINEAR,
        partners=True,
    ),
    "fixed_order": Broken(
        noisy, "the order is not shuffled", 0.3, "half of what smoothing leaves", (1.0,), 10, NOISY, {"sigma": 110},
        order=True,
    ),
    "fixed_mask": Broken(
        same_mask, "a mask kept across images", 0.25, "with the true mask .05 to .16 (see the test)",
        (0.6, 0.4), 1, LINEAR,
    ),
    "unprotected_filter": Broken(
        long_tails, "rounding does not protect the filter", 0.1, "rounding, 25-fold", traits=LINEAR
    ),
    "tiny_sigma": Broken(
        tinged, "many epochs, tiny noise", 0.1, "rounding and noise", (0.4, 0.3, 0.3), 10, NOISY, {"sigma": 2}
    ),
    "telling_brightness": Broken(dimmed, "brightness tells the secret factor", 0.1, "the spread of mean brightness"),
    "negative": Broken(negative, "a known map of the grey levels", 0.02, "rounding", (0.7, 0.3), 8, LINEAR),
    "reused_key": Broken(same_key, "one key for all images", 0.01, "exact", traits=LINEAR | {"keyed"}),
}  # fmt: skip
SOUND = Broken(static, "none", 1.0, "nothing is there")


# What an adversary sees of them


def observed(broken):
    """The observation, and the dominant originals of its targets: (n, 3, 32, 32) uint8."""
    weights = [list(each) if isinstance(each, tuple) else each for each in broken.weights]
    mixing = {"weights": weights, "pairing": "permutation", "intra_class": False, "label": "dominant"}
    function = broken.function

    def bound(sources, weights, rng):
        return function(sources, weights, rng, **broken.params)

    scheme, images = Scheme("planted", bound, mixing), pictures(PRIVATE, 1)
    make = in_place if broken.partners or broken.order else shuffled
    made = [make(scheme, images, epoch, broken) for epoch in range(broken.epochs)]
    releases, first = [release for release, _ in made], made[0][1]
    own = LabelledImages(torch.from_numpy(pictures(PUBLIC, 2)), np.arange(PUBLIC) % 2)
    seen = Observation(
        releases[0].images, np.arange(PRIVATE), ("even", "odd"), scheme.sources, "cpu",
        frozenset({"releases", "defense", "public"}), _releases=releases,
        _known=KnownDefense(broken.params, mixing, broken.traits), _scheme=scheme, _public=own,
        _key=derive(KEY, "adversary"),
    )  # fmt: skip
    return seen, torch.from_numpy(images[first])


def shuffled(scheme, images, epoch, broken):
    """As the harness releases it, and the dominant rows."""
    release, secret = obfuscate(scheme, images, np.arange(len(images)) % 2, 2, derive(KEY, "client", epoch))
    return release, secret.dominant_rows


def in_place(scheme, images, epoch, broken):
    """A client that does not shuffle (row i leads with original i), or that draws its pairs once for all epochs."""
    rows = np.arange(len(images))
    weights = plan(rows % 2, scheme.mixing, numpy_generator(derive(KEY, "weights", epoch))).weights
    partners = [rows, *(np.roll(rows, 3 + column) for column in range(scheme.sources - 1))]
    order = rows if broken.order else numpy_generator(derive(KEY, "order", epoch)).permutation(rows)
    sources = np.stack(partners, 1)[order]
    stack = to_images(torch.from_numpy(images[sources]))
    made = scheme.function(stack, torch.from_numpy(weights), torch_generator(derive(KEY, "dice", epoch), "cpu"))
    return Release(to_bytes(made), torch.from_numpy(sources[:, 0] % 2)), sources[:, 0]
