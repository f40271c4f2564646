"""The other embeddings find what thumbnails do not: moved, turned, recoloured and scattered images; never noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from harness.errors import HarnessError
from harness.images import to_bytes, to_images
from harness.plugins.evaluators.identities import identity_histogram, identity_invariant
from harness.plugins.evaluators.local_features import identity_local
from harness.plugins.evaluators.reidentification import identity, reidentification
from tests.helpers.paths import ROOT

ENTRIES = yaml.safe_load((ROOT / "registry.yaml").read_text())["evaluators"]
Bytes = torch.Tensor


def run(embedding: Any, images: Bytes, gallery: Bytes) -> torch.Tensor:
    """(n, G) of images (n, 3, H, W)."""
    found: torch.Tensor = embedding(images[:, None], gallery, "cpu", **ENTRIES[embedding.__name__]["params"])
    assert found.shape == (len(images), 1, len(gallery)) and found.dtype == torch.float32
    return found[:, 0]


def rank1(embedding: Any, images: Bytes, gallery: Bytes) -> float:
    hits, _ = reidentification(run(embedding, images, gallery), np.arange(len(images)))
    return float(hits["reid_rank1"].mean())


@pytest.fixture
def gallery(photographs: np.ndarray[Any, Any]) -> Bytes:
    return torch.from_numpy(photographs.copy())


def scattered(images: Bytes) -> Bytes:
    """A fresh permutation of all pixels of each."""
    rng = torch.Generator().manual_seed(2)
    flat = images.flatten(2)
    return torch.stack([one[:, torch.randperm(one.shape[1], generator=rng)] for one in flat]).view_as(images)


def of_floats(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Bytes], Bytes]:
    return lambda images: to_bytes(change(to_images(images)))


MOVED: dict[str, Callable[[Bytes], Bytes]] = {
    "shifted": lambda x: x.roll((19, 40), (2, 3)),
    "mirrored": lambda x: x.flip(3),
    "half turn": lambda x: x.flip(2, 3),
    "quarter turn": lambda x: x.rot90(1, (2, 3)),
    "transposed and shifted": lambda x: x.transpose(2, 3).roll(7, 2),
    "inverted": lambda x: 255 - x,
}
RECOLOURED: dict[str, Callable[[Bytes], Bytes]] = {
    "one channel inverted": lambda x: torch.cat([255 - x[:, :1], x[:, 1:]], 1),
    "channels swapped": lambda x: x[:, [1, 2, 0]],
    "brightness and contrast": of_floats(lambda x: x * torch.tensor([0.3, 0.7, 0.5]).view(3, 1, 1) + 0.2),
    "everything": of_floats(lambda x: (1 - x).rot90(3, (2, 3)).roll((9, 3), (2, 3)) * 0.5 + 0.2),
}


@pytest.mark.parametrize("name", MOVED)
def test_moved_and_inverted_images_have_the_spectrum_of_the_original(name: str, gallery: Bytes) -> None:
    """The likeness is 1 to the original itself, and the same as the original's to every other image."""
    before, after = run(identity_invariant, gallery, gallery), run(identity_invariant, MOVED[name](gallery), gallery)

    assert (before.diagonal() - 1).abs().max() < 1e-5
    assert (after - before).abs().max() < 1e-4


@pytest.mark.parametrize("name", RECOLOURED)
def test_recoloured_images_are_found_by_their_spectrum(name: str, gallery: Bytes) -> None:
    assert rank1(identity_invariant, RECOLOURED[name](gallery), gallery) == 1


def test_scattered_pixels_are_found_by_their_colours_and_by_nothing_else(gallery: Bytes) -> None:
    assert rank1(identity_histogram, scattered(gallery), gallery) == 1
    assert rank1(identity, scattered(gallery), gallery) < 0.3
    assert rank1(identity_invariant, scattered(gallery), gallery) < 0.3


def test_the_mean_colour_alone_finds_an_image(gallery: Bytes) -> None:
    flat = of_floats(lambda x: x.mean((2, 3), keepdim=True).expand_as(x).contiguous())(gallery)

    assert rank1(identity_histogram, flat, gallery) > 0.95


@pytest.mark.parametrize("embedding", [identity, identity_invariant, identity_histogram, identity_local])
def test_noise_and_one_image_for_all_find_nobody(embedding: Any, gallery: Bytes) -> None:
    """Of 10 x 24 noise images at most what chance allows at 1e-4 (Poisson, 10 expected); of one image one."""
    rng = torch.Generator().manual_seed(5)
    noise = torch.randint(0, 256, (240, *gallery.shape[1:]), generator=rng, dtype=torch.uint8)
    grey = torch.full_like(gallery, 128)

    hits, _ = reidentification(run(embedding, noise, gallery), np.arange(240) % len(gallery))

    assert hits["reid_rank1"].sum() <= 24
    assert rank1(embedding, grey, gallery) <= 1 / len(gallery)


def test_amplitudes_are_those_of_a_direct_transform(gallery: Bytes) -> None:
    """Cosine of NumPy's whitened square roots of amplitudes, poses tried one by one."""
    some, most = gallery[:9, :, ::4, ::4].contiguous(), 3
    at = np.arange(16)

    def spectrum(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        found = []
        for down in range(-most, most + 1):
            for along in range(-most, most + 1):
                if (down, along) > (0, 0):
                    wave = np.exp(-2j * np.pi * (down * at[:, None] + along * at) / 16)
                    parts = [(channel - channel.mean()) for channel in image / 255]
                    power = [abs((part * wave).sum()) ** 2 / (part**2).sum() for part in parts]
                    found.append(np.mean(power) ** 0.25)
        return np.array(found)

    turned = [[np.rot90(x, k, (1, 2)) for k in range(2)] for x in some.numpy()]
    poses = np.array([[spectrum(y) for x in pair for y in (x, x[:, ::-1])] for pair in turned])
    mean = poses.reshape(-1, poses.shape[2]).mean(0)
    centred = poses.reshape(-1, poses.shape[2]) - mean
    covariance = centred.T @ centred / len(centred)
    inverse = np.linalg.inv(covariance + 0.01 * np.linalg.eigvalsh(covariance)[-1] * np.eye(len(mean)))
    lengths = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    cosines = (centred @ inverse @ centred.T / np.outer(lengths, lengths)).reshape(9, 4, 9, 4)

    found = identity_invariant(some[:, None], some, "cpu", frequencies=most, floor=0.01)

    assert np.allclose(found[:, 0].numpy(), cosines[:, 0].max(2), atol=1e-5)


def test_colours_are_compared_as_a_plain_histogram_says(gallery: Bytes) -> None:
    """Pixel by pixel: each level lies between two bins and is shared by both; ratios by sorting."""
    shown, bins = to_bytes(to_images(gallery[:5]) * 0.8), 4

    def histogram(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        cube = np.zeros((bins, bins, bins))
        places = np.clip((image // 16 + 0.5) / 16 * bins - 0.5, 0, bins - 1).reshape(3, -1)
        for corner in np.ndindex(2, 2, 2):
            at = np.minimum(places.astype(int) + np.array(corner)[:, None], bins - 1)
            weight = np.where(np.array(corner)[:, None] == 1, places % 1, 1 - places % 1).prod(0)
            np.add.at(cube, tuple(at), weight)
        return cube / places.shape[1]

    def ratios(distances: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.array([[d / np.delete(row, g).min() for g, d in enumerate(row)] for row in distances])

    ours, theirs = ([histogram(x) for x in stack.numpy()] for stack in (shown, gallery))
    hellinger = np.array([[np.sqrt(1 - np.sqrt(a * b).sum()) for b in theirs] for a in ours])
    colours = [stack.numpy().reshape(len(stack), 3, -1).mean(2) / 255 for stack in (shown, gallery)]
    away = np.linalg.norm(colours[0][:, None] - colours[1], axis=2)

    found = identity_histogram(shown[:, None], gallery, "cpu", bins=bins)

    assert np.allclose(found[:, 0].numpy(), -np.log(np.minimum(ratios(hellinger), ratios(away))), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("embedding", [identity_invariant, identity_histogram, identity_local])
def test_any_number_of_candidates_any_shape_and_a_gallery_of_one(embedding: Any, gallery: Bytes) -> None:
    settings = ENTRIES[embedding.__name__]["params"]
    wide = gallery[..., :12, :]
    several = torch.stack([wide, wide.flip(3)], 1)

    found = embedding(several, wide, "cpu", **settings)

    assert found.shape == (24, 2, 24) and torch.isfinite(found).all()
    assert (found - torch.cat([embedding(part, wide, "cpu", **settings) for part in several.split(1, 1)], 1) == 0).all()
    assert torch.isfinite(embedding(several, wide[:1], "cpu", **settings)).all()
    with pytest.raises(HarnessError, match="differ"):
        embedding(several[..., ::2], wide, "cpu", **settings)
