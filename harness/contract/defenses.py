"""What every defense must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from harness.contract.checks import CLASSES, SIZE, Broken, Check, noise, pictures, require
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
    pixels = noise((6, count, 3, SIZE, SIZE), "sources")

    def inputs(rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
        return to_images(pixels[rows]), torch.full((6, count), 1 / count)[rows]

    def run(seed: str = "a", rows: slice = slice(None)) -> Mixture:
        sources, weights = inputs(rows)
        made = function(sources, weights, torch_generator(derive(b"", seed), "cpu"))
        return made if isinstance(made, Mixture) else Mixture(made, weights)

    def shape() -> None:
        made, expected = run(), (6, 3, SIZE, SIZE)
        require(tuple(made.images.shape) == expected, f"images of {tuple(made.images.shape)}, expected {expected}")
        require(made.images.dtype == torch.float32, f"images are {made.images.dtype}, expected torch.float32")

    def finite() -> None:
        require(bool(torch.isfinite(run().images).all()), "the release holds NaN or infinity")

    def in_range() -> None:
        outside = float(((run().images < -1) | (run().images > 2)).float().mean())
        require(outside < 0.01, f"{outside:.0%} of the values are far outside [0, 1]; images are in [0, 1], not 0-255")

    def same_dice() -> None:
        require(torch.equal(run().images, run().images), "two runs on the same dice differ; draw from rng alone")

    def no_global_dice() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(20200101)
            before, numpy_before = torch.get_rng_state(), str(np.random.get_state(legacy=False))
            run()
            same = torch.equal(before, torch.get_rng_state())
        same = same and numpy_before == str(np.random.get_state(legacy=False))
        require(same, "it draws from a global generator, or seeds one; use rng")

    def heeds_dice() -> None:
        fresh = {"additive_noise", "permutes_in_blocks", "keyed"} & set(entry.traits)
        if fresh and torch.equal(run("a").images, run("b").images):
            raise Broken(
                f"its traits say {', '.join(sorted(fresh))}, but other dice give the same images; draw from rng"
            )

    def untouched() -> None:
        sources, weights = inputs()
        function(sources, weights, torch_generator(derive(b"", "a"), "cpu"))
        require(torch.equal(inputs()[0], sources), "it writes into its sources; return new tensors")
        require(torch.equal(inputs()[1], weights), "it writes into its weights; return new tensors")

    def shares() -> None:
        made = run().shares
        require(tuple(made.shape) == (6, count), f"shares of {tuple(made.shape)}, expected {(6, count)}")
        require(bool(((made.sum(1) - 1).abs() < 1e-4).all()), "the shares of a mixture do not sum to 1")

    def single() -> None:
        alone = run(rows=slice(0, 1)).images
        require(tuple(alone.shape) == (1, 3, SIZE, SIZE), f"one mixture gives {tuple(alone.shape)}")
        require(bool(torch.isfinite(alone).all()), "one mixture alone gives NaN or infinity")
        if torch.equal(run("a").images, run("b").images):  # without dice, a mixture is what it is in any company
            apart = float((alone - run().images[:1]).abs().max())
            require(apart < 1e-5, f"a mixture depends on the others of its batch (by {apart:.2g})")

    def releases() -> None:
        images, labels = pictures(24, "release")
        first = obfuscate(scheme, images, labels, CLASSES, derive(b"", "key"))
        again = obfuscate(scheme, images, labels, CLASSES, derive(b"", "key"))
        other = obfuscate(scheme, images, labels, CLASSES, derive(b"", "another"))
        require(torch.equal(first[0].images, again[0].images), "the same key gives two different releases")
        require(not np.array_equal(first[1].sources, other[1].sources), "another key gives the same order")

    def on_cuda() -> None:
        if not torch.cuda.is_available():
            raise Skipped("no CUDA GPU here")
        sources, weights = inputs()
        made = function(sources.cuda(), weights.cuda(), torch_generator(derive(b"", "a"), "cuda"))
        images = made.images if isinstance(made, Mixture) else made
        require(images.is_cuda, "given images on the GPU, it returns them elsewhere; follow sources.device")

    yield "returns float32 images, one per mixture", shape
    yield "holds no NaN or infinity", finite
    yield "stays in the range of images", in_range
    yield "is a function of its arguments and rng", same_dice
    yield "leaves the global generators alone", no_global_dice
    yield "draws afresh from other dice, where its traits say so", heeds_dice
    yield "writes into nothing it was given", untouched
    yield "returns shares that sum to 1", shares
    yield "takes a single mixture", single
    yield "gives the same release for the same key", releases
    yield "follows its images to the GPU", on_cuda
