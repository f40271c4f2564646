"""Random operations on image stacks, shuffling, noise and masks, obey the laws of chance and repeat for a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare, norm

from harness.errors import HarnessError
from harness.images import add_noise, choose, cpu, exact_mask, graft_mask, shuffle_blocks, shuffle_by
from harness.images.draws import Draws
from harness.randomness import key_from
from tests.helpers.generators import Floats, generator


def blocks_of(images: torch.Tensor, block: int) -> Floats:
    """(N, blocks, block * block, 3): the pixels of every block, row by row, by plain slicing."""
    height, width = images.shape[-2:]
    squares = [
        images[:, :, top : top + block, left : left + block].flatten(2).permute(0, 2, 1)
        for top in range(0, height, block)
        for left in range(0, width, block)
    ]
    return torch.stack(squares, 1).numpy()


def numbered(count: int, size: int, block: int) -> torch.Tensor:
    """Images whose pixels hold their place inside their block, in every channel: place, place + 0.25, place + 0.5."""
    inside = torch.arange(size) % block
    place = (inside[:, None] * block + inside).float()
    return (place + torch.tensor([0, 0.25, 0.5]).view(3, 1, 1)).repeat(count, 1, 1, 1)


# ---- shuffle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 4, 8, 16, 32, 64])
def test_shuffling_keeps_every_pixel_in_its_block(images: torch.Tensor, block: int) -> None:
    """The same pixels, all three channels of each together, in another order."""
    before, after = blocks_of(images[:4], block), blocks_of(shuffle_blocks(images[:4], block, generator()), block)

    for some, others in zip(before.reshape(-1, block * block, 3), after.reshape(-1, block * block, 3), strict=True):
        np.testing.assert_array_equal(some[np.lexsort(some.T)], others[np.lexsort(others.T)])


def test_every_order_is_a_fresh_draw() -> None:
    """No two blocks of any image, source or channel-triple share a permutation: 16! orders do not repeat by chance."""
    stack = numbered(6, 32, 4).view(3, 2, 3, 32, 32)

    shuffled = shuffle_blocks(stack, 4, generator())

    orders = blocks_of(shuffled.flatten(0, 1), 4)
    assert len({order[:, 0].tobytes() for order in orders.reshape(-1, 16, 3)}) == 6 * 64
    assert np.array_equal(orders - orders[..., :1], np.broadcast_to(np.float32([0, 0.25, 0.5]), orders.shape))


@pytest.mark.parametrize("block, count", [(2, 100), (4, 400), (8, 400)])
def test_every_pixel_is_equally_likely_to_land_anywhere_in_its_block(block: int, count: int) -> None:
    """Chi-square over (from, to): rows and columns sum to n, so (m - 1) / m times it has (m - 1)^2 degrees."""
    places = block * block
    shuffled = shuffle_blocks(numbered(count, 64, block), block, generator(1))

    came_from = blocks_of(shuffled, block)[..., 0].astype(int).reshape(-1, places)
    counts = np.stack([np.bincount(came_from[:, place], minlength=places) for place in range(places)])
    expected = len(came_from) / places
    statistic = ((counts - expected) ** 2 / expected).sum() * (places - 1) / places
    assert 1e-4 < chi2.sf(statistic, (places - 1) ** 2) < 1 - 1e-4


def test_every_order_of_four_pixels_is_equally_likely() -> None:
    """Chi-square over all 24: places that are uniform one by one could still move together."""
    shuffled = shuffle_blocks(numbered(100, 64, 2), 2, generator(2))

    orders = blocks_of(shuffled, 2)[..., 0].astype(int).reshape(-1, 4) @ 4 ** np.arange(4)
    found, counts = np.unique(orders, return_counts=True)
    assert len(found) == 24
    assert 1e-4 < chisquare(counts).pvalue < 1 - 1e-4


def test_neighbouring_blocks_are_shuffled_independently() -> None:
    """Chi-square over where the first pixel of a block and of the next come from."""
    shuffled = shuffle_blocks(numbered(300, 64, 4), 4, generator(3))

    first = blocks_of(shuffled, 4)[..., 0, 0].astype(int)
    pairs = np.bincount((first[:, :-1] * 16 + first[:, 1:]).ravel(), minlength=256)
    assert 1e-4 < chisquare(pairs).pvalue < 1 - 1e-4


def test_the_same_seed_gives_the_same_order_and_another_seed_another(images: torch.Tensor) -> None:
    assert torch.equal(shuffle_blocks(images, 8, generator(1)), shuffle_blocks(images, 8, generator(1)))
    assert not torch.equal(shuffle_blocks(images, 8, generator(1)), shuffle_blocks(images, 8, generator(2)))


def test_draws_that_always_pick_the_first_pixel_rotate_a_block_by_one_position() -> None:
    """Fisher and Yates with every draw 0: each pixel is exchanged with the first, from the last to the second."""
    images = numbered(2, 8, 4)

    made = shuffle_by(images, torch.zeros(2, 4, 16, dtype=torch.int64), 4)

    assert blocks_of(made, 4)[..., 0].tolist() == [[[*range(1, 16), 0]] * 4] * 2


def test_the_largest_draws_leave_every_pixel_where_it_is(images: torch.Tensor) -> None:
    assert torch.equal(shuffle_by(images, torch.full((24, 64, 64), 2**32 - 1), 8), images)


@pytest.mark.parametrize("height, width, block", [(64, 64, 8), (8, 12, 4), (6, 4, 2), (5, 3, 1), (32, 32, 32)])
def test_shuffle_by_exchanges_the_pixels_that_its_draws_name(height: int, width: int, block: int) -> None:
    """Compiled or not, and with gradients: equal to Durstenfeld's loop, pixel by pixel."""
    images = torch.rand(2, 3, height, width, generator=generator())
    draws = torch.randint(2**32, (2, height // block * (width // block), block * block), generator=generator(1))
    expected = blocks_of(images, block).copy()
    for pixels, numbers in zip(expected.reshape(-1, block * block, 3), draws.flatten(0, 1).tolist(), strict=True):
        for last in range(block * block - 1, 0, -1):
            pixels[[last, numbers[last] * (last + 1) // 2**32]] = pixels[[numbers[last] * (last + 1) // 2**32, last]]

    for some in (images, images.clone().requires_grad_()):
        np.testing.assert_array_equal(blocks_of(shuffle_by(some, draws, block).detach(), block), expected)


@pytest.mark.parametrize("block", [7, 3, 0, -4, 128])
def test_blocks_that_do_not_divide_are_refused_with_those_that_do(images: torch.Tensor, block: int) -> None:
    with pytest.raises(HarnessError, match=f"block {block} does not divide 64x64 images; use 2, 4, 8, 16 or 32"):
        shuffle_blocks(images, block, generator())


def test_a_block_must_divide_both_sides(images: torch.Tensor) -> None:
    with pytest.raises(HarnessError, match="block 8 does not divide 64x60 images; use 2 or 4"):
        shuffle_blocks(images[..., :60], 8, generator())


# ---- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [33, 64])
def test_noise_has_the_histogram_of_a_gaussian_in_8_bits(size: int) -> None:
    """Chi-square of 2 * 10^6 rounded values against every level's exact share; tails of 10 are joined."""
    count = 2_000_000 // (3 * size * size)
    noise = add_noise(torch.zeros(count, 3, size, size), torch.full((count,), 20 / 255), generator(4))

    levels = np.rint(noise.numpy().astype(np.float64) * 255).astype(int).ravel()
    last = int(norm.isf(10 / len(levels)) * 20)
    counts = np.bincount(levels.clip(-last, last) + last, minlength=2 * last + 1)
    edges = norm.cdf(np.concatenate([[-np.inf], np.arange(-last, last) + 0.5, [np.inf]]) / 20)
    assert chisquare(counts, np.diff(edges) * len(levels)).pvalue > 1e-3


def test_every_image_has_noise_of_its_own_deviation() -> None:
    deviations = torch.tensor([0.0, 0.1, 0.4])

    noise = add_noise(torch.full((3, 3, 64, 64), 0.5), deviations, generator(5)) - 0.5

    np.testing.assert_allclose(noise.std((1, 2, 3)), deviations, rtol=4.5 / (2 * 12288) ** 0.5)


def test_the_two_normal_draws_of_a_pair_are_independent() -> None:
    """Box and Muller make them of one length: neither they nor their squares may be correlated."""
    half = 2**15
    pairs = Draws(generator(6)).normal((30, 2, half)).double().transpose(0, 1).reshape(2, -1)

    for some in (pairs, pairs.square(), pairs.abs() > 2):
        assert abs(np.corrcoef(some.numpy())[0, 1]) < 4 / pairs.shape[1] ** 0.5


@pytest.mark.parametrize("count", [1, 2, 5, 2**16 - 1, 2**16 + 1])
def test_any_number_of_normal_draws_can_be_made(count: int) -> None:
    made = Draws(generator(7)).normal((count,))

    assert made.shape == (count,) and made.dtype == torch.float32
    assert bool(torch.isfinite(made).all())
    assert len(made.unique()) > 0.999 * count  # float32 has few enough values for some to be met twice


@pytest.mark.parametrize("compiled", [True, False])
def test_words_are_those_of_sixteen_sfc64s_in_turn(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's own, a dozen of their first words dropped; the lower half of each word comes first."""
    if not compiled:
        monkeypatch.setattr(cpu, "loops", lambda: None)
    key = int.from_bytes(key_from(generator(8)), "little")
    seeds = np.random.SeedSequence(key).generate_state(48, np.uint64).reshape(3, 16)

    draws = Draws(generator(8))
    words = np.concatenate([draws.words((4, 16)).numpy().ravel() for _ in range(2)])

    for lane, seed in enumerate(seeds.T):
        bits = np.random.SFC64(0)
        state = {"bit_generator": "SFC64", "state": {"state": np.append(seed, np.uint64(1))}}
        bits.state = {**state, "has_uint32": 0, "uinteger": 0}
        raw = bits.random_raw(16)[12:]
        assert (
            words.reshape(4, 16, 2)[:, lane].ravel().tolist()
            == np.stack([raw & 0xFFFFFFFF, raw >> 32], 1).ravel().tolist()
        )


def test_the_lanes_of_the_words_are_independent() -> None:
    """Chi-square over the top three bits of a word and of the next one, which another generator made."""
    words = Draws(generator(9)).words((2**20,)).numpy() >> 29

    pairs = np.bincount(words[:-1] * 8 + words[1:], minlength=64)
    assert 1e-4 < chisquare(pairs).pvalue < 1 - 1e-4


# ---- masks -----------------------------------------------------------------------------------------------------------


@given(p=st.floats(0, 1), n=st.integers(1, 200), seed=st.integers(0, 9))
def test_an_exact_mask_has_exactly_its_share_of_ones(p: float, n: int, seed: int) -> None:
    draws = torch.rand(3, 1, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    mask = exact_mask(draws, p)

    assert mask.dtype == torch.bool and mask.shape == draws.shape
    assert mask.flatten(1).sum(1).tolist() == [round(p * n)] * 3


def test_an_exact_mask_takes_the_smallest_draws() -> None:
    mask = exact_mask(torch.tensor([[0.9, 0.1, 0.5, 0.3], [0.2, 0.8, 0.1, 0.9]]), 0.5)

    assert mask.tolist() == [[False, True, False, True], [True, False, True, False]]


@pytest.mark.parametrize("per, entries", [("pixel", 64), ("channel", 192)])
def test_every_entry_is_equally_likely_to_be_grafted(per: str, entries: int) -> None:
    """Chi-square over places; each mask has a fixed number of ones, which takes one degree of freedom."""
    p, n = 0.25, 3000

    kept = graft_mask(torch.zeros(n, 2, 3, 8, 8), p, per, generator(2)).flatten(1)

    assert kept.shape == (n, entries)
    spread = n * p * (1 - p) * entries / (entries - 1)
    statistic = ((kept.sum(0).double() - n * p) ** 2 / spread).sum().item()
    assert 1e-4 < chi2.sf(statistic, entries - 1) < 1 - 1e-4


def test_a_mask_is_drawn_again_where_two_draws_tie_at_its_border(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold one entry too many."""
    made = [np.uint32([[1, 2, 2, 3]]), np.uint32([[4, 2, 3, 1]])]
    monkeypatch.setattr(Draws, "words", lambda self, shape: torch.from_numpy(made.pop(0).reshape(shape)))

    kept = graft_mask(torch.zeros(1, 2, 3, 2, 2), 0.5, "pixel", generator())

    assert kept.flatten().tolist() == [False, True, False, True]


@pytest.mark.parametrize("channels", [1, 3])
def test_choosing_takes_every_value_whole_from_one_of_two(images: torch.Tensor, channels: int) -> None:
    ones, zeros = images[:8], images[8:16]
    kept = torch.rand(8, channels, 64, 64, generator=generator()) < 0.5

    assert torch.equal(choose(kept, ones, zeros), torch.where(kept, ones, zeros))


def test_masks_of_two_images_are_independent() -> None:
    """Two masks with half ones agree on about half of the pixels, and no two are alike."""
    kept = graft_mask(torch.zeros(40, 2, 3, 32, 32), 0.5, "pixel", generator(3)).flatten(1).double()

    agreement = (kept @ kept.T + (1 - kept) @ (1 - kept).T) / 1024
    others = agreement[~torch.eye(40, dtype=torch.bool)]
    assert (others - 0.5).abs().max() < 6 * 0.5 / 1024**0.5
