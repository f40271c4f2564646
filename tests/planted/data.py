"""Small private and public images, what an adversary sees of a planted defense, and how far a decoder comes."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from harness.data.sources.photos import photos
from harness.images import to_bytes, to_images
from harness.mixing import plan
from harness.observation import KnownDefense, LabelledImages, Observation
from harness.plugins.evaluators.privacy import dssim
from harness.randomness import derive, numpy_generator, torch_generator
from harness.registry import load_registry
from harness.release import Scheme, obfuscate
from harness.types import Dataset, Release, Splits
from tests.planted.table import Context, Planted

KEY = b"k" * 32
EXPOSED = 0.05  # dSSIM below which an image counts as shown


@dataclass(frozen=True)
class Data:
    """Private images and an adversary's own, (N, 3, H, W) uint8, and their labels in [0, classes)."""

    private: np.ndarray
    public: np.ndarray
    private_labels: np.ndarray
    public_labels: np.ndarray

    @property
    def classes(self) -> int:
        return 1 + int(max(self.private_labels.max(), self.public_labels.max()))


@cache
def photographs(size: int = 48, private: int = 60, public: int = 120) -> Data:
    """Tiles of the ten photographs of the data set `photos`, as many of each."""
    tiles = photos(Path(tempfile.gettempdir()))
    classes = sorted({tile.label for tile in tiles})

    def drawn(role: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = [], []
        for number, name in enumerate(classes):
            own = [tile for tile in tiles if tile.role == role and tile.label == name]
            for place in np.linspace(0, len(own) - 1, min(count // len(classes), len(own))).astype(int):
                image = cv2.resize(own[place].read(), (size, size), interpolation=cv2.INTER_AREA)
                images.append(image.transpose(2, 0, 1))
                labels.append(number)
        return np.stack(images), np.array(labels)

    (ours, labels), (theirs, their_labels) = drawn("private", private), drawn("public", public)
    return Data(ours, theirs, labels, their_labels)


@cache
def synthetic(size: int = 32, private: int = 40, public: int = 80) -> Data:
    """Pictures of two classes (see `pictures`)."""
    return Data(pictures(private, 1, size), pictures(public, 2, size), np.arange(private) % 2, np.arange(public) % 2)


def pictures(count: int, seed: int, size: int = 32) -> np.ndarray:
    """(count, 3, size, size) uint8: textured spots, each of its own colour and pattern, on ground with a faint pattern.

    Textured places differ between images, as in photographs.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size

    def waves(steepness: float) -> np.ndarray:
        across, down = rng.normal(0, steepness, (2, count, 1, 1, 1))
        return np.sin(2 * np.pi * (across * x + down * y + rng.random((count, 1, 1, 1))))

    images = 0.5 + rng.normal(0, 0.1, (count, 3, 1, 1)) + 0.04 * sum(waves(4) for _ in range(6))
    for _ in range(5):
        left, top = rng.random((2, count, 1, 1, 1))
        wide = rng.uniform(0.08, 0.16, (count, 1, 1, 1))
        spot = np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * wide**2))
        colour = rng.normal(0, 0.25, (count, 1, 1, 1)) + rng.normal(0, 0.12, (count, 3, 1, 1))
        images += spot * colour * (1 + waves(4))
    return (images.clip(0, 1) * 255).round().astype(np.uint8)


def splits_of(data: Data) -> Splits:
    """As a data set of the harness; the private images are the test images too."""
    classes = tuple(map(str, range(data.classes)))

    def role(images: np.ndarray, labels: np.ndarray) -> Dataset:
        hashes = np.array([hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in images], "S32")
        return Dataset(images, labels.astype(np.int64), hashes, tuple(map(str, range(len(images)))), classes)

    private, public = role(data.private, data.private_labels), role(data.public, data.public_labels)
    fingerprint = hashlib.sha256(b"".join((*private.hashes, *public.hashes))).hexdigest()[:32]
    return Splits("planted", private, public, private, fingerprint)


# What an adversary sees


@dataclass(frozen=True)
class Attacked:
    """The releases of a planted defense.

    observation  the adversary's
    sources      of every release (N, k) rows of the private images, the dominant one first
    """

    data: Data
    observation: Observation
    sources: tuple[np.ndarray, ...]

    @property
    def originals(self) -> torch.Tensor:
        """(N, 3, H, W) uint8: the dominant sources of release 0."""
        return torch.from_numpy(self.data.private[self.sources[0][:, 0]])

    @property
    def context(self) -> Context:
        return self.context_of(0)

    def context_of(self, number: int) -> Context:
        """What a decoder of this release knows."""
        images = [release.images for release in self.observation.releases]
        return Context([images[number], *images[:number], *images[number + 1 :]], torch.from_numpy(self.data.public))


def observed(planted: Planted, data: Data) -> Attacked:
    """The releases that a client makes with it."""
    mixing, function = planted.mixing, planted.function

    def bound(sources, weights, rng):
        return function(sources, weights, rng, **planted.params)

    scheme = Scheme("planted", bound, mixing)
    makers = {"": _shuffled, "late": _late, "partners": _in_place, "order": _in_place}
    made = [makers[planted.protocol](scheme, data, number, planted) for number in range(planted.releases)]
    releases = [release for release, _ in made]
    own = LabelledImages(torch.from_numpy(data.public), data.public_labels)
    seen = Observation(
        releases[0].images, np.arange(len(releases[0])), tuple(map(str, range(data.classes))), scheme.sources, "cpu",
        frozenset({"releases", "defense", "public"}), _releases=releases,
        _known=KnownDefense(planted.params, mixing, planted.traits), _scheme=scheme, _public=own,
        _key=derive(KEY, "adversary"),
    )  # fmt: skip
    return Attacked(data, seen, tuple(sources for _, sources in made))


def _shuffled(scheme: Scheme, data: Data, number: int, planted: Planted) -> tuple[Release, np.ndarray]:
    """As the harness releases it."""
    key = derive(KEY, "client", number)
    release, secret = obfuscate(scheme, data.private, data.private_labels, data.classes, key)
    first = secret.dominant_rows[:, None]
    others = [row[row != lead] for row, lead in zip(secret.sources, first[:, 0], strict=True)]
    return release, np.concatenate([first, np.stack(others)], 1)


def _late(scheme: Scheme, data: Data, number: int, planted: Planted) -> tuple[Release, np.ndarray]:
    """A client that releases the images themselves in the second half."""
    release, sources = _shuffled(scheme, data, number, planted)
    if number < planted.releases // 2:
        return release, sources
    return Release(torch.from_numpy(data.private[sources[:, 0]]), release.labels), sources


def _in_place(scheme: Scheme, data: Data, number: int, planted: Planted) -> tuple[Release, np.ndarray]:
    """A client that does not shuffle (row i leads with original i), or that draws its pairs once for all epochs."""
    rows = np.arange(len(data.private))
    key = derive(KEY, "weights", number)
    weights = plan(data.private_labels, scheme.mixing, numpy_generator(key)).weights
    partners = [rows, *(np.roll(rows, 3 + column) for column in range(scheme.sources - 1))]
    order = numpy_generator(derive(KEY, "order", number)).permutation(rows) if planted.protocol == "partners" else rows
    sources = np.stack(partners, 1)[order]
    stack = to_images(torch.from_numpy(data.private[sources]))
    rng = torch_generator(derive(KEY, "dice", number), "cpu")
    made = scheme.function(stack, torch.from_numpy(weights), rng)
    return Release(to_bytes(made), torch.from_numpy(data.private_labels[sources[:, 0]])), sources


# How far a decoder comes


def measured(planted: Planted, attacked: Attacked) -> float:
    """What `planted.limit` is a limit of (see Planted.broken_by), after its decoder."""
    measures = {"dssim": _near, "any": _near_any, "aligned": _near_aligned}
    if planted.broken_by == "exposed":
        return _unexposed(planted, attacked)
    if planted.broken_by == "reidentified":
        return _unnamed(attacked)
    decoded = planted.decode(attacked.observation.images, attacked.context)
    return measures[planted.broken_by](decoded, attacked)


def distances(candidates: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """(n,) dSSIM of the best candidate, as the harness scores it; candidates (n, 3, H, W) or (n, M, 3, H, W) uint8."""
    stacked = candidates if candidates.ndim == 5 else candidates[:, None]
    knobs, truth = load_registry().get("metrics", "dssim").params, to_images(originals)
    grid = [dssim(to_images(stacked[:, each]), truth, **knobs) for each in range(stacked.shape[1])]
    return torch.stack(grid).amin(0)


def _near(decoded: torch.Tensor, attacked: Attacked) -> float:
    return float(distances(decoded, attacked.originals).mean())


def _near_any(decoded: torch.Tensor, attacked: Attacked) -> float:
    columns = attacked.sources[0].T
    each = [distances(decoded, torch.from_numpy(attacked.data.private[column])) for column in columns]
    return float(torch.stack(each).amin(0).mean())


def _near_aligned(decoded: torch.Tensor, attacked: Attacked) -> float:
    """Of eight poses, each as it is and inverted, with the sorted values of the original."""
    originals, tried = attacked.originals, []
    for turn in range(4):
        for mirrored in (False, True):
            posed = decoded.rot90(turn, (2, 3))
            posed = posed.flip(3) if mirrored else posed
            tried += [posed, recoloured(posed, originals), recoloured(255 - posed, originals)]
    return float(torch.stack([distances(each, originals) for each in tried]).amin(0).mean())


def recoloured(images: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """Each channel with the sorted values of the original's."""
    places = images.flatten(2).argsort(dim=2, stable=True)
    values = originals.flatten(2).sort(2).values
    return torch.empty_like(values).scatter_(2, places, values).view(images.shape)


def _unexposed(planted: Planted, attacked: Attacked) -> float:
    """1 - share of the originals that some decoded release shows."""
    shown = np.zeros(len(attacked.data.private), bool)
    for number, (release, sources) in enumerate(zip(attacked.observation.releases, attacked.sources, strict=True)):
        decoded = planted.decode(release.images, attacked.context_of(number))
        near = distances(decoded, torch.from_numpy(attacked.data.private[sources[:, 0]])) < EXPOSED
        shown[sources[near.numpy(), 0]] = True
    return 1 - float(shown.mean())


def _unnamed(attacked: Attacked) -> float:
    """1 - share of the originals whose colour histogram, or mean colour, is the nearest to that of their release."""
    found = []
    for colours in (_histograms, _mean_colours):
        ours, theirs = (colours(np.asarray(images)) for images in (attacked.observation.images, attacked.data.private))
        nearest = np.abs(ours[:, None] - theirs).sum(2).argmin(1)
        found.append(float((nearest == attacked.sources[0][:, 0]).mean()))
    return 1 - max(found)


def _mean_colours(images: np.ndarray) -> np.ndarray:
    """(N, 3)."""
    return images.mean((2, 3))


def _histograms(images: np.ndarray) -> np.ndarray:
    """(N, 768) cumulative shares of the values of each channel: their L1 distance is an earth mover's distance."""
    flat = images.reshape(len(images), 3, -1)
    counts = np.stack([[np.bincount(plane, minlength=256) for plane in image] for image in flat])
    return (counts.cumsum(2) / flat.shape[2]).reshape(len(images), -1)
