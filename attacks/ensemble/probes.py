"""The defense as a function that the adversary calls on images of its own choosing (chosen plaintext).

Kerckhoffs's principle gives the adversary the function and its settings, never the client's random numbers. Every call
draws a fresh generator, runs on chunks as large as the client's, filled up with public images, and rounds to bytes as
the client does: what a release shows, and nothing that only floats or gradients would show.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.errors import Inapplicable
from harness.images import to_bytes, to_images
from harness.observation import Observation
from harness.plugins.attacks.common import rehearse
from harness.randomness import derive, key_from, numpy_generator, torch_generator
from harness.release import chunk_size
from harness.types import Bytes, Generator, Images, Sources, Weights


class BlackBox:
    """Calls the defense on chosen images; counts them.

    called  images that were obfuscated so far, without those that only fill a chunk up
    chunk   images that the client obfuscates in one call
    """

    def __init__(self, observation: Observation, rng: Generator):
        if not len(observation.public):
            raise Inapplicable("there are no public images to try the defense on (--public-share 0)")
        self._observation, self._key, self._calls, self.called = observation, key_from(rng), 0, 0
        self._drawn = 0
        self.device, self.sources = observation.device, observation.sources
        self.shape = tuple(observation.images.shape[1:])
        self.weights = rehearse.expected_weights(observation, self._key)
        self.chunk = chunk_size(self.sources, (0, *self.shape), self.device)

    def __call__(self, images: Bytes) -> Bytes:
        """(n, 3, H, W) uint8: the releases of mixtures all of whose sources are the same image, (n, 3, H, W) uint8.

        The mixture is then the image itself, whatever the weights: what shows is what the defense does besides mixing.
        """
        stacks = images.unsqueeze(1).expand(-1, self.sources, -1, -1, -1)
        return self.mixed(stacks, self.weights.expand(len(images), -1))

    def in_order(self, images: Bytes) -> Bytes:
        """The same with nothing between the images of a call: for what a defense carries from one image to the next."""
        self.called += len(images)
        stacks = images.unsqueeze(1).expand(-1, self.sources, -1, -1, -1)
        parts = [self._call(*chunk) for chunk in self._chunks(stacks, self.weights.expand(len(images), -1))]
        return torch.cat(parts)

    def repeated(self, images: Bytes, draws: int) -> Tensor:
        """(draws, n, 3, H, W) uint8: releases of the same images by different random generators."""
        return torch.stack([self(images) for _ in range(draws)])

    def mixed(self, sources: Bytes, weights: Weights) -> Bytes:
        """(n, 3, H, W) uint8 on the device: the releases of these mixtures, in order.

        sources  (n, k, 3, H, W) uint8
        weights  (n, k)
        """
        self.called += len(sources)
        parts = [self._release(some, share) for some, share in self._chunks(sources, weights)]
        return torch.cat(parts)

    def public(self, count: int) -> Bytes:
        """(count, 3, H, W) uint8 public images, drawn at random; again from the first where there are fewer."""
        rows = self._draws().permutation(len(self._observation.public))
        picked = torch.from_numpy(rows).repeat(-(-count // len(rows)))[:count]
        return self._observation.public.images[picked].to(self.device)

    def random(self, count: int) -> Bytes:
        """(count, 3, H, W) uint8 images of independent random values."""
        return torch.from_numpy(self._draws().integers(0, 256, (count, *self.shape), dtype="uint8")).to(self.device)

    def flat(self, levels: Tensor) -> Bytes:
        """(n, 3, H, W) uint8 images of one grey level each, (n,)."""
        grey = levels.to(torch.uint8).to(self.device).view(-1, 1, 1, 1)
        return grey.expand(-1, *self.shape)

    def _draws(self) -> np.random.Generator:
        """Another generator each time."""
        self._drawn += 1
        return numpy_generator(derive(self._key, "images", self._drawn))

    def _chunks(self, sources: Bytes, weights: Weights) -> Iterator[tuple[Bytes, Weights]]:
        for start in range(0, len(sources), self.chunk):
            yield sources[start : start + self.chunk], weights[start : start + self.chunk]

    def _release(self, sources: Bytes, weights: Weights) -> Bytes:
        """One call of the defense: the chunk is filled up, in random order, so that it looks like a client's."""
        count = len(sources)
        rng = numpy_generator(derive(self._key, "call", self._calls, "order"))
        missing = self.chunk - count
        stack, shares = sources.to(self.device), weights.to(self.device)
        if missing:
            rows = torch.from_numpy(rng.integers(0, len(self._observation.public), (missing, self.sources)))
            stack = torch.cat([stack, self._observation.public.images[rows].to(self.device)])
            shares = torch.cat([shares, self.weights.to(self.device).expand(missing, -1)])
        order = torch.from_numpy(rng.permutation(len(stack))).to(self.device)
        released = torch.empty((len(stack), *self.shape), dtype=torch.uint8, device=self.device)
        released[order] = self._call(stack[order], shares[order])
        return released[:count]

    def _call(self, sources: Bytes, weights: Weights) -> Bytes:
        """The defense's own, of at most one chunk, with a generator of its own."""
        self._calls += 1
        generator = torch_generator(derive(self._key, "call", self._calls, "defense"), self.device)
        return to_bytes(self.apply(to_images(sources.to(self.device)), weights.to(self.device), generator))

    def apply(self, sources: Sources, weights: Weights, rng: Generator) -> Images:
        """The defense itself, without gradients. Inapplicable where it raises an error: it refuses what was chosen."""
        try:
            with torch.no_grad():
                return self._observation.apply(sources, weights, rng)
        except Exception as reason:  # whatever a plugin raises on images that no client has
            raise Inapplicable(f"the defense refuses a chosen image: {reason}") from reason
