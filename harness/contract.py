"""The contract tests that `harness validate NAME` runs on any plugin: being listed means being tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from harness import trained
from harness.cell import Bench
from harness.errors import HarnessError, Inapplicable, Skipped
from harness.images import to_images
from harness.mixing import source_count
from harness.randomness import derive, torch_generator
from harness.records import Records
from harness.registry import Entry, Registry, bind
from harness.release import Scheme, obfuscate
from harness.scoring import score
from harness.types import Array, Dataset, Guess, Mixture, Splits

SIZE = 32
_CLASSES = 3


@dataclass(frozen=True)
class Finding:
    """One check: what was asked, whether it holds, and if not why."""

    check: str
    ok: bool
    why: str = ""


class Broken(Exception):  # noqa: N818  (a finding, not an error)
    """A check does not hold; the message says why."""


def validate(entry: Entry, registry: Registry) -> list[Finding]:
    """Run every check for the entry's section. The first, that it can be bound, stops the rest where it fails."""
    try:
        function = bind(entry)
    except HarnessError as error:
        return [Finding("can be imported and given its knobs", False, str(error))]
    suites: dict[str, Callable[[], Iterator[tuple[str, Callable[[], None]]]]] = {
        "defenses": partial(_defense, entry, function),
        "attacks": partial(_attack, entry, function, registry),
        "metrics": partial(_metric, entry, function),
    }
    checks = suites.get(entry.section, lambda: iter(()))()
    return [Finding("can be imported and given its knobs", True), *(_try(name, check) for name, check in checks)]


def _try(name: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except (Broken, HarnessError) as error:
        return Finding(name, False, str(error))
    except (Skipped, Inapplicable) as reason:
        return Finding(name, True, f"not checked: {reason}")
    except Exception as error:  # a plugin may raise anything; that is the finding
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Finding(name, True)


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise Broken(why)


# ---- defenses


def _defense(entry: Entry, function: Callable[..., Any]) -> Iterator[tuple[str, Callable[[], None]]]:
    mixing = {**(entry.mixing or {})}
    if mixing["weights"] == "distortion":
        mixing["weights"] = [0.5, 0.5]
    scheme, count = Scheme(entry.name, function, mixing), source_count(mixing)
    pixels = _noise((6, count, 3, SIZE, SIZE), "sources")

    def inputs(rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
        return to_images(pixels[rows]), torch.full((6, count), 1 / count)[rows]

    def run(seed: str = "a", rows: slice = slice(None)) -> Mixture:
        sources, weights = inputs(rows)
        made = function(sources, weights, torch_generator(derive(b"", seed), "cpu"))
        return made if isinstance(made, Mixture) else Mixture(made, weights)

    def shape() -> None:
        made, expected = run(), (6, 3, SIZE, SIZE)
        _require(tuple(made.images.shape) == expected, f"images of {tuple(made.images.shape)}, expected {expected}")
        _require(made.images.dtype == torch.float32, f"images are {made.images.dtype}, expected torch.float32")

    def finite() -> None:
        _require(bool(torch.isfinite(run().images).all()), "the release holds NaN or infinity")

    def in_range() -> None:
        outside = float(((run().images < -1) | (run().images > 2)).float().mean())
        _require(outside < 0.01, f"{outside:.0%} of the values are far outside [0, 1]; images are in [0, 1], not 0-255")

    def same_dice() -> None:
        _require(torch.equal(run().images, run().images), "two runs on the same dice differ; draw from rng alone")

    def no_global_dice() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(20200101)
            before, numpy_before = torch.get_rng_state(), str(np.random.get_state(legacy=False))
            run()
            same = torch.equal(before, torch.get_rng_state())
        same = same and numpy_before == str(np.random.get_state(legacy=False))
        _require(same, "it draws from a global generator, or seeds one; use rng")

    def heeds_dice() -> None:
        fresh = {"additive_noise", "permutes_in_blocks", "keyed"} & set(entry.traits)
        if fresh and torch.equal(run("a").images, run("b").images):
            raise Broken(
                f"its traits say {', '.join(sorted(fresh))}, but other dice give the same images; draw from rng"
            )

    def untouched() -> None:
        sources, weights = inputs()
        function(sources, weights, torch_generator(derive(b"", "a"), "cpu"))
        _require(torch.equal(inputs()[0], sources), "it writes into its sources; return new tensors")
        _require(torch.equal(inputs()[1], weights), "it writes into its weights; return new tensors")

    def shares() -> None:
        made = run().shares
        _require(tuple(made.shape) == (6, count), f"shares of {tuple(made.shape)}, expected {(6, count)}")
        _require(bool(((made.sum(1) - 1).abs() < 1e-4).all()), "the shares of a mixture do not sum to 1")

    def single() -> None:
        alone = run(rows=slice(0, 1)).images
        _require(tuple(alone.shape) == (1, 3, SIZE, SIZE), f"one mixture gives {tuple(alone.shape)}")
        _require(bool(torch.isfinite(alone).all()), "one mixture alone gives NaN or infinity")
        if torch.equal(run("a").images, run("b").images):  # without dice, a mixture is what it is in any company
            apart = float((alone - run().images[:1]).abs().max())
            _require(apart < 1e-5, f"a mixture depends on the others of its batch (by {apart:.2g})")

    def releases() -> None:
        images, labels = _pictures(24, "release")
        first = obfuscate(scheme, images, labels, _CLASSES, derive(b"", "key"))
        again = obfuscate(scheme, images, labels, _CLASSES, derive(b"", "key"))
        other = obfuscate(scheme, images, labels, _CLASSES, derive(b"", "another"))
        _require(torch.equal(first[0].images, again[0].images), "the same key gives two different releases")
        _require(not np.array_equal(first[1].sources, other[1].sources), "another key gives the same order")

    def on_cuda() -> None:
        if not torch.cuda.is_available():
            raise Skipped("no CUDA GPU here")
        sources, weights = inputs()
        made = function(sources.cuda(), weights.cuda(), torch_generator(derive(b"", "a"), "cuda"))
        images = made.images if isinstance(made, Mixture) else made
        _require(images.is_cuda, "given images on the GPU, it returns them elsewhere; follow sources.device")

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


# ---- metrics


def _metric(entry: Entry, function: Callable[..., Any]) -> Iterator[tuple[str, Callable[[], None]]]:
    pixels = _pictures(4, "metric")[0]
    noise = torch.randn(pixels.shape, generator=torch_generator(derive(b"", "noise"), "cpu"))

    def pair(sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
        originals = to_images(pixels)
        return (originals + noise * sigma).clamp(0, 1), originals

    def per_image() -> None:
        made = function(*pair(0.02))
        held = isinstance(made, torch.Tensor) and tuple(made.shape) == (4,)
        _require(held, "expected a tensor with one number per image")
        _require(bool(torch.isfinite(made).all()), "finite images give a number that is not finite")

    def ordered() -> None:
        close, distant = (float(function(*pair(sigma)).mean()) for sigma in (0.02, 0.4))
        grows = distant > close
        _require(
            grows if entry.higher_is == "farther" else not grows,
            f"strong noise scores {distant:.3g} and weak noise {close:.3g}, but higher_is says {entry.higher_is}",
        )

    def zero() -> None:
        same = function(*pair(0.0))
        if entry.higher_is == "farther":
            apart = float(same.abs().max())
            _require(apart < 1e-4, f"equal images are {apart:.3g} apart, expected 0")

    def alone() -> None:
        together, single = function(*pair(0.02))[:1], function(*(stack[:1] for stack in pair(0.02)))
        _require(torch.allclose(together, single, atol=1e-5), "an image's figure depends on the others of its batch")

    def untouched() -> None:
        images, originals = pair(0.02)
        function(images, originals)
        _require(torch.equal(images, pair(0.02)[0]), "it writes into its images; return new tensors")
        _require(torch.equal(originals, pair(0.02)[1]), "it writes into the originals; return new tensors")

    yield "returns one finite number per image", per_image
    yield "equal images are at distance 0", zero
    yield "orders weak and strong noise as higher_is says", ordered
    yield "scores each image by itself", alone
    yield "writes into nothing it was given", untouched


# ---- attacks


def _attack(entry: Entry, function: Callable[..., Any], registry: Registry) -> Iterator[tuple[str, Callable[[], None]]]:
    private, public, test = (_dataset(count, role) for count, role in ((30, "private"), (60, "public"), (6, "test")))
    bench = Bench(Splits("contract", private, public, test, "0" * 32), registry, Records.nowhere(), epochs=2)
    defense = registry.get("defenses", "noise_mix")
    release, secret = bench.client.release(defense, 0, 0)
    made: list[Guess] = []

    def run() -> Guess:
        observation = bench.client.observe(defense, entry, 0)
        guess: Guess = function(observation, torch_generator(derive(b"", "attack"), "cpu"))
        return guess

    def answers() -> None:
        made.append(run())
        _require(isinstance(made[0], Guess), f"returned {type(made[0]).__name__}, expected harness.types.Guess")

    def kind() -> None:
        _need(made)
        score(bench.client, entry, made[0], release, secret)

    def same_dice() -> None:
        _need(made)
        trained.forget()
        again = run()
        for name in ("scores", "candidates", "gallery"):
            first, second = getattr(made[0], name), getattr(again, name)
            if first is not None:
                same = np.allclose(np.asarray(first, np.float64), np.asarray(second, np.float64), atol=1e-4)
                _require(same, f"two runs on the same dice give different {name}; draw from rng alone")

    def only_granted() -> None:
        bare = bench.client.observe(defense, replace(entry, granted=()), 0)
        if entry.granted:
            try:
                function(bare, torch_generator(derive(b"", "attack"), "cpu"))
            except HarnessError:
                return
            raise Broken(
                f"it runs without what its entry is granted ({', '.join(entry.granted)}); drop what it does not use"
            )

    yield "runs on what it is granted and returns a guess", answers
    yield "the guess is of its kind and shape", kind
    yield "is a function of its observation and rng", same_dice
    yield "uses what it is granted", only_granted


def _need(made: list[Guess]) -> None:
    if not made:
        raise Skipped("there is no guess")


# ---- pictures to try on


def _noise(shape: tuple[int, ...], purpose: str) -> torch.Tensor:
    rng = torch_generator(derive(b"", purpose), "cpu")
    return torch.randint(256, shape, generator=rng, dtype=torch.uint8)


def _pictures(count: int, purpose: str) -> tuple[torch.Tensor, Array]:
    """Smooth pictures of three classes that differ in the direction of their stripes."""
    labels = np.arange(count) % _CLASSES
    rng = np.random.Generator(np.random.Philox(int.from_bytes(derive(b"", purpose)[:8], "little")))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    for row, label in enumerate(labels):
        wave = np.sin(2 * np.pi * (3 * (x if label == 0 else y if label == 1 else x + y) + rng.random()))
        tint = rng.uniform(0.5, 1, (3, 1, 1))
        images[row] = np.clip(127 + 90 * tint * wave + rng.normal(0, 8, (3, SIZE, SIZE)), 0, 255)
    return torch.from_numpy(images), labels.astype(np.int64)


def _dataset(count: int, role: str) -> Dataset:
    images, labels = _pictures(count, role)
    hashes = np.array([f"{role}{row:05d}" for row in range(count)], "S32")
    names, classes = tuple(map(str, range(count))), tuple("abc"[:_CLASSES])
    strongest = images.float().std((2, 3)).argmax(1).numpy()  # of the colours: a second thing to read
    return Dataset(images.numpy(), labels, hashes, names, classes, strongest, ("red", "green", "blue"))
