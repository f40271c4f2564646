"""Re-identification: which image of a gallery that holds the originals a release was made from.

`reid_raw` compares releases and gallery in a fixed embedding; `reid` trains an embedding on rehearsals.
References: contrastive learning by InfoNCE, van den Oord et al. 2018; over both directions, Radford et al. 2021.
Differences to the originals: the embedding starts from whitened thumbnails, and an original that is twice in a batch is
not its own negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from harness.errors import NotConverged
from harness.images import to_bytes, to_images
from harness.images.thumbnails import ThumbnailEmbedding
from harness.observation import Observation
from harness.plugins.attacks.common.classifier import fit_and_judge
from harness.randomness import derive, key_from
from harness.train import Learner, Recipe, fit_until_flat, prepare, seeded
from harness.train.convergence import compared_with_constant
from harness.types import Array, Bytes, Generator, Guess, Labels, Scores

_RECIPE = Recipe("adamw", 1e-3, weight_decay=0.05, flip=True, shift=0.0625, clip=1.0)
_BATCH = 32  # the negatives of an image are the others of its batch
_PAIRS = 256  # pairs of a round, at least
_JUDGED = 300  # held-out releases, at least
_SIDE = 32  # pixels; larger images are reduced to it, since obfuscation removes finer detail
_CHUNK = 256


def reid_raw(observation: Observation, rng: Generator, *, grid: int, floor: float) -> Guess:
    """Cosine of whitened thumbnails of the releases and of the gallery, without training.

    grid   cells a side of a thumbnail
    floor  variance added to every principal component of the gallery, as a share of the largest
    """
    embedding = ThumbnailEmbedding.fit(observation.gallery, grid, floor, observation.device)
    return Guess(gallery=_raw(embedding, observation.images[observation.targets], observation.gallery))


def reid(observation: Observation, rng: Generator, *, grid: int, floor: float, train_epochs: int) -> Guess:
    """Cosine of embeddings trained on rehearsals, or of thumbnails where these rank held-out rehearsals better.

    grid, floor   as for `reid_raw`, where the training starts
    train_epochs  rounds of fresh rehearsals, at least; raised to 1,000 steps, and on until the loss is flat
    """
    gallery, device, key = observation.gallery, observation.device, key_from(rng)
    fit, judge = fit_and_judge(observation, derive(key, "split"))
    embedding, gallery_images = ThumbnailEmbedding.fit(gallery, grid, floor, device), _shrunk(gallery)
    pairs, owners = _rehearsed_pairs(observation, judge, -1, _JUDGED)
    releases, originals, truth = _separated(pairs, owners)
    candidates = torch.cat([originals.cpu(), gallery_images])  # at least as many as in the attack
    with seeded(key, device):
        learner = _Contrast(candidates, _Embedding(embedding), _RECIPE, min(_BATCH, len(fit)), key, device)
        report = fit_until_flat(
            learner,
            lambda epoch: _rehearsed_pairs(observation, fit, epoch, _PAIRS),
            (releases, truth),
            rounds=train_epochs,
            classes=len(candidates),
        )
    trained, raw = (
        _reciprocal_ranks(scores, truth)
        for scores in (learner.compare(releases, candidates), _raw(embedding, releases, candidates))
    )
    chance = np.full(len(truth), np.log(len(candidates)))
    learned = compared_with_constant(learner.losses(releases, truth), chance, truth.numpy())
    better = learned["learned"] and trained.mean() > raw.mean()
    images = observation.images[observation.targets]
    answer = learner.compare(images, gallery) if better else _raw(embedding, images, gallery)
    first = trained[: len(judge)]  # one rehearsal of each
    facts = {
        **learned,
        "uses": "trained" if better else "raw",
        "held_out_trained": float(trained.mean()),
        "held_out_raw": float(raw.mean()),
        "held_out_hits": int((first == 1).sum()),
        "held_out_n": len(first),
        "held_out_chance": 1 / len(candidates),
    }
    return Guess(gallery=answer, report={**report, **facts})


def _raw(embedding: ThumbnailEmbedding, images: Bytes, gallery: Bytes) -> Scores:
    return (embedding.transform(images) @ embedding.transform(gallery).T).float()


def _rehearsed_pairs(observation: Observation, rows: Array, epoch: int, least: int) -> tuple[Bytes, Labels]:
    """Rehearsed releases stacked on their dominant originals, reduced: (N, 6, H, W) uint8; the originals' rows (N,).

    least  number of pairs, at least
    """
    public, times = observation.public, -(-least // len(rows))
    images = public.images[torch.from_numpy(rows)].to(observation.device)
    small, stacks, owners = _shrunk(images), [], []
    for time in range(times):
        release, secret = observation.rehearse(images, public.labels[rows], epoch * times + time)
        dominant = torch.from_numpy(secret.dominant_rows)
        stacks.append(torch.cat([_shrunk(release.images), small[dominant.to(small.device)]], 1))
        owners.append(torch.from_numpy(rows)[dominant])
    return torch.cat(stacks), torch.cat(owners)


def _shrunk(images: Bytes) -> Bytes:
    """Reduced to 32 pixels a side by area means, where larger."""
    if max(images.shape[2:]) <= _SIDE:
        return images
    return torch.cat([to_bytes(functional.adaptive_avg_pool2d(to_images(p), _SIDE)) for p in images.split(_CHUNK)])


def _separated(pairs: Bytes, owners: Labels) -> tuple[Bytes, Bytes, Labels]:
    """The releases, each original once, and the column (N,) of each release's original among these."""
    _, columns = owners.unique(return_inverse=True)
    first = torch.from_numpy(np.unique(owners.cpu().numpy(), return_index=True)[1])
    return pairs[:, :3], pairs[first.to(pairs.device), 3:], columns.cpu()


def _reciprocal_ranks(scores: Scores, truth: Labels) -> Array:
    """(N,) 1 / rank of the true column; ties count against the attack."""
    own = scores.cpu().gather(1, truth[:, None])
    reciprocal: Array = 1 / (scores.cpu() >= own).sum(1).numpy()
    return reciprocal


class _Embedding(nn.Module):
    """Initially whitened thumbnails; a matrix and a small convolutional network are trained on top of them."""

    mean: torch.Tensor
    whiten: torch.Tensor

    def __init__(self, embedding: ThumbnailEmbedding):
        super().__init__()
        self.grid = embedding.grid
        self.register_buffer("mean", embedding.mean.float())
        self.register_buffer("whiten", embedding.whiten.float())
        width = len(embedding.mean)
        self.rotate = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.rotate.weight)
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.add = nn.Linear(64 * 16, width)
        nn.init.zeros_(self.add.weight)
        nn.init.zeros_(self.add.bias)
        self.sharpness = nn.Parameter(torch.tensor(2.5))  # logarithm of the inverse temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images as `prepare` returns them, (N, 3, H, W) -> (N, 3 grid^2), of length 1."""
        cells = functional.adaptive_avg_pool2d(images / 4 + 0.5, self.grid).flatten(1)
        plain = functional.normalize((cells - self.mean) @ self.whiten, dim=1)
        return functional.normalize(self.rotate(plain) + self.add(self.convolutions(images)), dim=1)


class _Contrast(Learner):
    """Trains an embedding so that a release is nearer to its own original than to any other of its batch.

    candidates  (G, 3, H, W) uint8, among which held-out releases have to be found
    """

    def __init__(self, candidates: Bytes, *learner: Any):
        super().__init__(*learner)
        self.candidates = candidates

    def _step(self, stored: Bytes, labels: Labels, mirrored: torch.Tensor) -> torch.Tensor:
        pairs = self._augment(prepare(stored, self.device), mirrored)
        with self._autocast():
            embedded = self.model(torch.cat([pairs[:, :3], pairs[:, 3:]])).float()
        releases, originals = embedded.chunk(2)
        logits = self._sharpened(releases @ originals.T)
        own = torch.arange(len(labels), device=logits.device)
        same = (labels[:, None] == labels) & (own[:, None] != own)  # the same original twice in a batch is no negative
        logits = logits.masked_fill(same, -1e4)
        loss = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.steps += 1
        return loss.detach()

    def loss(self, images: Bytes, labels: Labels) -> float:
        """Mean of `losses`; NotConverged where it is not finite."""
        loss = float(self.losses(images, labels).mean())
        if not np.isfinite(loss):
            raise NotConverged(f"the held-out loss is {loss} after {self.steps} steps")
        return loss

    @torch.no_grad()
    def losses(self, images: Bytes, labels: Labels) -> Array:
        """(N,) cross-entropy, in nats, of finding each release among the candidates; labels (N,) are their columns."""
        logits = self._sharpened(self.compare(images, self.candidates)).cpu()
        found: Array = functional.cross_entropy(logits, labels, reduction="none").double().numpy()
        return found

    def compare(self, images: Bytes, gallery: Bytes) -> Scores:
        """(N, G) cosines on the device."""
        return self._embed(images) @ self._embed(gallery).T

    def _sharpened(self, cosines: Scores) -> Scores:
        sharpness: Any = self.model.sharpness
        sharpened: Scores = cosines * sharpness.clamp(max=4.6).exp()
        return sharpened

    @torch.no_grad()
    def _embed(self, images: Bytes) -> torch.Tensor:
        self.model.eval()
        parts = []
        for part in images.split(_CHUNK):
            with self._autocast():
                parts.append(self.model(prepare(_shrunk(part), self.device)).float())
        return torch.cat(parts)
