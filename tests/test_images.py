"""Verbs on image stacks agree with OpenCV, NumPy and the laws of chance."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from harness.errors import HarnessError
from harness.images import (
    average,
    blur,
    exact_mask,
    gaussian_window,
    graft_mask,
    pixelize,
    shuffle_blocks,
    shuffle_by,
    to_bytes,
    to_images,
)
from harness.randomness import derive, torch_generator

Floats = np.ndarray[Any, np.dtype[np.float32]]


def dice(seed: int = 0) -> torch.Generator:
    return torch_generator(derive(b"images", seed), "cpu")


def upright(images: torch.Tensor) -> list[Floats]:
    """As OpenCV wants them: (H, W, 3) float32 each."""
    return [np.ascontiguousarray(image) for image in images.numpy().transpose(0, 2, 3, 1)]


def stacked(pictures: list[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2))


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


# ---- bytes -----------------------------------------------------------------------------------------------------------


def test_every_byte_survives_the_way_to_float_and_back() -> None:
    stored = torch.arange(256, dtype=torch.uint8)

    assert torch.equal(to_bytes(to_images(stored)), stored)
    assert to_images(stored).dtype == torch.float32
    assert to_images(stored)[[0, 255]].tolist() == [0, 1]


def test_bytes_are_rounded_to_the_nearest_not_truncated() -> None:
    levels = torch.tensor([0.4, 0.6, 1.4, 1.6, 127.49, 127.51, 254.4, 254.6]) / 255

    assert to_bytes(levels).tolist() == [0, 1, 1, 2, 127, 128, 254, 255]


def test_values_outside_the_range_are_clipped_and_do_not_wrap() -> None:
    assert to_bytes(torch.tensor([-9.0, -0.01, 1.01, 300.0])).tolist() == [0, 0, 255, 255]


def test_making_bytes_leaves_the_floats_alone(images: torch.Tensor) -> None:
    kept = images.clone()

    to_bytes(images)

    assert torch.equal(images, kept)


# ---- average ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_average_is_the_weighted_sum(count: int) -> None:
    rng = np.random.default_rng(count)
    sources, weights = rng.random((7, count, 3, 9, 12)), rng.dirichlet(np.ones(count), 7)
    expected = sum(weights[:, i, None, None, None] * sources[:, i] for i in range(count))

    made = average(torch.from_numpy(sources.astype(np.float32)), torch.from_numpy(weights.astype(np.float32)))

    np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)


# ---- blur ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [17, 35, 45])
def test_blur_is_opencvs(images: torch.Tensor, kernel: int) -> None:
    """The paper's kernels; sigma 0 lets OpenCV derive it from the kernel. Also where the image is not square."""
    for some in (images[:6], images[:6, :, :, 5:52]):
        theirs = [
            cv2.GaussianBlur(image, (kernel, kernel), 0, borderType=cv2.BORDER_REFLECT_101) for image in upright(some)
        ]

        assert (blur(some, kernel) - stacked(theirs)).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_small_kernels_follow_opencvs_formula(images: torch.Tensor, kernel: int) -> None:
    """At 64 px the paper's kernels scale to such; OpenCV has tables of its own for them unless it is told sigma."""
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    theirs = [
        cv2.GaussianBlur(image, (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT_101) for image in upright(images)
    ]

    assert (blur(images, kernel) - stacked(theirs)).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", [1, 17, 127])
def test_blur_keeps_flat_images_flat(kernel: int) -> None:
    """Also with the largest kernel that 64 px allow, where the border is mirrored whole."""
    flat = torch.full((1, 3, 64, 64), 0.3)

    assert torch.allclose(blur(flat, kernel), flat, atol=1e-6)


def test_a_kernel_of_one_pixel_changes_nothing(images: torch.Tensor) -> None:
    assert torch.equal(blur(images, 1), images)


def test_the_window_is_opencvs_kernel() -> None:
    theirs = cv2.getGaussianKernel(35, 0, cv2.CV_64F).ravel()

    np.testing.assert_allclose(gaussian_window(35).numpy(), theirs, atol=1e-12)


@pytest.mark.parametrize("kernel", [0, -3, 2, 16, 129])
def test_kernels_that_are_even_or_too_large_are_refused(images: torch.Tensor, kernel: int) -> None:
    with pytest.raises(HarnessError, match=f"kernel {kernel} .*64x64.*odd number up to 127"):
        blur(images, kernel)


# ---- pixelize --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [1, 8, 16, 32, 64, 20, 24, 48])
def test_pixelize_is_opencvs_area_average_and_nearest_neighbour(images: torch.Tensor, grid: int) -> None:
    """For grids that divide 64 and for 20, 24 and 48 that do not."""
    theirs = [
        cv2.resize(cv2.resize(image, (grid, grid), interpolation=cv2.INTER_AREA), (64, 64), interpolation=0)
        for image in upright(images)
    ]

    assert cv2.INTER_NEAREST == 0
    assert (pixelize(images, grid) - stacked(theirs)).abs().max() < 1e-5


def test_pixelize_averages_each_side_by_its_own_length(images: torch.Tensor) -> None:
    """A 64 x 48 image on a grid of 16 has cells of 4 x 3 pixels."""
    wide = images[..., :48]
    means = wide.reshape(-1, 3, 16, 4, 16, 3).mean((3, 5))

    made = pixelize(wide, 16)

    assert torch.allclose(made, means.repeat_interleave(4, 2).repeat_interleave(3, 3), atol=1e-6)


@pytest.mark.parametrize("grid", [1, 2, 4, 8, 16, 32, 64])
def test_pixelizing_twice_changes_nothing_more_where_the_grid_divides(images: torch.Tensor, grid: int) -> None:
    once = pixelize(images, grid)

    assert torch.allclose(pixelize(once, grid), once, atol=1e-6)


@pytest.mark.parametrize("grid", [0, -1, 65])
def test_grids_that_do_not_fit_are_refused(images: torch.Tensor, grid: int) -> None:
    with pytest.raises(HarnessError, match=f"grid {grid} does not fit 64x64 images; use 1 to 64"):
        pixelize(images, grid)


# ---- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20, 33, 64, 72, 97, 100])
@pytest.mark.parametrize("verb, knob", [(blur, 9), (pixelize, 12)], ids=["blur", "pixelize"])
def test_transforms_do_not_depend_on_the_number_of_threads(verb: Any, knob: int, size: int) -> None:
    """To the last bit, many images or one: what differs there is rounded to other bytes in a large release."""
    many = torch.rand(2**19 // (3 * size * size), 3, size, size, generator=dice(7))
    before = torch.get_num_threads()

    try:
        made = [(torch.set_num_threads(count), verb(many, knob), verb(many[:1], knob))[1:] for count in (1, 4, 16)]
    finally:
        torch.set_num_threads(before)

    for others in made[1:]:
        assert torch.equal(made[0][0], others[0]) and torch.equal(made[0][1], others[1])


# ---- shuffle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 4, 8, 16, 32, 64])
def test_shuffling_keeps_every_pixel_in_its_block(images: torch.Tensor, block: int) -> None:
    """The same pixels, all three channels of each together, in another order."""
    before, after = blocks_of(images[:4], block), blocks_of(shuffle_blocks(images[:4], block, dice()), block)

    for some, others in zip(before.reshape(-1, block * block, 3), after.reshape(-1, block * block, 3), strict=True):
        np.testing.assert_array_equal(some[np.lexsort(some.T)], others[np.lexsort(others.T)])


def test_every_order_is_a_fresh_draw() -> None:
    """No two blocks of any image, source or channel-triple share a permutation: 16! orders do not repeat by chance."""
    stack = numbered(6, 32, 4).view(3, 2, 3, 32, 32)

    shuffled = shuffle_blocks(stack, 4, dice())

    orders = blocks_of(shuffled.flatten(0, 1), 4)
    assert len({order[:, 0].tobytes() for order in orders.reshape(-1, 16, 3)}) == 6 * 64
    assert np.array_equal(orders - orders[..., :1], np.broadcast_to(np.float32([0, 0.25, 0.5]), orders.shape))


def test_every_pixel_is_equally_likely_to_land_anywhere_in_its_block() -> None:
    """Chi-square over (from, to): rows and columns sum to n, so (m - 1) / m times it has (m - 1)^2 degrees."""
    shuffled = shuffle_blocks(numbered(200, 32, 4), 4, dice(1))

    came_from = blocks_of(shuffled, 4)[..., 0].astype(int).reshape(-1, 16)
    counts = np.stack([np.bincount(came_from[:, place], minlength=16) for place in range(16)])
    expected = len(came_from) / 16
    statistic = ((counts - expected) ** 2 / expected).sum() * 15 / 16
    assert 1e-4 < chi2.sf(statistic, 15**2) < 1 - 1e-4


def test_the_same_dice_give_the_same_order_and_others_another(images: torch.Tensor) -> None:
    assert torch.equal(shuffle_blocks(images, 8, dice(1)), shuffle_blocks(images, 8, dice(1)))
    assert not torch.equal(shuffle_blocks(images, 8, dice(1)), shuffle_blocks(images, 8, dice(2)))


def test_shuffle_by_sorts_each_block_by_its_draws() -> None:
    """Draws that fall turn every block upside down and left to right; its blocks stay where they are."""
    images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    falling = torch.arange(16.0, 0, -1).expand(2, 6, 16)

    made = shuffle_by(images, falling, 4)

    turned = [[images[:, :, y : y + 4, x : x + 4].flip(-1, -2) for x in range(0, 12, 4)] for y in range(0, 8, 4)]
    assert torch.equal(made, torch.cat([torch.cat(row, -1) for row in turned], -2))


@pytest.mark.parametrize("block", [7, 3, 0, -4, 128])
def test_blocks_that_do_not_divide_are_refused_with_those_that_do(images: torch.Tensor, block: int) -> None:
    with pytest.raises(HarnessError, match=f"block {block} does not divide 64x64 images; use 2, 4, 8, 16 or 32"):
        shuffle_blocks(images, block, dice())


def test_a_block_must_divide_both_sides(images: torch.Tensor) -> None:
    with pytest.raises(HarnessError, match="block 8 does not divide 64x60 images; use 2 or 4"):
        shuffle_blocks(images[..., :60], 8, dice())


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

    kept = graft_mask(torch.zeros(n, 2, 3, 8, 8), p, per, dice(2)).flatten(1)

    assert kept.shape == (n, entries)
    spread = n * p * (1 - p) * entries / (entries - 1)
    statistic = ((kept.sum(0).double() - n * p) ** 2 / spread).sum().item()
    assert 1e-4 < chi2.sf(statistic, entries - 1) < 1 - 1e-4


def test_masks_of_two_images_are_independent() -> None:
    """Two masks with half ones agree on about half of the pixels, and no two are alike."""
    kept = graft_mask(torch.zeros(40, 2, 3, 32, 32), 0.5, "pixel", dice(3)).flatten(1).double()

    agreement = (kept @ kept.T + (1 - kept) @ (1 - kept).T) / 1024
    others = agreement[~torch.eye(40, dtype=torch.bool)]
    assert (others - 0.5).abs().max() < 6 * 0.5 / 1024**0.5


# ---- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_the_same_draws_give_the_same_images_on_both_devices(images: torch.Tensor) -> None:
    """Within one grey level: random transforms on the draws of one device, the others on the same images."""
    shuffles = torch.rand(24, 64, 64, generator=dice(), dtype=torch.float64)
    masks = torch.rand(24, 1, 64, 64, generator=dice(1), dtype=torch.float64)

    assert torch.equal(shuffle_by(images.cuda(), shuffles.cuda(), 8).cpu(), shuffle_by(images, shuffles, 8))
    assert torch.equal(exact_mask(masks.cuda(), 0.6).cpu(), exact_mask(masks, 0.6))
    for here, there in (
        (blur(images, 17), blur(images.cuda(), 17)),
        (pixelize(images, 20), pixelize(images.cuda(), 20)),
    ):
        assert (to_bytes(here).int() - to_bytes(there).cpu().int()).abs().max() <= 1
