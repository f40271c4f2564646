"""Every defense does what the paper's section says: recomputed in NumPy and OpenCV, or tested against its distribution.

Reference: Raynal et al. 2020, section 3.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from harness.errors import HarnessError
from harness.images import to_bytes
from harness.plugins.defenses.blur_mix import blur_mix
from harness.plugins.defenses.graft import graft
from harness.plugins.defenses.graft_mix import graft_mix
from harness.plugins.defenses.mix import mix
from harness.plugins.defenses.noise_mix import noise_mix
from harness.plugins.defenses.pixelize_mix import pixelize_mix
from harness.plugins.defenses.shuffle_mix import shuffle_mix
from harness.randomness import derive, torch_generator
from harness.registry import bind, load_registry

REGISTRY = load_registry()
PAPER = [[1.0], [0.5, 0.5], [0.75, 0.25], [0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]]
vectors = pytest.mark.parametrize("vector", PAPER, ids=lambda vector: "-".join(f"{weight:.2g}" for weight in vector))
pers = pytest.mark.parametrize("per", ["pixel", "channel"])


def generator(seed: int = 0) -> torch.Generator:
    return torch_generator(derive(b"defenses", seed), "cpu")


def stacks(images: torch.Tensor, vector: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixtures of crops far apart, all with the same weights: (8, k, 3, 64, 64) and (8, k)."""
    sources = torch.stack([images[i * 8 : i * 8 + 8] for i in range(len(vector))], 1).contiguous()
    return sources, torch.tensor([vector] * 8)


def noise_stacks(n: int, vector: list[float], size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources of independent noise: no pixel of one equals a pixel of another."""
    return torch.rand(n, len(vector), 3, size, size, generator=generator(9)), torch.tensor([vector] * n)


def mixed(sources: torch.Tensor, weights: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The weighted sum, source by source, in double precision."""
    total = np.zeros(sources[:, 0].shape)
    for i in range(sources.shape[1]):
        total += weights[:, i].double().numpy()[:, None, None, None] * sources[:, i].double().numpy()
    return total


# ---- mix -------------------------------------------------------------------------------------------------------------


@vectors
def test_mix_is_the_weighted_sum_of_its_sources(images: torch.Tensor, vector: list[float]) -> None:
    sources, weights = stacks(images, vector)

    made = mix(sources, weights, generator())

    np.testing.assert_allclose(made.numpy(), mixed(sources, weights), atol=1e-6)


def test_none_returns_its_images_unchanged(images: torch.Tensor) -> None:
    """Bit for bit, also after the way to bytes."""
    none = bind(REGISTRY.get("defenses", "none"))

    made = none(images.unsqueeze(1), torch.ones(24, 1), generator())

    assert torch.equal(made, images)


# ---- grafting --------------------------------------------------------------------------------------------------------


@pers
@pytest.mark.parametrize("p", [0, 0.5, 0.6, 0.7, 0.8, 1])
@pytest.mark.parametrize("vector", [[0.5, 0.5], [0.7, 0.2, 0.1]], ids=["two", "three"])
def test_graft_mix_takes_every_entry_from_the_first_source_or_the_mixture(
    p: float, per: str, vector: list[float]
) -> None:
    """Exactly round(p n) from the first source; a pixel's channels go together unless grafted per channel."""
    sources, weights = noise_stacks(6, vector)

    made = graft_mix(sources, weights, generator(), p=p, per=per)

    kept = (made.images == sources[:, 0]).numpy()
    np.testing.assert_allclose(made.images.numpy()[~kept], mixed(sources, weights)[~kept], atol=1e-6)
    if per == "pixel":
        assert np.array_equal(kept.any(1), kept.all(1))
    entries = kept.all(1) if per == "pixel" else kept
    assert entries.reshape(6, -1).sum(1).tolist() == [round(p * entries[0].size)] * 6


def test_grafting_per_channel_parts_the_channels_of_a_pixel() -> None:
    sources, weights = noise_stacks(2, [0.5, 0.5], size=32)

    kept = graft_mix(sources, weights, generator(), p=0.5, per="channel").images == sources[:, 0]

    alike = (kept.all(1) | (~kept).all(1)).float().mean()
    assert abs(alike - 1 / 4) < 0.05  # three coins fall alike a quarter of the time


@pers
@pytest.mark.parametrize("p", [0.0, 0.2, 0.6, 1.0])
def test_the_shares_of_graft_mix_are_p_and_the_rest_of_lambda(p: float, per: str) -> None:
    sources, _ = noise_stacks(2, [1, 0, 0])
    weights = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.33, 0.17]])

    made = graft_mix(sources, weights, generator(), p=p, per=per)

    expected = [[p + (1 - p) * first, (1 - p) * second, (1 - p) * third] for first, second, third in weights.tolist()]
    np.testing.assert_allclose(made.shares.numpy(), expected, atol=1e-6)


@pers
@pytest.mark.parametrize("p", [0.0, 0.3, 0.6, 1.0])
def test_graft_takes_every_entry_from_one_of_two_images(p: float, per: str) -> None:
    """The plan's weights have no part in it: the shares are p and 1 - p."""
    sources, weights = noise_stacks(6, [0.9, 0.1])

    made = graft(sources, weights, generator(), p=p, per=per)

    first, second = ((made.images == sources[:, i]).numpy() for i in (0, 1))
    assert (first ^ second).all()
    if per == "pixel":
        assert np.array_equal(first.any(1), first.all(1))
    entries = first.all(1) if per == "pixel" else first
    assert entries.reshape(6, -1).sum(1).tolist() == [round(p * entries[0].size)] * 6
    np.testing.assert_allclose(made.shares.numpy(), [[p, 1 - p]] * 6, atol=1e-6)


@pytest.mark.parametrize("defense", [graft, graft_mix], ids=lambda defense: defense.__name__)
@pytest.mark.parametrize("p", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_ratio_outside_0_to_1_is_refused(defense: Any, p: float) -> None:
    with pytest.raises(HarnessError, match=f"p {p} is not a share; use 0 to 1"):
        defense(*noise_stacks(1, [0.5, 0.5]), generator(), p=p, per="pixel")


def test_grafting_per_anything_else_is_refused() -> None:
    with pytest.raises(HarnessError, match="per 'row' is unknown; use pixel or channel"):
        graft_mix(*noise_stacks(1, [0.5, 0.5]), generator(), p=0.5, per="row")


@pytest.mark.parametrize("vector", [[1.0], [0.5, 0.3, 0.2]], ids=["one", "three"])
def test_graft_alone_needs_two_images(vector: list[float]) -> None:
    with pytest.raises(HarnessError, match=f"graft takes two sources, got {len(vector)}"):
        graft(*noise_stacks(1, vector), generator(), p=0.5, per="pixel")


# ---- shuffling -------------------------------------------------------------------------------------------------------


def block_means(images: np.ndarray[Any, Any], block: int) -> np.ndarray[Any, Any]:
    n, channels, height, width = images.shape
    return images.reshape(n, channels, height // block, block, width // block, block).mean((3, 5))


@pytest.mark.parametrize("block", [1, 4, 8, 16])
@vectors
def test_shuffling_leaves_the_mean_of_every_block_as_mixing_makes_it(
    images: torch.Tensor, vector: list[float], block: int
) -> None:
    sources, weights = stacks(images, vector)

    made = shuffle_mix(sources, weights, generator(), block=block)

    np.testing.assert_allclose(
        block_means(made.double().numpy(), block), block_means(mixed(sources, weights), block), atol=1e-6
    )


def test_shuffling_alone_keeps_the_pixels_of_every_block(images: torch.Tensor) -> None:
    made = shuffle_mix(images.unsqueeze(1), torch.ones(24, 1), generator(), block=8)

    cut = [
        images.reshape(24, 3, 8, 8, 8, 8).permute(0, 2, 4, 1, 3, 5).flatten(4).sort().values
        for images in (images, made)
    ]
    assert torch.equal(*cut)
    assert not torch.equal(made, images)


def test_each_source_is_shuffled_by_a_permutation_of_its_own() -> None:
    """Two equal sources: one shared permutation would keep each block's pixels, two halve their variance."""
    source = torch.rand(20, 1, 3, 32, 32, generator=generator(4))

    made = shuffle_mix(source.repeat(1, 2, 1, 1, 1), torch.full((20, 2), 0.5), generator(), block=8)

    ratio = float(made.var(unbiased=False) / source.var(unbiased=False))
    assert abs(ratio - 0.5) < 0.02


# ---- noise -----------------------------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([[1.0, 0.0, 0.0], [0.75, 0.25, 0.0], [0.5, 0.5, 0.0], [0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]])


def residuals(sigma: float, noise_after: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(5, n) what noise_mix adds to the plain mixture, a row per row of WEIGHTS, in grey levels."""
    sources = torch.rand(5, 3, 3, 128, 128, generator=generator(5))
    made = noise_mix(sources, WEIGHTS, generator(6), sigma=sigma, noise_after=noise_after)
    return ((made.double().numpy() - mixed(sources, WEIGHTS)) * 255).reshape(5, -1)


@pytest.mark.parametrize("sigma", [10, 20, 40])
@pytest.mark.parametrize("noise_after", [False, True], ids=["before", "after"])
def test_noise_has_the_standard_deviation_of_its_formula(sigma: float, noise_after: bool) -> None:
    """sum of lambda_i z_i has sigma sqrt(sum of lambda_i^2); one draw after mixing has sigma (4.5 errors)."""
    expected = sigma * (np.ones(5) if noise_after else np.sqrt((WEIGHTS.double().numpy() ** 2).sum(1)))

    noise = residuals(sigma, noise_after)

    n = noise.shape[1]
    assert (np.abs(noise.std(1) / expected - 1) < 4.5 / np.sqrt(2 * n)).all()
    assert (np.abs(noise.mean(1)) < 4.5 * expected / np.sqrt(n)).all()


def test_noise_is_gaussian() -> None:
    """Kolmogorov-Smirnov against N(0, sigma^2 sum of lambda_i^2), each row of weights, nothing clipped."""
    for noise, weights in zip(residuals(40, False), WEIGHTS.double().numpy(), strict=True):
        assert kstest(noise, "norm", args=(0, 40 * np.sqrt((weights**2).sum()))).pvalue > 1e-3


def test_noise_is_drawn_for_every_pixel_channel_and_image() -> None:
    """No correlation between neighbours, channels or images: each within 4.5 / sqrt(n) of 0."""
    noise = residuals(20, True).reshape(5, 3, 128, 128)
    neighbours = [
        (noise[..., 1:], noise[..., :-1]),
        (noise[..., 1:, :], noise[..., :-1, :]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[:, 2], noise[:, 0]),
        (noise[1:], noise[:-1]),
    ]

    for some, others in neighbours:
        assert abs(np.corrcoef(some.ravel(), others.ravel())[0, 1]) < 4.5 / np.sqrt(some.size)


@pytest.mark.parametrize("noise_after", [False, True], ids=["before", "after"])
def test_no_noise_is_mixing(images: torch.Tensor, noise_after: bool) -> None:
    sources, weights = stacks(images, [0.75, 0.25])

    made = noise_mix(sources, weights, generator(), sigma=0, noise_after=noise_after)

    assert torch.equal(made, mix(sources, weights, generator()))


@pytest.mark.parametrize("sigma", [-1, -0.001, float("nan")])
def test_a_negative_standard_deviation_is_refused(sigma: float) -> None:
    with pytest.raises(HarnessError, match=f"sigma {sigma} is not a standard deviation; use 0 or more"):
        noise_mix(*noise_stacks(1, [0.5, 0.5]), generator(), sigma=sigma, noise_after=False)


# ---- pixelizing and blurring -----------------------------------------------------------------------------------------


def each_source(sources: torch.Tensor, transform: Any) -> torch.Tensor:
    """An OpenCV function on every source of every mixture: the paper's order, transform first."""
    flat = sources.flatten(0, 1).numpy().transpose(0, 2, 3, 1)
    made = np.stack([transform(np.ascontiguousarray(image)) for image in flat]).transpose(0, 3, 1, 2)
    return torch.from_numpy(made).view(sources.shape)


@pytest.mark.parametrize("grid", [16, 20, 32])
@vectors
def test_pixelize_mix_is_the_mixture_of_pixelized_images(images: torch.Tensor, vector: list[float], grid: int) -> None:
    """Section 3.5: lambda R(x_i) + (1 - lambda) R(x_j), R by OpenCV."""
    sources, weights = stacks(images, vector)

    def shrink_and_enlarge(image: Any) -> Any:
        cells = cv2.resize(image, (grid, grid), interpolation=cv2.INTER_AREA)
        return cv2.resize(cells, (64, 64), interpolation=cv2.INTER_NEAREST)

    made = pixelize_mix(sources, weights, generator(), grid=grid)

    np.testing.assert_allclose(made.numpy(), mixed(each_source(sources, shrink_and_enlarge), weights), atol=1e-5)


@pytest.mark.parametrize("kernel", [17, 35, 45])
@vectors
def test_blur_mix_is_the_mixture_of_blurred_images(images: torch.Tensor, vector: list[float], kernel: int) -> None:
    """Section 3.6: lambda G(x_i) + (1 - lambda) G(x_j), G by OpenCV."""
    sources, weights = stacks(images, vector)

    made = blur_mix(sources, weights, generator(), kernel=kernel)

    blurred = each_source(sources, lambda image: cv2.GaussianBlur(image, (kernel, kernel), 0))
    np.testing.assert_allclose(made.numpy(), mixed(blurred, weights), atol=1e-5)


@pytest.mark.parametrize(
    "defense, knob, value, message",
    [
        (shuffle_mix, "block", 7, "block 7 does not divide"),
        (pixelize_mix, "grid", 65, "grid 65 does not fit 64x64 images"),
        (blur_mix, "kernel", 16, "kernel 16 does not suit 64x64 images; use an odd number"),
        (blur_mix, "kernel", 255, "kernel 255 does not suit"),
    ],
    ids=["block 7", "grid 65", "kernel 16", "kernel 255"],
)
def test_knobs_that_do_not_suit_the_images_are_refused(
    images: torch.Tensor, defense: Any, knob: str, value: int, message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        defense(*stacks(images, [0.5, 0.5]), generator(), **{knob: value})


# ---- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY.section("defenses"))
def test_a_defense_leaves_its_sources_and_weights_alone(images: torch.Tensor, name: str) -> None:
    """Fresh tensors, compared after one call: nothing is written in place."""
    entry = REGISTRY.get("defenses", name)
    sources, weights = stacks(images, [1.0] if entry.mixing["weights"] == [1.0] else [0.75, 0.25])
    kept = sources.clone(), weights.clone()

    bind(entry)(sources, weights, generator())

    assert torch.equal(sources, kept[0]) and torch.equal(weights, kept[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize(
    "defense, knobs",
    [(mix, {}), (pixelize_mix, {"grid": 20}), (blur_mix, {"kernel": 17})],
    ids=["mix", "pixelize", "blur"],
)
def test_both_devices_release_the_same_within_one_grey_level(images: torch.Tensor, defense: Any, knobs: Any) -> None:
    sources, weights = stacks(images, [0.75, 0.25])

    here = to_bytes(defense(sources, weights, generator(), **knobs))
    there = to_bytes(defense(sources.cuda(), weights.cuda(), torch_generator(b"0" * 32, "cuda"), **knobs))

    assert (here.int() - there.cpu().int()).abs().max() <= 1
