"""Keys that are drawn anew for every image are found from the image itself, and nothing is found where nothing is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from harness.images import to_bytes, to_images
from harness.plugins.attacks.ensemble.brightness_contrast import SETTINGS, TypicalLevels
from harness.plugins.attacks.fresh_keys import carriers, families, permutations, shifts
from harness.plugins.attacks.fresh_keys.naturalness import Naturalness
from harness.plugins.attacks.fresh_keys.search import fresh_keys
from tests.helpers.generators import generator
from tests.planted.data import distances, observed, photographs
from tests.planted.hidden import in_low_bits
from tests.planted.schemes import PLANTED, SOUND
from tests.planted.table import Planted, on_bytes


def planted(change):
    """A defense from change(images (n, 3, H, W) uint8, rng of NumPy) of tensors; its decoder is not used here."""
    return Planted(
        on_bytes(lambda images, rng: change(torch.from_numpy(images), rng).numpy()), "fresh", "", lambda x, context: x
    )


def draws(rng, high, *shape):
    return torch.from_numpy(rng.integers(high, size=shape))


def shifted(images, rng):
    down, across = draws(rng, images.shape[2], len(images)), draws(rng, images.shape[3], len(images))
    return shifts.rolled(shifts.rolled(images, down, 2), across, 3)


def shifted_channels(images, rng):
    down, across = (draws(rng, images.shape[2], len(images), 3, 1, 1) for _ in range(2))
    return shifts.rolled(shifts.rolled(images, down, 2), across, 3)


def shifted_rows(images, rng):
    return shifts.rolled(images, draws(rng, images.shape[3], len(images), 1, images.shape[2], 1), 3)


def shifted_and_inverted(images, rng):
    return families.inverted(shifted(images, rng), draws(rng, 2, len(images)))


def xored(images, rng):
    return families.xored(images, draws(rng, 256, len(images)))


def multiplied(images, rng):
    return families.multiplied(images, draws(rng, 128, len(images)))


def sums_of_channels(images, rng):
    """Red is random; green and blue hold the differences."""
    mask = draws(rng, 256, len(images), 1, *images.shape[2:]).to(torch.uint8)
    return torch.cat([mask, images[:, 1:2] + mask, images[:, 2:] + images[:, 1:2] + mask], 1)


def low_bits_shifted(images, rng):
    return shifted(torch.from_numpy(in_low_bits(images.numpy(), rng).astype(np.uint8)), rng)


CASES = {  # name: (scheme, largest mean dSSIM after, what the words must say)
    "shift": (planted(shifted), 0.3, "circular shift"),
    "shift of channels": (planted(shifted_channels), 0.3, "every channel"),
    "shift of rows": (planted(shifted_rows), 0.45, "every row"),
    "shift, then inversion": (planted(shifted_and_inverted), 0.4, "; then "),
    "xor": (planted(xored), 0.35, "exclusive or with a byte"),
    "multiplication": (planted(multiplied), 0.25, "multiplied modulo 256"),
    "sums of channels": (planted(sums_of_channels), 0.35, "channels modulo 256"),
    "shifted low bits": (planted(low_bits_shifted), 0.35, "4 low bits; then "),
    **{
        name: (PLANTED[name], PLANTED[name].limit + 0.1, words)
        for name, words in {
            "low_bits": "table",
            "low_bits_of_blue": "table",
            "residue": "table",
            "checkerboard": "checkerboard",
            "corner": "tile",
            "fresh_shift": "circular shift",
            "fresh_blocks": "order of blocks",
            "fresh_rows": "order of the rows",
            "fresh_xor": "every channel",
            "fresh_caesar": "every channel",
            "rolled_low_bits": "low bits",
            "telling_brightness": "levels",
        }.items()
    },
}


@cache
def seen(name):
    schemes = {**{case: each[0] for case, each in CASES.items()}, **PLANTED}
    scheme = schemes[name] if name in schemes else Planted(SOUND[name], "sound", "", lambda x, context: x)
    return observed(scheme, photographs())


@pytest.mark.parametrize("name", CASES)
def test_a_fresh_key_is_found_and_undone(name):
    _, limit, words = CASES[name]
    attacked = seen(name)

    undoing = fresh_keys(attacked.observation, generator())

    assert undoing is not None and words in undoing.said
    released = attacked.observation.images
    assert float(distances(undoing.invert(released), attacked.originals).mean()) < limit, undoing.said


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_found_where_nothing_is(name):
    assert fresh_keys(seen(name).observation, generator()) is None


def test_noise_is_left_to_the_members_that_remove_it():
    def noisy(images, rng):
        return to_bytes(to_images(images) + torch.from_numpy(rng.normal(0, 40 / 255, images.shape)).float())

    assert fresh_keys(observed(planted(noisy), photographs()).observation, generator()) is None


def test_nothing_is_found_in_undefended_photographs():
    attacked = observed(planted(lambda images, rng: images), photographs())

    assert fresh_keys(attacked.observation, generator()) is None


@pytest.mark.parametrize("family", families.families(16, 16), ids=lambda family: family.said)
def test_the_value_0_changes_nothing_and_each_change_can_be_undone_by_another(family):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8))
    values = torch.arange(family.count)
    stack = images.expand(family.count, -1, -1, -1)

    assert torch.equal(family.change(stack, 0 * values), stack)
    for value in values[:: max(1, family.count // 8)]:
        changed = family.change(images, value.view(1)).expand(family.count, -1, -1, -1)
        undone = family.change(changed, values)
        assert (undone == stack).flatten(1).all(1).any()


def test_naturalness_prefers_photographs_to_their_negatives_and_to_noise():
    data = photographs()
    private, public = torch.from_numpy(data.private), torch.from_numpy(data.public)
    sign = next(family for family in families.families(48, 48) if family.change is families.inverted)
    score = Naturalness.fit(public, "cpu", sign)
    noise = torch.from_numpy(np.random.default_rng(1).integers(0, 256, private.shape, dtype=np.uint8))

    assert (score(private) > score(255 - private)).double().mean() > 0.8
    assert (Naturalness.fit(public, "cpu")(private) > Naturalness.fit(public, "cpu")(noise)).double().mean() > 0.8


def test_a_table_of_values_finds_a_function_of_a_byte():
    rng = np.random.default_rng(2)
    curve = rng.permutation(256).astype(np.uint8)
    hidden = torch.from_numpy(rng.integers(0, 256, (20, 3, 64, 64), dtype=np.uint8))
    truth = torch.from_numpy(curve[hidden.numpy()])

    table = carriers.ValueTable.fit(hidden[:10], truth[:10])

    assert (table(hidden[10:]).float() - truth[10:].float()).abs().mean() < 5  # grey levels, of 64 by chance: shrinkage


@pytest.mark.parametrize(("side", "share"), [(24, 0.9), (12, 0.35)])
def test_blocks_are_put_together_again(side, share):
    images = torch.from_numpy(photographs().private)
    textured = images[(images.float().diff(dim=3).abs().mean((1, 2, 3)) > 4)]
    blocks = permutations.to_blocks(textured, side)
    order = torch.rand(blocks.shape[:2], generator=generator()).argsort(1)
    moved = blocks.gather(1, order.view(*order.shape, 1, 1, 1).expand(blocks.shape))
    released = permutations.from_blocks(moved, 48, 48)

    found = permutations.assembled(released, side)

    assert torch.equal(permutations.from_blocks(blocks, 48, 48), textured)
    assert permutations.block_side(released, textured) == side
    assert permutations.block_side(textured, textured) is None
    assert (found == textured).flatten(1).all(1).float().mean() > share
    assert torch.equal(found.flatten(2).sort(2).values, textured.flatten(2).sort(2).values)  # nothing lost or doubled


def test_rows_of_a_gradient_are_sorted():
    ramp = torch.arange(0, 240, 5, dtype=torch.uint8).view(1, 1, -1, 1).expand(1, 3, -1, 16)
    order = torch.rand(48, generator=generator()).argsort()

    found = permutations.in_order(ramp[:, :, order])

    assert torch.equal(found, ramp) or torch.equal(found, ramp.flip(2))


@pytest.mark.parametrize("setting", SETTINGS)
def test_typical_images_are_hardly_corrected_and_flat_ones_stay_finite(setting):
    public = torch.from_numpy(photographs().public)
    typical = TypicalLevels.of(public)
    flat = torch.full((1, 3, 48, 48), 7, dtype=torch.uint8)

    assert typical.corrected(flat, setting).shape == flat.shape
    corrected = to_images(typical.corrected(public, setting))
    assert abs(float(corrected.mean() - to_images(public).mean())) < 0.05
