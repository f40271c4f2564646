"""What a defense does to all images alike is found with chosen images, without gradients, and undone."""

from __future__ import annotations

import numpy as np
import piq
import pytest
import torch

from harness.images import average, to_bytes, to_images
from harness.plugins.attacks.auto import FINDERS
from harness.plugins.attacks.ensemble.entry_maps import entry_map, filled
from harness.plugins.attacks.ensemble.probes import BlackBox
from harness.plugins.attacks.ensemble.traits import probed
from harness.plugins.attacks.ensemble.undo import Undoing, undo
from harness.randomness import torch_generator
from tests.planted.cheats import shown
from tests.planted.composed import noisy
from tests.planted.data import observed, synthetic
from tests.planted.schemes import SOUND
from tests.planted.table import Planted, as_released

SIZE = 32
RNG = np.random.default_rng(0)
COUNT = 3 * SIZE * SIZE
PAD = RNG.integers(0, 256, (3, SIZE, SIZE))
ORDER, PIXELS = RNG.permutation(COUNT), RNG.permutation(SIZE * SIZE)
TABLES = RNG.permuted(np.tile(np.arange(256), (COUNT, 1)), axis=1)
REVERSED = np.array([int(f"{level:08b}"[::-1], 2) for level in range(256)])


def generator(key=b"the rng of an attack"):
    return torch_generator(key, "cpu")


def in_bytes(function):
    """A defense that rounds by itself and passes no gradient."""

    def defense(sources, weights, rng):
        levels = to_bytes(average(sources, weights)).numpy().astype(np.int64)
        return torch.from_numpy(function(levels).astype(np.float32) / 255)

    return defense


def permuted(levels):
    return levels.reshape(len(levels), -1)[:, ORDER].reshape(levels.shape)


def pixels_permuted(levels):
    return levels.reshape(len(levels), 3, -1)[:, :, PIXELS].reshape(levels.shape)


def by_place(levels):
    return TABLES[np.arange(COUNT), levels.reshape(len(levels), -1)].reshape(levels.shape)


def mean_dssim(images, originals):
    pair = to_images(images), to_images(originals)
    return float(1 - piq.ssim(*pair, data_range=1.0, reduction="none", downsample=False).mean())


def undone(function, **settings):
    observation, originals = attacked(function, **settings)
    result = undo(observation, (entry_map,), generator())
    return result.found, mean_dssim(result.observation.images[result.observation.targets], originals)


def attacked(function, **settings):
    """The adversary's view of a defense, and the dominant originals."""
    made = observed(Planted(function, "", "", as_released, **settings), synthetic())
    return made.observation, made.originals


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: REVERSED[x], "one table of grey levels for all pixels"),
        (lambda x: (x + 100) % 256, "one table of grey levels for all pixels"),
        (lambda x: x[..., ::-1, ::-1], "a fixed permutation of pixels"),
        (lambda x: np.roll(x, (3, 5), (2, 3)), "a fixed permutation of pixels"),
        (pixels_permuted, "a fixed permutation of pixels"),
        (permuted, "a fixed permutation of pixels and channels"),
        (lambda x: x[:, ::-1], "a fixed exchange of channels"),
        (lambda x: x ^ PAD, "a table of grey levels for each place (a fixed pad or mask)"),
        (lambda x: (x + PAD) % 256, "a table of grey levels for each place (a fixed pad or mask)"),
        (by_place, "a table of grey levels for each place (a fixed pad or mask)"),
        (lambda x: permuted(x) ^ PAD, "a table of grey levels for each place (a fixed pad or mask)"),
        (lambda x: permuted(by_place(x)), "a fixed permutation of pixels and channels and a table"),
    ],
)
def test_orders_and_tables_are_undone_exactly_without_gradients(function, said):
    found, left = undone(in_bytes(function))

    assert len(found) == 1
    assert said in found[0]
    assert left < 1e-6


def test_what_remains_of_a_mixture_is_the_mixture():
    (_, mixed), (found, left) = undone(shown, weights=(0.6, 0.4)), undone(in_bytes(permuted), weights=(0.6, 0.4))

    assert found == ["a fixed permutation of pixels and channels"]
    assert left == pytest.approx(mixed, abs=0.002)


def test_an_order_is_read_through_noise():
    def defense(sources, weights, rng):
        return noisy(
            pixels_permuted(average(sources, weights)).unsqueeze(1), torch.ones(len(sources), 1), rng, sigma=20
        )

    (_, noise_alone), (found, left) = undone(noisy, params={"sigma": 20}), undone(defense)

    assert "a fixed permutation of pixels" in found[0]
    assert left < noise_alone + 0.01


@pytest.mark.parametrize(
    ("function", "params"), [(shown, {}), (noisy, {"sigma": 20}), *((function, {}) for function in SOUND.values())]
)
def test_nothing_is_claimed_where_nothing_is_fixed(function, params):
    found, _ = undone(function, params=params)

    assert found == []


def test_a_mean_image_is_not_accepted():
    """On noise it has a higher SSIM to every picture, but no more to its own than to others."""
    observation, _ = attacked(SOUND["static"])
    mean = observation.public.images.float().mean(0).round().to(torch.uint8)

    def finder(observation, rng):
        return Undoing("the mean image", lambda images: mean.expand(images.shape))

    result = undo(observation, (finder,), generator())

    assert result.found == []


def test_two_steps_are_accepted_together_where_the_first_alone_brings_nothing():
    """Two orders one after the other: with either undone alone, the pixels are as scattered as before."""
    other = np.random.default_rng(1).permutation(SIZE * SIZE)

    def twice(levels):
        return pixels_permuted(levels).reshape(len(levels), 3, -1)[:, :, other].reshape(levels.shape)

    def back(order):
        places = torch.from_numpy(np.argsort(order))
        return lambda images: images.flatten(2)[..., places].view(images.shape)

    observation, originals = attacked(in_bytes(twice))

    def inner(observation, rng):
        return Undoing("inner", back(PIXELS))

    def outer(observation, rng):
        return Undoing("outer", back(other))

    result = undo(observation, (inner, outer), generator())

    assert result.found == ["outer", "inner"]
    assert mean_dssim(result.observation.images[result.observation.targets], originals) < 1e-6


def test_every_call_has_its_own_generator_and_a_chunk_like_the_clients():
    chunks = []

    def defense(sources, weights, rng):
        chunks.append(len(sources))
        return noisy(sources, weights, rng, sigma=20)

    observation, _ = attacked(defense, weights=(0.6, 0.4))
    chunks.clear()
    box = BlackBox(observation, generator())
    grey = box.flat(torch.tensor([128]))

    first, second = box(grey), box(grey)

    assert not torch.equal(first, second)
    assert chunks == [2**19 // (2 * COUNT)] * 2
    assert box.called == 2


def test_unknown_entries_take_the_mean_of_the_nearest_known_ones():
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 1], image[..., 2, 3] = 2.0, 4.0
    known = image > 0

    assert filled(image, known)[0, 0, 2].tolist() == [2, 2, 3, 4, 4]


def refuses_flat(sources, weights, rng):
    if bool((sources.flatten(1).std(1) < 1e-6).any()):
        raise ValueError("a flat image")
    return 1 - average(sources, weights)


def refuses_small(sources, weights, rng):
    if len(sources) < 20:
        raise ValueError("few images")
    return 1 - average(sources, weights)


@pytest.mark.parametrize("function", [refuses_flat, refuses_small])
def test_a_defense_that_refuses_chosen_images_does_not_stop_the_attack(function):
    observation, _ = attacked(function)

    undo(probed(observation, generator()), FINDERS, generator())
