"""Verbs on image stacks agree with OpenCV, NumPy and the laws of chance."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.images import (
    add_noise,
    average,
    blur,
    choose,
    cpu,
    exact_mask,
    gaussian_window,
    graft_mask,
    pixelize,
    shuffle_blocks,
    shuffle_by,
    to_bytes,
    to_images,
)
from tests.helpers.generators import Floats, generator


def upright(images: torch.Tensor) -> list[Floats]:
    """As OpenCV wants them: (H, W, 3) float32 each."""
    return [np.ascontiguousarray(image) for image in images.numpy().transpose(0, 2, 3, 1)]


def stacked(pictures: list[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2))


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


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1,), (2, 3, 5, 7)])
def test_bytes_of_any_shape_are_those_of_plain_arithmetic(shape: tuple[int, ...]) -> None:
    """A float32 product, rounded half to even: at every level and half level too."""
    levels = torch.cat([torch.arange(-4, 1026) / 1020, torch.rand(10_000, generator=generator()) * 3 - 1])
    some = torch.rand(shape, generator=generator())

    for images in (levels, some, some.transpose(0, -1)):
        assert torch.equal(to_bytes(images), images.mul(255).round().clamp(0, 255).to(torch.uint8))


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
    """At 64 px the paper's kernels scale to such; OpenCV uses tables for them unless it is given sigma."""
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    theirs = [
        cv2.GaussianBlur(image, (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT_101) for image in upright(images)
    ]

    assert (blur(images, kernel) - stacked(theirs)).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", [1, 17, 127])
def test_blur_keeps_flat_images_flat(kernel: int) -> None:
    """Also with the largest kernel that 64 px allow, where the border is mirrored completely."""
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


# ---- kernels and plain expressions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(64, 64), (50, 33), (7, 9), (256, 96)])
def test_the_cpus_blur_and_pixelizing_are_the_matrices(height: int, width: int) -> None:
    """Within 5e-7 of the products in float64, which gradients take: the rounding of float32 sums."""
    images = torch.rand(2, 3, height, width, generator=generator(8))
    least = min(height, width)
    cases = [(blur, kernel) for kernel in (1, 3, 5, 7, 9, 13, 35, 2 * least - 1) if kernel < 2 * least]
    cases += [(pixelize, grid) for grid in (1, 2, 5, 7, 16, 31, least) if grid <= least]

    for verb, knob in cases:
        exact = verb(images.double().requires_grad_(), knob)

        assert verb(images, knob).dtype == torch.float32
        assert (verb(images, knob) - exact).abs().max() < 5e-7, (verb, knob)


@pytest.mark.parametrize("verb, knob", [(blur, 9), (blur, 17), (pixelize, 5), (shuffle_blocks, 4)])
def test_images_may_have_any_memory_layout(images: torch.Tensor, verb: Any, knob: int) -> None:
    """Strided, channels last, in stacks of stacks, or a single one without its batch."""
    more = (generator(),) if verb is shuffle_blocks else ()
    stacks = images.view(4, 6, 3, 64, 64)

    def made(some: torch.Tensor) -> torch.Tensor:
        return verb(some, knob, *(generator() for _ in more))

    for some in (stacks[:, ::2], stacks[0].contiguous(memory_format=torch.channels_last), stacks[0, 0]):
        assert torch.equal(made(some), made(some.clone(memory_format=torch.contiguous_format)))


@pytest.mark.skipif(cpu.loops() is None, reason="Numba is not installed here")
@pytest.mark.parametrize("size", [16, 33, 64])
def test_without_numba_the_bytes_are_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed gives the same release on every machine, whatever is installed there."""
    images = torch.rand(3, 3, size, size, generator=generator(9))

    def made() -> list[torch.Tensor]:
        blurred = [blur(images, kernel) for kernel in (1, 3, 5, 9, 17, 31)]
        blurred += [pixelize(images, grid) for grid in (1, 3, 5, 8, 16)]
        return blurred + [shuffle_blocks(images, block, generator()) for block in (1, 4, 8, 11) if size % block == 0]

    with_numba = made()
    monkeypatch.setattr(cpu, "loops", lambda: None)

    assert all(torch.equal(one, other) for one, other in zip(with_numba, made(), strict=True))


def test_gradients_flow_through_every_operation(images: torch.Tensor) -> None:
    """An attack descends through the defense; all of these are linear in the images, noise and masks apart."""
    some = images[:2, :, :16, :16].double().requires_grad_()
    verbs = [
        lambda images: blur(images, 5),
        lambda images: pixelize(images, 5),
        lambda images: shuffle_blocks(images, 4, generator()),
        lambda images: add_noise(images, torch.tensor([0.1, 0.2], dtype=torch.float64), generator()),
        lambda images: choose(graft_mask(images.unsqueeze(1), 0.5, "pixel", generator()), images, images.flip(0)),
        lambda images: average(images.unsqueeze(0), torch.tensor([[0.3, 0.7]])),
    ]

    for verb in verbs:
        direction = torch.rand(some.shape, generator=generator(1), dtype=torch.float64)
        made = verb(some)
        weights = torch.rand(made.shape, generator=generator(2), dtype=torch.float64)
        (gradient,) = torch.autograd.grad((made * weights).sum(), some)

        moved = ((verb(some + direction) - made) * weights).sum()
        np.testing.assert_allclose(float((gradient * direction).sum()), float(moved.detach()), rtol=1e-6)


# ---- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [20, 33, 64, 72, 97, 100])
@pytest.mark.parametrize(
    "verb, knob",
    [
        (blur, 9),
        (pixelize, 12),
        (lambda images, block: shuffle_blocks(images, block, generator()), 1),
        (lambda images, sigma: add_noise(images, torch.full((len(images),), sigma), generator()), 0.1),
        (lambda images, p: choose(graft_mask(images.unsqueeze(1), p, "pixel", generator()), images, 1 - images), 0.6),
    ],
    ids=["blur", "pixelize", "shuffle", "noise", "graft"],
)
def test_transforms_do_not_depend_on_the_number_of_threads(verb: Any, knob: int, size: int) -> None:
    """To the last bit, many images or one: what differs there is rounded to other bytes in a large release."""
    many = torch.rand(2**19 // (3 * size * size), 3, size, size, generator=generator(7))
    before = torch.get_num_threads(), cv2.getNumThreads()

    def of(threads: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.set_num_threads(threads), cv2.setNumThreads(threads)
        return verb(many, knob), verb(many[:1], knob)

    try:
        made = [of(threads) for threads in (1, 4, 16)]
    finally:
        torch.set_num_threads(before[0]), cv2.setNumThreads(before[1])

    for others in made[1:]:
        assert torch.equal(made[0][0], others[0]) and torch.equal(made[0][1], others[1])


# ---- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_the_same_draws_give_the_same_images_on_both_devices(images: torch.Tensor) -> None:
    """Within one grey level: random transforms on the draws of one device, the others on the same images."""
    shuffles = torch.randint(2**32, (24, 64, 64), generator=generator())
    masks = torch.rand(24, 1, 64, 64, generator=generator(1), dtype=torch.float64)

    assert torch.equal(shuffle_by(images.cuda(), shuffles.cuda(), 8).cpu(), shuffle_by(images, shuffles, 8))
    assert torch.equal(exact_mask(masks.cuda(), 0.6).cpu(), exact_mask(masks, 0.6))
    for here, there in (
        (blur(images, 17), blur(images.cuda(), 17)),
        (pixelize(images, 20), pixelize(images.cuda(), 20)),
    ):
        assert (to_bytes(here).int() - to_bytes(there).cpu().int()).abs().max() <= 1
