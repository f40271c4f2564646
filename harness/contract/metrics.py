"""What every metric must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from harness.contract.checks import Check, pictures, require
from harness.images import to_images
from harness.randomness import derive, torch_generator
from harness.registry import Entry


def checks(entry: Entry, function: Callable[..., Any]) -> Iterator[Check]:
    pixels = pictures(4, "metric")[0]
    grain = torch.randn(pixels.shape, generator=torch_generator(derive(b"", "noise"), "cpu"))

    def pair(sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        originals = to_images(pixels)
        return (originals + grain * sigma).clamp(0, 1), originals

    def per_image() -> None:
        made = function(*pair(0.02))
        held = isinstance(made, torch.Tensor) and tuple(made.shape) == (4,)
        require(held, "expected a tensor with one number per image")
        require(bool(torch.isfinite(made).all()), "finite images give a number that is not finite")

    def ordered() -> None:
        close, distant = (float(function(*pair(sigma)).mean()) for sigma in (0.02, 0.4))
        grows = distant > close
        require(
            grows if entry.higher_is == "farther" else not grows,
            f"strong noise scores {distant:.3g} and weak noise {close:.3g}, but higher_is says {entry.higher_is}",
        )

    def zero() -> None:
        same = function(*pair(0.0))
        if entry.higher_is == "farther":
            apart = float(same.abs().max())
            require(apart < 1e-4, f"equal images are {apart:.3g} apart, expected 0")

    def alone() -> None:
        together, single = function(*pair(0.02))[:1], function(*(stack[:1] for stack in pair(0.02)))
        require(torch.allclose(together, single, atol=1e-5), "an image's figure depends on the others of its batch")

    def untouched() -> None:
        images, originals = pair(0.02)
        function(images, originals)
        require(torch.equal(images, pair(0.02)[0]), "it writes into its images; return new tensors")
        require(torch.equal(originals, pair(0.02)[1]), "it writes into the originals; return new tensors")

    yield "returns one finite number per image", per_image
    yield "equal images are at distance 0", zero
    yield "orders weak and strong noise as higher_is says", ordered
    yield "scores each image by itself", alone
    yield "writes into nothing it was given", untouched
