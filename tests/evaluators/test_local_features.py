"""Local features find pictures that were scaled and recoloured together, where the other embeddings find nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.images import to_bytes, to_images
from harness.plugins.evaluators import local_features
from harness.plugins.evaluators.identities import identity_histogram, identity_invariant
from harness.plugins.evaluators.local_features import identity_local
from harness.plugins.evaluators.reidentification import identity
from tests.evaluators.test_identities import ENTRIES, rank1, run
from tests.planted.data import photographs as planted_photographs

Images = torch.Tensor
SETTINGS = ENTRIES["identity_local"]["params"]


@pytest.fixture(scope="module")
def gallery() -> Images:
    """(G, 3, H, W) uint8 photographs, of which the first are looked up."""
    return torch.from_numpy(planted_photographs(64).private)


def recoloured(images: Images, rng: torch.Generator) -> Images:
    """Each channel to a power of its own, from 1/2.8 to 2.8, in a random order."""
    powers = 2 ** (torch.rand(len(images), 3, 1, 1, generator=rng) * 3 - 1.5)
    order = torch.rand(len(images), 3, generator=rng).argsort(1)
    return (images**powers)[torch.arange(len(images))[:, None], order]


def tiled(images: Images, rng: torch.Generator) -> Images:
    return functional.avg_pool2d(images, 2).repeat(1, 1, 2, 2)


def kaleidoscope(images: Images, rng: torch.Generator) -> Images:
    """Half the size, negative, and its three mirror images."""
    small = 1 - functional.avg_pool2d(images, 2)
    upper = torch.cat([small.flip(2, 3), small.flip(2)], 3)
    return torch.cat([upper, upper.flip(2)], 2)


def turned(images: Images, rng: torch.Generator) -> Images:
    """By any angle, and half as large again."""
    angle = torch.rand(len(images), generator=rng) * 2 * torch.pi
    cosine, sine, zero = angle.cos() / 1.5, angle.sin() / 1.5, torch.zeros(len(images))
    matrix = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


@pytest.mark.parametrize("change", [tiled, kaleidoscope, turned])
def test_pictures_of_another_scale_and_other_colours_are_found(
    change: Callable[[Images, torch.Generator], Images], gallery: Images
) -> None:
    rng = torch.Generator().manual_seed(3)
    shown = to_bytes(recoloured(change(to_images(gallery), rng), rng))

    assert rank1(identity_local, shown, gallery) > 0.7
    assert max(rank1(other, shown, gallery) for other in (identity, identity_invariant, identity_histogram)) < 0.3


def in_dots(images: Images, rng: torch.Generator) -> Images:
    """Half the size somewhere on a wallpaper of black and white dots, which are the strongest keypoints."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    dot = ((rows % 6 - 3) ** 2 + (columns % 6 - 3) ** 2) <= 4
    colours = torch.rand(len(images), 1, height // 6 + 1, width // 6 + 1, generator=rng).round()
    colours = colours.repeat_interleave(6, 2).repeat_interleave(6, 3)[:, :, :height, :width]
    shown = torch.where(dot, colours, 0.5).repeat(1, 3, 1, 1)
    small = functional.avg_pool2d(images, 2)
    for one, picture in zip(shown, small, strict=True):
        down, along = (int(torch.randint(side // 2 + 1, (1,), generator=rng)) for side in (height, width))
        one[:, down : down + height // 2, along : along + width // 2] = picture
    return shown


def posed_in_dots(images: Images, rng: torch.Generator) -> Images:
    """The same of a mirrored negative turned by a quarter, its channels in another order, at .6 of its contrast."""
    return in_dots(0.5 + 0.6 * (0.5 - images.flip(1, 2).rot90(1, (2, 3))), rng)


def framed(images: Images, rng: torch.Generator) -> Images:
    """Half the size in the middle of stripes."""
    shown = (torch.arange(images.shape[3]) // 3 % 2).float().expand(images.shape).clone()
    edge = images.shape[2] // 4
    shown[:, :, edge:-edge, edge:-edge] = functional.avg_pool2d(images, 2)
    return shown


@pytest.mark.parametrize(("change", "least"), [(in_dots, 0.3), (posed_in_dots, 0.2), (framed, 0.1)])
def test_pictures_among_clutter_are_found(
    change: Callable[[Images, torch.Generator], Images], least: float, gallery: Images
) -> None:
    """Chance is .017; many of these tiles are plain textures."""
    shown = to_bytes(change(to_images(gallery), torch.Generator().manual_seed(5)))

    assert rank1(identity_local, shown, gallery) > least
    assert rank1(identity_local, to_bytes(change(torch.full(gallery.shape, 0.5), torch.Generator())), gallery) < 0.1


def test_keypoints_are_kept_cell_by_cell() -> None:
    """Of 4 x 4 cells: four in the first, of which the strongest two are kept, and one at the far corner."""
    places = np.array([[1, 1], [2, 3], [15.9, 15.9], [3, 3], [0, 0]])

    assert local_features._Grid(4, 2).kept(places, (16, 16)).tolist() == [0, 1, 2]


def test_other_pictures_are_found_as_nobody(gallery: Images) -> None:
    """Unrelated photographs name their originals no more often than chance allows."""
    half = len(gallery) // 2

    assert rank1(identity_local, gallery[half : 2 * half], gallery[:half]) <= 3 / half


def test_descriptors_of_mirror_images_and_negatives_are_the_same(photographs: Any) -> None:
    """OpenCV's, at the mirrored place with the mirrored angle, and of the negative with the angle turned by half."""
    plane = photographs[0].mean(0).astype(np.uint8)
    sift = cv2.SIFT.create(nfeatures=30)
    points = sift.detect(plane, None)
    width = plane.shape[1] - 1

    def described(image: Any, change: Callable[[Any], tuple[float, float, float]]) -> torch.Tensor:
        moved = [cv2.KeyPoint(*change(each)[:2], each.size, change(each)[2] % 360, 1, each.octave) for each in points]
        return torch.from_numpy(sift.compute(image, moved)[1])

    found = described(plane, lambda each: (*each.pt, each.angle))
    mirrored = described(plane[:, ::-1].copy(), lambda each: (width - each.pt[0], each.pt[1], 180 - each.angle))
    negative = described(255 - plane, lambda each: (*each.pt, each.angle + 180))

    plain = found.norm(dim=1)
    for other in (mirrored, negative):
        away = (local_features._symmetric(found) - local_features._symmetric(other)).norm(dim=1) / 2
        assert (found - other).norm(dim=1).median() > 0.3 * plain.median()
        assert away.median() < 0.05 * plain.median()


def test_votes_are_those_of_a_plain_search(gallery: Images) -> None:
    """Every keypoint against every other, in float64, one by one."""
    shown, known = gallery[:6].roll(5, 3), gallery[:12]
    sides, grid = (
        (SETTINGS["smallest"], SETTINGS["largest"]),
        local_features._Grid(SETTINGS["cells"], SETTINGS["per_cell"]),
    )

    def features(images: Images, most: int, grid: Any = None) -> list[Any]:
        found, counts = local_features._descriptors(images, most, *sides, grid)
        return [
            local_features._symmetric(some[:count]).double().numpy()
            for some, count in zip(found, counts.tolist(), strict=True)
        ]

    expected = np.zeros((6, 12))
    others = features(known, SETTINGS["keypoints"])
    for row, own in enumerate(features(shown, 128, grid)):
        for feature in own:
            away = np.array([np.linalg.norm(each - feature, axis=1).min(initial=np.inf) for each in others])
            first, second = np.sort(away)[:2]
            expected[row, away.argmin()] += 1 - first / second

    assert np.allclose(run(identity_local, shown, known).numpy(), expected, atol=128 / 1024)


def test_any_number_of_threads_and_repeated_galleries_give_the_same(gallery: Images) -> None:
    shown = gallery[:8].flip(0)
    before = run(identity_local, shown, gallery)
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    local_features._known.cache_clear()

    assert torch.equal(run(identity_local, shown, gallery), before)
    assert torch.equal(run(identity_local, shown, gallery.clone()), before)
    assert local_features._known.cache_info().hits == 1
    assert not torch.equal(run(identity_local, shown, gallery.flip(0)), before)


@pytest.mark.parametrize("size", [16, 32, 160])
def test_images_of_any_size_are_found(size: int, gallery: Images) -> None:
    some = to_bytes(functional.interpolate(to_images(gallery[:10]), size=(size, size), mode="area"))

    assert rank1(identity_local, some.flip(3), some) > 0.7


def test_a_gallery_without_keypoints_is_like_nothing(gallery: Images) -> None:
    assert not run(identity_local, gallery[:3], torch.full_like(gallery[:4], 9)).any()
