"""How close an adversary comes to each original at most, over everything that was released or answered.

Per original: the smallest distance of every image that answers a release of it, and, beside it, the same minimum of the
images that answer another original of the same class (the null): as many tries, nothing seen of it. The null is of the
very original, because a plain one (sky, a wall) is near anything grey: compared with what its answers have to others,
it would count as exposed whatever is released. An original counts where it dominates a release; because a defense says
itself which source dominates, the same is measured over every release that holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from harness.client.client import Client
from harness.images import to_images
from harness.registry import bind
from harness.run.answers import Answers
from harness.scores import INDEXES, judged, worst_metric
from harness.statistics import known_mean, summarise
from harness.types import Array, Dataset

DERANGEMENTS = 5
_STACK_BYTES = {"cpu": 2**22, "cuda": 2**26}  # of one side of image pairs: on a CPU what its cache holds, per thread


def pairs_at_a_time(shape: tuple[int, ...], device: str) -> int:
    """How many pairs of images of this shape are compared in one stack: as many as stay in the cache, at least one."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    threads = torch.get_num_threads() if kind == "cpu" else 1
    return max(1, _STACK_BYTES[kind] * threads // (4 * int(np.prod(shape))))


def others_of(private: Dataset, is_target: Array) -> Array:
    """(N, 5) for every original five others of its class, as far as there are so many: no column leaves one in place.

    The targets of a class stand in a circle in the order of a hash of their content, and so do its other images: only
    what answers targets is measured. Column t is t + 1 steps further. A circle of one image is compared with the next
    image of the whole set.
    """
    order = np.array(
        sorted(range(len(private)), key=lambda row: hashlib.sha256(b"null " + bytes(private.hashes[row])).digest())
    )
    others = np.empty((len(private), DERANGEMENTS), np.int64)
    place = np.empty(len(private), np.int64)
    groups = 2 * private.labels + is_target
    names, sizes = np.unique(groups, return_counts=True)
    single = np.isin(groups, names[sizes == 1])
    groups = np.where(single, is_target - 2, groups)
    for group in np.unique(groups):
        own = order[groups[order] == group]
        circle = own if len(own) > 1 else order
        place[circle] = np.arange(len(circle))
        steps = 1 + np.arange(DERANGEMENTS) % max(1, len(circle) - 1)
        others[own] = circle[(place[own][:, None] + steps) % len(circle)]
    return others


class Minima:
    """The smallest distances per original, and their null, gathered from any number of answers."""

    def __init__(self, client: Client):
        self._client, self._others = client, others_of(client.splits.private, client.is_target)
        self._metrics = {name: bind(client.registry.get("metrics", worst_metric(name))) for name in judged()}
        self._raw = {name: bind(client.registry.get("metrics", name)) for name in judged()}
        self._identity = client.gallery.of_private
        n = len(client.splits.private)
        self._worst = {name: np.full(n, np.inf) for name in judged()}
        self._worst_any = {name: np.full(n, np.inf) for name in judged()}
        self._null = {name: np.full((n, DERANGEMENTS), np.inf) for name in judged()}
        self._null_any = {name: np.full((n, DERANGEMENTS), np.inf) for name in judged()}
        self._smallest = {name: np.full(n, np.inf) for name in judged()}
        self._smallest_any = {name: np.full(n, np.inf) for name in judged()}

    def add(self, answers: Answers) -> dict[str, Array]:
        """Take answers into the minima; returns by judged distance the raw (P, M, k), the dominant source first."""
        parts: dict[str, list[Array]] = {name: [] for name in judged()}
        for rows in self._chunks(answers):
            sources, dominant = answers.sources[rows], answers.dominant[rows]
            k = sources.shape[1]
            first = sources[np.arange(len(sources)), dominant]
            rest = sources[np.arange(k) != dominant[:, None]].reshape(len(sources), k - 1)
            mixed = np.concatenate([first[:, None], rest], 1)
            unseen = np.concatenate([self._others[first], self._others[rest].reshape(len(rest), -1)], 1)
            device = self._client.device
            images = to_images(answers.images[rows].to(device))
            originals = to_images(self._client.originals(np.concatenate([mixed, unseen], 1)).to(device))
            measured = self._measure(images, originals, k)
            # Mixed into this very release, or a near copy of what is: no stranger.
            seen_too = (self._identity[unseen][:, :, None] == self._identity[sources][:, None, :]).any(2)
            for name, (raw, grid) in measured.items():
                parts[name].append(raw)
                nearest = grid.min(1)
                null = np.where(seen_too, np.inf, nearest[:, k:])
                _lower(self._worst[name], first, nearest[:, 0])
                _lower(self._worst_any[name], mixed, nearest[:, :k])
                for column in range(DERANGEMENTS):
                    every = slice(column, None, DERANGEMENTS)
                    _lower(self._null[name][:, column], unseen[:, column], null[:, column])
                    _lower(self._null_any[name][:, column], unseen[:, every], null[:, every])
                _lower(self._smallest[name], first, raw.min(1)[:, 0])
                _lower(self._smallest_any[name], mixed, raw.min(1))
        return {name: np.concatenate(some) if some else np.empty(0) for name, some in parts.items()}

    def _measure(self, images: torch.Tensor, originals: torch.Tensor, k: int) -> dict[str, tuple[Array, Array]]:
        """Per judged distance: the raw (n, M, k) to the sources, and (n, M, C) of the worst case to every original."""
        measure = bind(self._client.registry.get("evaluators", "reconstruction"))
        worst = measure(images, originals, self._metrics)
        plain = {name: metric for name, metric in self._raw.items() if worst_metric(name) != name}
        raw = measure(images, originals[:, :k], plain) if plain else {}
        return {name: (raw.get(name, grid[:, :, :k]), grid) for name, grid in worst.items()}

    def _chunks(self, answers: Answers) -> Iterator[slice]:
        if not len(answers):
            return
        pairs = answers.images.shape[1] * answers.sources.shape[1] * (1 + DERANGEMENTS)
        step = max(1, pairs_at_a_time(answers.images.shape[2:], self._client.device) // pairs)
        yield from (slice(start, start + step) for start in range(0, len(answers), step))

    def arrays(self, *, raw: bool = False) -> dict[str, Array]:
        """The arrays of a record, of the targets alone, with `originals` and `held`, the private rows that they are of.

        raw  also the minima of the distances as they are, `dssim_all` for example: of releases, not of attacks
        """
        first = judged()[0]
        originals = self._targets(self._worst[first])
        held = self._targets(self._worst_any[first])
        arrays: dict[str, Array] = {"originals": originals, "held": held}
        for name in judged():
            null, null_any = self._null[name][originals], self._null_any[name][held]
            arrays |= {
                f"worst_{name}": self._worst[name][originals],
                f"null_{name}": np.where(np.isfinite(null), null, np.nan),
                f"worst_any_{name}": self._worst_any[name][held],
                f"null_any_{name}": np.where(np.isfinite(null_any), null_any, np.nan),
            }
            if raw:
                arrays[f"{name}_all"] = self._smallest[name][originals]
                arrays[f"any_{name}_all"] = self._smallest_any[name][held]
        return arrays

    @property
    def nearest(self) -> Array:
        """(N,) the least distance that ranks, to whichever original; infinite where nothing answered it."""
        return self._worst_any[judged()[0]]

    def _targets(self, values: Array) -> Array:
        found: Array = np.flatnonzero(np.isfinite(values) & self._client.is_target)
        return found


def summaries(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The scores of these arrays; an original's null is the mean over its derangements."""
    scores = {}
    for name, values in arrays.items():
        if name in INDEXES:
            continue
        means = known_mean(values) if values.ndim == 2 else values
        scores[name] = summarise(means[np.isfinite(means)], proportion=False)
    return scores


def _lower(minima: Array, rows: Array, values: Array) -> None:
    np.minimum.at(minima, rows, values)
