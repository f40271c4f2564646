"""aligned_dssim finds every pose, shift, sign and colour that was planted, as a search in NumPy does, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import structural_similarity

from harness.plugins.evaluators.alignment import aligned_dssim
from harness.plugins.evaluators.privacy import dssim
from tests.evaluators.test_kernels import KINDS, drawn, stacks
from tests.helpers.paths import ROOT

Array = np.ndarray[Any, Any]
SETTINGS = yaml.safe_load((ROOT / "registry.yaml").read_text())["metrics"]["aligned_dssim"]["params"]
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def aligned(images: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    return aligned_dssim(images, originals, **SETTINGS)


def raw(images: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    return dssim(images, originals, **SETTINGS)


def photographs(height: int, width: int) -> torch.Tensor:
    """(4, 3, H, W), of 256 grey levels."""
    cuts = np.stack([getattr(data, name)()[20 : 20 + height, 30 : 30 + width] for name in NAMES])
    return torch.from_numpy(cuts).permute(0, 3, 1, 2).float().div(255).contiguous()


def rounded(images: torch.Tensor) -> torch.Tensor:
    return images.mul(255).round().clamp(0, 255).div(255)


# An independent search


def poses(image: Array) -> list[Array]:
    """Of (3, H, W): four turns, each as it is and mirrored; those that keep the shape."""
    turned = [np.rot90(image, turns, (1, 2)) for turns in range(4)]
    return [each for one in turned for each in (one, one[:, ::-1]) if each.shape == image.shape]


def luminance(image: Array) -> Array:
    grey = np.tensordot([0.299, 0.587, 0.114], image, 1)
    return grey - grey.mean()


def distance(image: Array, original: Array) -> float:
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return float(1 - structural_similarity(image, original, channel_axis=0, **how))


def searched(image: Array, original: Array) -> tuple[float, float]:
    """The figure by definition, all shifts of all poses tried; and by how much the best correlation leads."""
    height, width = image.shape[1:]
    tried = [
        np.roll(pose, (down, right), (1, 2))
        for pose in poses(image)
        for down in range(height)
        for right in range(width)
    ]
    target = luminance(original)
    scores = [
        (luminance(one) * target).sum() / np.sqrt((luminance(one) ** 2).sum() * (target**2).sum()) for one in tried
    ]
    order = np.argsort(-np.abs(scores))
    best, lead = order[0], abs(scores[order[0]]) - abs(scores[order[1]])
    laid = 1 - tried[best] if scores[best] < 0 else tried[best]
    levelled, ranked = np.empty_like(laid), np.empty_like(laid)
    for channel in range(3):
        x, y = laid[channel], original[channel]
        levelled[channel] = (x - x.mean()) / x.std() * y.std() + y.mean()
        ranked[channel].flat[np.argsort(x, axis=None, kind="stable")] = np.sort(y, axis=None)
    return min(distance(each, original) for each in (image, levelled, ranked)), lead


@pytest.mark.parametrize("size", [(12, 12), (13, 13), (11, 14), (14, 11)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("levels", [255, 4, None], ids=["bytes", "few levels", "floats"])
def test_the_figure_is_that_of_a_search_over_all_poses_and_shifts(size: tuple[int, int], levels: int | None) -> None:
    """Smooth images, their negatives and noise; kernels, reference and search agree."""
    rng = np.random.default_rng(0)
    rough = torch.from_numpy(rng.random((8, 3, size[0] + 2, size[1] + 2)))
    smooth = torch.nn.functional.avg_pool2d(rough, 3, 1)
    stack = torch.cat([smooth, 1 - smooth[:2] * 0.7, rough[:2, :, 1:-1, 1:-1]])
    stack = (stack * levels).round() / levels if levels else stack
    images, originals = stack, stack.roll(1, 0)

    expected = [searched(x, y) for x, y in zip(images.numpy(), originals.numpy(), strict=True)]

    figures = torch.tensor([figure for figure, lead in expected])
    clear = torch.tensor([lead > 1e-4 for figure, lead in expected])
    assert clear.sum() >= 10
    assert (aligned(images, originals) - figures)[clear].abs().max() < 1e-6
    assert (aligned(images.float(), originals.float()) - figures)[clear].abs().max() < 2e-6


# What was planted

PLANTED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], float]] = {
    "itself": (lambda x: x, 0),
    "shifted": (lambda x: x.roll((9, 40), (2, 3)), 0),
    "mirrored": (lambda x: x.flip(3), 0),
    "upside down": (lambda x: x.flip(2), 0),
    "half turn": (lambda x: x.flip(2, 3), 0),
    "quarter turn": (lambda x: x.rot90(1, (2, 3)), 0),
    "turned back": (lambda x: x.rot90(3, (2, 3)), 0),
    "transposed": (lambda x: x.transpose(2, 3), 0),
    "transposed, mirrored": (lambda x: x.transpose(2, 3).flip(2, 3), 0),
    "inverted": (lambda x: 1 - x, 0),
    "inverted bytes": (lambda x: rounded(1 - x), 0),
    "darker": (lambda x: rounded(0.3 * x), 0.02),
    "recoloured": (lambda x: rounded(x * torch.tensor([0.4, 0.7, 0.5]).view(3, 1, 1) + 0.2), 0.01),
    "gamma 2.2": (lambda x: rounded(x**2.2), 0.03),
    "gamma 0.4": (lambda x: rounded(x**0.4), 0.03),
    "all of these": (lambda x: rounded((1 - x).rot90(1, (2, 3)).flip(2).roll((9, 3), (2, 3)) ** 1.8 * 0.7 + 0.1), 0.02),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_done_to_a_picture_is_undone(name: str) -> None:
    change, most = PLANTED[name]
    originals = photographs(64, 64)

    for kind in (torch.float32, torch.float64):
        assert aligned(change(originals).to(kind).contiguous(), originals.to(kind)).max() <= max(most, 1e-6)


@pytest.mark.parametrize("name", [name for name in PLANTED if "quarter" not in name and "turned b" not in name][:4])
def test_images_that_are_not_square_keep_the_poses_of_their_shape(name: str) -> None:
    originals = photographs(48, 65)

    assert aligned(PLANTED[name][0](originals).contiguous(), originals).max() < 1e-6


def test_noise_is_not_shrunk_to_the_mean_colour() -> None:
    """Least squares with one gain and offset brings uniform noise to about the distance of the mean colour."""
    originals = photographs(256, 256)
    noise = torch.rand(originals.shape, generator=torch.Generator().manual_seed(0))
    constant = originals.mean((2, 3), keepdim=True).expand_as(originals).contiguous()

    assert (raw(noise, originals) > 0.98).all()
    assert aligned(noise, originals).mean() > 0.92 > raw(constant, originals).max() + 0.2


def test_another_photograph_stays_another() -> None:
    """It comes nearer, which is why the null is computed alike, but by far not as near as the picture itself."""
    originals = photographs(128, 128)

    others = [originals.roll(shift, 0) for shift in (1, 2, 3)]

    figures = torch.stack([aligned(other, originals) for other in others])

    assert figures.min() > 0.3  # ten times the largest figure of a planted change
    assert figures.mean() > 0.75 * torch.stack([raw(other, originals) for other in others]).mean()


# What holds always


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(11, 24),
    width=st.integers(11, 24),
    down=st.integers(0, 23),
    right=st.integers(0, 23),
    turns=st.integers(0, 3),
    mirror=st.booleans(),
    gain=st.sampled_from([-1.0, -0.4, 0.4, 1.0]),
)
def test_poses_shifts_and_contrast_change_nothing_that_is_laid(
    seed: int, height: int, width: int, down: int, right: int, turns: int, mirror: bool, gain: float
) -> None:
    """With m the smaller figure of (a) and (b), the same for both, and r and s the two raw ones: min(m, r, s)."""
    rng = torch.Generator().manual_seed(seed)
    if height != width:
        turns -= turns % 2
    image, original = (torch.rand(1, 3, height, width, generator=rng, dtype=torch.float64) for _ in range(2))
    other = image.rot90(turns, (2, 3)).flip(2) if mirror else image.rot90(turns, (2, 3))
    other = other.roll((down, right), (2, 3)) * gain + (1 - gain) / 2
    before, after = raw(image, original), raw(other, original)

    one = torch.minimum(aligned(image, original), after)
    two = torch.minimum(aligned(other, original), before)

    assert (one - two).abs().max() < 1e-9


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    kind=st.sampled_from(["noise", "smooth", "bytes", "two levels", "flat", "one pixel", "flat channel"]),
    contrast=st.sampled_from([1.0, 0.1, 1e-3, 1e-6]),
)
def test_it_lies_between_zero_and_dssim_and_the_reference_agrees(
    seed: int, height: int, width: int, kind: str, contrast: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, height, width, generator=rng)
    if kind == "smooth":
        images = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    elif kind == "two levels":
        images = images.round()
    elif kind == "flat":
        images[0] = 0.3
    elif kind == "one pixel":
        images[0] = 0.3
        images[0, 1, 2, 3] = 0.9
    elif kind == "flat channel":
        images[0, 1] = 0.3
    images = images * contrast
    images = rounded(images) if kind == "bytes" else images

    found = aligned(images, images.flip(0))

    assert torch.isfinite(found).all() and (found >= 0).all()
    assert (found <= raw(images, images.flip(0))).all()
    if contrast > 1e-2:  # below, float32 resolves neither correlations nor ranks
        assert (found - aligned(images.double(), images.flip(0).double())).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(16, 16), (33, 20)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_ties_are_broken_alike_by_kernels_and_reference(size: tuple[int, int]) -> None:
    """Stripes, checks and constants: many poses and shifts correlate equally, many pixels are equal."""
    ours, theirs = stacks(*size)
    bytes_ = [kind for kind, name in enumerate(KINDS) if "noise" not in name and name not in ("lines", "ramp")]
    rows = torch.tensor([row for row in range(len(ours)) if row % 10 in bytes_ and row // 10 in bytes_])

    found = aligned(ours[rows], theirs[rows])

    assert torch.isfinite(found).all()
    assert (found - aligned(ours[rows].double(), theirs[rows].double())).abs().max() < 1e-5


def test_a_constant_image_is_left_in_place() -> None:
    """(a) is the original's mean colour, (b) its values in ascending order by rows: closed forms."""
    originals = photographs(64, 64)
    constant = torch.full_like(originals, 0.4)
    mean = originals.mean((2, 3), keepdim=True).expand_as(originals).contiguous()
    ascending = originals.flatten(2).sort(2).values.view_as(originals)

    expected = torch.stack([raw(each, originals) for each in (constant, mean, ascending)]).amin(0)

    assert (aligned(constant, originals) - expected).abs().max() < 1e-6


def test_a_constant_original_has_no_pose() -> None:
    images, flat = photographs(32, 32), drawn("white", 32, 32).expand(4, -1, -1, -1)

    assert aligned(images, flat).max() < 1e-6  # each channel gets its one value
