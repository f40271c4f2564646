"""The checks of a defense: shape, range, determinism, nothing written in place, valid shares, a repeatable release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from harness.contract.checks import CLASSES, SIZE, Check, CheckFailed, random_pixels, require, striped_images
from harness.errors import Skipped
from harness.images import to_images
from harness.mixing import source_count
from harness.randomness import derive, torch_generator
from harness.registry import Entry
from harness.release import Scheme, obfuscate
from harness.types import Mixture


def checks(entry: Entry, function: Callable[..., Any]) -> Iterator[Check]:
    mixing = {**(entry.mixing or {})}
    if mixing["weights"] == "distortion":
        mixing["weights"] = [0.5, 0.5]
    scheme, count = Scheme(entry.name, function, mixing), source_count(mixing)
    pixels = random_pixels((6, count, 3, SIZE, SIZE), "sources")

    def inputs(rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
        return to_images(pixels[rows]), torch.full((6, count), 1 / count)[rows]

    def run(seed: str = "a", rows: slice = slice(None)) -> Mixture:
        sources, weights = inputs(rows)
        result = function(sources, weights, torch_generator(derive(b"", seed), "cpu"))
        return result if isinstance(result, Mixture) else Mixture(result, weights)

    def shape() -> None:
        images, expected = run().images, (6, 3, SIZE, SIZE)
        require(tuple(images.shape) == expected, f"images of {tuple(images.shape)}, expected {expected}")
        require(images.dtype == torch.float32, f"images are {images.dtype}, expected torch.float32")

    def finite() -> None:
        require(bool(torch.isfinite(run().images).all()), "the release holds NaN or infinity")

    def in_range() -> None:
        outside = float(((run().images < -1) | (run().images > 2)).float().mean())
        require(outside < 0.01, f"{outside:.0%} of the values are far outside [0, 1]; images are in [0, 1], not 0-255")

    def deterministic() -> None:
        require(torch.equal(run().images, run().images), "two runs with the same rng differ; draw from rng alone")

    def no_global_generator() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(20200101)
            before, numpy_before = torch.get_rng_state(), str(np.random.get_state(legacy=False))
            run()
            same = torch.equal(before, torch.get_rng_state())
        same = same and numpy_before == str(np.random.get_state(legacy=False))
        require(same, "it draws from a global generator, or seeds one; use rng")

    def uses_rng() -> None:
        random_traits = {"additive_noise", "permutes_in_blocks", "keyed"} & set(entry.traits)
        if random_traits and torch.equal(run("a").images, run("b").images):
            raise CheckFailed(
                f"its traits say {', '.join(sorted(random_traits))}, but another rng gives the same images; use rng"
            )

    def not_in_place() -> None:
        sources, weights = inputs()
        function(sources, weights, torch_generator(derive(b"", "a"), "cpu"))
        require(torch.equal(inputs()[0], sources), "it writes into its sources; return new tensors")
        require(torch.equal(inputs()[1], weights), "it writes into its weights; return new tensors")

    def shares() -> None:
        returned = run().shares
        require(tuple(returned.shape) == (6, count), f"shares of {tuple(returned.shape)}, expected {(6, count)}")
        require(bool(((returned.sum(1) - 1).abs() < 1e-4).all()), "the shares of a mixture do not sum to 1")

    def single() -> None:
        alone = run(rows=slice(0, 1)).images
        require(tuple(alone.shape) == (1, 3, SIZE, SIZE), f"one mixture gives {tuple(alone.shape)}")
        require(bool(torch.isfinite(alone).all()), "one mixture alone gives NaN or infinity")
        if torch.equal(run("a").images, run("b").images):  # deterministic: the batch must not matter
            difference = float((alone - run().images[:1]).abs().max())
            require(difference < 1e-5, f"a mixture depends on the others of its batch (by {difference:.2g})")

    def releases() -> None:
        images, labels = striped_images(24, "release")
        first = obfuscate(scheme, images, labels, CLASSES, derive(b"", "key"))
        repeated = obfuscate(scheme, images, labels, CLASSES, derive(b"", "key"))
        other = obfuscate(scheme, images, labels, CLASSES, derive(b"", "another"))
        require(torch.equal(first[0].images, repeated[0].images), "the same key gives two different releases")
        require(not np.array_equal(first[1].sources, other[1].sources), "another key gives the same order")

    def on_cuda() -> None:
        if not torch.cuda.is_available():
            raise Skipped("no CUDA GPU here")
        sources, weights = inputs()
        result = function(sources.cuda(), weights.cuda(), torch_generator(derive(b"", "a"), "cuda"))
        images = result.images if isinstance(result, Mixture) else result
        require(images.is_cuda, "given images on the GPU, it returns them elsewhere; follow sources.device")

    yield "returns float32 images, one per mixture", shape
    yield "holds no NaN or infinity", finite
    yield "stays in the range of images", in_range
    yield "is a function of its arguments and rng", deterministic
    yield "leaves the global generators alone", no_global_generator
    yield "gives other images for another rng, where its traits say so", uses_rng
    yield "writes into nothing it was given", not_in_place
    yield "returns shares that sum to 1", shares
    yield "takes a single mixture", single
    yield "gives the same release for the same key", releases
    yield "follows its images to the GPU", on_cuda
