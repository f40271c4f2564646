"""The checks of a metric: one finite number per image, zero between equals, ordered as its entry says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from harness.contract.checks import Check, require, striped_images
from harness.images import to_images
from harness.randomness import derive, torch_generator
from harness.registry import Entry


def checks(entry: Entry, function: Callable[..., Any]) -> Iterator[Check]:
    pixels = striped_images(4, "metric")[0]
    grain = torch.randn(pixels.shape, generator=torch_generator(derive(b"", "noise"), "cpu"))

    def pair(sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        originals = to_images(pixels)
        return (originals + grain * sigma).clamp(0, 1), originals

    def per_image() -> None:
        distances = function(*pair(0.02))
        per_row = isinstance(distances, torch.Tensor) and tuple(distances.shape) == (4,)
        require(per_row, "expected a tensor with one number per image")
        require(bool(torch.isfinite(distances).all()), "finite images give a number that is not finite")

    def ordered() -> None:
        weak, strong = (float(function(*pair(sigma)).mean()) for sigma in (0.02, 0.4))
        grows = strong > weak
        require(
            grows if entry.higher_is == "farther" else not grows,
            f"strong noise scores {strong:.3g} and weak noise {weak:.3g}, but higher_is says {entry.higher_is}",
        )

    def zero() -> None:
        distances = function(*pair(0.0))
        if entry.higher_is == "farther":
            largest = float(distances.abs().max())
            require(largest < 1e-4, f"equal images are {largest:.3g} apart, expected 0")

    def single() -> None:
        in_batch, alone = function(*pair(0.02))[:1], function(*(stack[:1] for stack in pair(0.02)))
        require(torch.allclose(in_batch, alone, atol=1e-5), "an image's figure depends on the others of its batch")

    def not_in_place() -> None:
        images, originals = pair(0.02)
        function(images, originals)
        require(torch.equal(images, pair(0.02)[0]), "it writes into its images; return new tensors")
        require(torch.equal(originals, pair(0.02)[1]), "it writes into the originals; return new tensors")

    yield "returns one finite number per image", per_image
    yield "equal images are at distance 0", zero
    yield "orders weak and strong noise as higher_is says", ordered
    yield "scores each image by itself", single
    yield "writes into nothing it was given", not_in_place
