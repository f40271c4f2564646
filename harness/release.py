"""Obfuscation: data + defense + plan -> Release, which leaves the client, and Secret, which stays.

A defense runs in canonical chunks, each with its own generator. Their size depends on the images and the kind of
device, never on a user's batch size or worker count: a seed gives the same bytes however it is run.

A defense is to behave alike whoever runs it. Its generators are keyed with the content of the whole set beside the
seed, so that those of the benchmark's seeds cannot be listed without the set, and it runs in a thread of its own, whose
call stack does not say for whom. What code in the same process can still find out is in docs/defenses.md.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.errors import HarnessError
from harness.images import all_finite, average, gather, round_and_check
from harness.mixing import plan, source_count
from harness.randomness import derive, numpy_generator, torch_generator
from harness.system.threads import in_thread
from harness.types import Array, Bytes, Images, Labels, Mixture, Plan, Release, Secret, Sources, Weights

_CHUNK_FLOATS = {"cpu": 2**19, "cuda": 2**26}  # 2 MiB of sources and their intermediates fit into a CPU's cache
_IN_MEMORY = 2**29  # bytes; a larger release goes to a scratch file
_EQUAL_SHARES = 1e-6
_LEVELS = 100  # public shares that a defense returns are multiples of a hundredth
_SAMPLED = 64  # bytes of each image that enter the key


@dataclass(frozen=True)
class Scheme:
    """A defense ready to run: its bound function and how it mixes. Holds no data, no seed, no plan."""

    name: str
    function: Callable[..., Images | Mixture]
    mixing: Mapping[str, Any]
    dissimilarity: Callable[[Images, Images], torch.Tensor] | None = None

    @property
    def sources(self) -> int:
        return source_count(self.mixing)


def obfuscate(
    scheme: Scheme,
    images: Array | Bytes,
    labels: Array,
    classes: int,
    key: bytes,
    device: str = "cpu",
) -> tuple[Release, Secret]:
    """One epoch's release of a set, and its secret.

    images   (N, 3, H, W) uint8: an array, a memory map, or a tensor that already lives on the device
    labels   (N,) int64 in [0, classes)
    key      all randomness is derived from it (see harness.randomness)
    returns  release.images on the device, or in a scratch memory map where they are many
    """
    calls = Calls(scheme, images, labels, key, device)
    pairs = calls.plan
    released = empty((len(pairs), *images.shape[1:]), device)
    shares = np.empty(pairs.weights.shape, np.float32)

    def keep(rows: slice, mixture: Mixture) -> None:
        shares[rows] = mixture.shares.cpu().numpy()

    calls.make(keep, rounded=released)
    dominant, public = _dominant(shares, pairs), public_shares(shares, pairs.weights)
    return (
        Release(released, _public_labels(scheme, labels[pairs.sources], public, dominant, classes)),
        Secret(pairs.sources, shares, dominant),
    )


class Calls:
    """The calls of a defense that make one release: its rows in chunks, each with its own random numbers.

    plan    who is mixed with whom
    slices  the rows of each call
    """

    def __init__(self, scheme: Scheme, images: Array | Bytes, labels: Array, key: bytes, device: str):
        self._scheme, self._images, self._device = scheme, images, device
        self._key = derive(key, "content", _content(images, labels))
        rng, distances = numpy_generator(derive(self._key, "plan")), _distances(scheme, images, device)
        self.plan = plan(labels, scheme.mixing, rng, distances)
        count = len(self.plan)
        step = chunk_size(scheme.sources, (count, *images.shape[1:]), device)
        self.slices = [slice(start, min(start + step, count)) for start in range(0, count, step)]

    def make(
        self,
        keep: Callable[[slice, Mixture], None],
        *,
        rounded: Bytes | None = None,
        order: Sequence[int] | None = None,
        changed: Callable[[slice, Sources], Sources] = lambda rows, stack: stack,
        draw: int | None = None,
    ) -> None:
        """Make the calls, the same at every time unless asked otherwise.

        keep     keep(rows, mixture) gets what the defense returns for these rows, before rounding
        rounded  uint8, as many images as the plan has rows: gets them rounded in the pass that checks them
        order    which calls, one after the other; None: all as they stand
        changed  changed(rows, stack) -> the sources that the defense gets instead
        draw     other random numbers, those of this draw
        """
        turns = range(len(self.slices)) if order is None else order
        again = () if draw is None else ("draw", draw)

        def chunks() -> Iterator[tuple[Sources, Weights, torch.Generator]]:
            for number in turns:
                rows = self.slices[number]
                weights = torch.from_numpy(self.plan.weights[rows]).to(self._device)
                rng = torch_generator(derive(self._key, "chunk", number, *again), self._device)
                yield changed(rows, gather(self._images, self.plan.sources[rows], self._device)), weights, rng

        def take(output: Images | Mixture) -> None:
            rows = unfilled.pop()
            weights = torch.from_numpy(self.plan.weights[rows]).to(self._device)
            levels = None if rounded is None else rounded[rows]
            keep(rows, _checked(output, weights, tuple(self._images.shape[1:]), levels))

        unfilled = [self.slices[number] for number in reversed(turns)]
        _call(self._scheme, chunks(), take)


def chunk_size(sources: int, shape: tuple[int, ...], device: str) -> int:
    """Mixtures per chunk: a function of k, H, W and the kind of device alone."""
    floats = sources * int(np.prod(shape[1:]))
    return max(1, _CHUNK_FLOATS["cuda" if device.startswith("cuda") else "cpu"] // floats)


def apply(scheme: Scheme, sources: torch.Tensor, weights: Weights, rng: torch.Generator) -> Images:
    """What the defense makes of any stacks, before rounding and unchecked, called as for a release. Gradients pass.

    sources  (N, k, 3, H, W) float32 in [0, 1]
    weights  (N, k)
    """
    outputs: list[Images | Mixture] = []
    _call(scheme, iter([(sources, weights, rng)]), outputs.append)
    return outputs[0].images if isinstance(outputs[0], Mixture) else outputs[0]


def _call(
    scheme: Scheme,
    chunks: Iterator[tuple[torch.Tensor, Weights, torch.Generator]],
    keep: Callable[[Images | Mixture], None],
) -> None:
    """Call the defense on every chunk and hand on what it returns, in a thread that does not say for whom."""
    gradients, function = torch.is_grad_enabled(), scheme.function

    def run() -> None:
        torch.get_num_threads()  # sets this thread's, which matrix products else take from the number of cores
        with torch.set_grad_enabled(gradients):  # a setting of each thread
            for chunk in chunks:
                keep(function(*chunk))

    try:
        in_thread(run)
    except HarnessError as error:
        raise HarnessError(f"{scheme.name}: {error}") from None


def _content(images: Array | Bytes, labels: Array) -> str:
    """Hash of the labels and of some bytes of every image: a defense, which sees a chunk, cannot compute it."""
    flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
    places = np.linspace(0, flat.shape[1] - 1, _SAMPLED).astype(np.int64)
    if isinstance(flat, torch.Tensor):
        sample = flat[:, torch.from_numpy(places).to(flat.device)].cpu().numpy()
    else:
        sample = flat[:, places]
    digest = hashlib.sha256(np.ascontiguousarray(sample).tobytes())
    digest.update(np.ascontiguousarray(labels, np.int64).tobytes())
    return digest.hexdigest()


def try_out(scheme: Scheme, size: tuple[int, int]) -> None:
    """Run the defense once on two grey images, so that a wrong knob is refused before anything starts."""
    images = torch.full((2, scheme.sources, 3, *size), 0.5)
    weights = torch.full((2, scheme.sources), 1 / scheme.sources)
    rng = torch_generator(derive(b"", "try"), "cpu")

    def check(output: Images | Mixture) -> None:
        _checked(output, weights, (3, *size))

    _call(scheme, iter([(images, weights, rng)]), check)


def _checked(
    output: Images | Mixture, weights: Weights, shape: tuple[int, ...], rounded: Bytes | None = None
) -> Mixture:
    """What a defense returned, as a mixture; HarnessError unless it is `len(weights)` images of this shape.

    rounded  gets the images as bytes
    """
    mixture = output if isinstance(output, Mixture) else Mixture(output, weights)
    _check_tensor("images", mixture.images, (len(weights), *shape))
    finite = all_finite(mixture.images) if rounded is None else round_and_check(mixture.images, rounded)
    _check_finite("images", finite)
    _check_tensor("shares", mixture.shares, tuple(weights.shape))
    shares = mixture.shares.numpy(force=True)
    _check_finite("shares", bool(np.isfinite(shares).all()))
    if shares.min(initial=0) < 0 or np.abs(shares.sum(1) - 1).max(initial=0) > 1e-3:
        raise HarnessError("shares of a mixture must be 0 or more and sum to 1; fix the defense")
    return mixture


def _check_tensor(what: str, tensor: Any, expected: tuple[int, ...]) -> None:
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != expected or tensor.dtype != torch.float32:
        got = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise HarnessError(f"returned {what} of {got}; a defense returns torch.float32 {expected}")


def _check_finite(what: str, finite: bool) -> None:
    if not finite:
        raise HarnessError(f"the release holds NaN or infinity in its {what}; fix the defense")


def _dominant(shares: Array, pairs: Plan) -> Array:
    """The column with the largest share; among equals a fair draw (the paper's random pick at lambda = 0.5)."""
    tied = shares >= shares.max(1, keepdims=True) - _EQUAL_SHARES
    pick = np.minimum((pairs.ties * tied.sum(1)).astype(np.int64), tied.sum(1) - 1)
    column: Array = (tied & (np.cumsum(tied, 1) == pick[:, None] + 1)).argmax(1)
    return column


def public_shares(shares: Array, weights: Array) -> Array:
    """The shares that public soft labels are made of: the plan's weights, or multiples of a hundredth.

    The 24 bits of a share could carry a picture's colours. The plan knows no picture, so its own weights stay as they
    are; what else a defense returns is rounded, and what is left over goes to the largest remainders.

    shares   (N, k) as a defense returned them
    weights  (N, k) of the plan
    """
    scaled = shares.astype(np.float64) / shares.sum(1, keepdims=True, dtype=np.float64) * _LEVELS
    levels = np.floor(scaled + _EQUAL_SHARES)
    left = np.rint(_LEVELS - levels.sum(1)).astype(np.int64)
    place = np.argsort(np.argsort(levels - scaled, 1, kind="stable"), 1, kind="stable")  # 0: the largest remainder
    rounded = ((levels + (place < left[:, None])) / _LEVELS).astype(np.float32)
    of_plan = (shares == weights).all(1, keepdims=True)
    public: Array = np.where(of_plan, shares, rounded)
    return public


def _public_labels(scheme: Scheme, labels: Array, shares: Array, dominant: Array, classes: int) -> Labels:
    if scheme.mixing["label"] == "dominant":
        return torch.from_numpy(labels[np.arange(len(labels)), dominant])
    soft = np.zeros((len(labels), classes), np.float32)
    for column in range(labels.shape[1]):
        np.add.at(soft, (np.arange(len(labels)), labels[:, column]), shares[:, column])
    return torch.from_numpy(soft)


def _distances(scheme: Scheme, images: Array | Bytes, device: str) -> Callable[[Array, Array], Array] | None:
    metric = scheme.dissimilarity
    if metric is None:
        return None

    def distances(sources: Array, weights: Array) -> Array:
        step = chunk_size(sources.shape[1], images.shape, device)
        parts = []
        for start in range(0, len(sources), step):
            stack = gather(images, sources[start : start + step], device)
            share = torch.from_numpy(weights[start : start + step]).to(stack)
            mixed = average(stack, share)
            parts.append(torch.stack([metric(mixed, stack[:, i]) for i in range(stack.shape[1])], 1).cpu().numpy())
        return np.concatenate(parts)

    return distances


def as_tensor(images: Array) -> Bytes:
    """A writable copy of a read-only array or memory map, as a tensor."""
    copy = empty(images.shape, "cpu")
    copy.numpy()[...] = images
    return copy


def empty(shape: tuple[int, ...], device: str, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    """An unfilled tensor, uint8 unless asked otherwise: on the device, or in scratch space where it is large and the
    device is the CPU."""
    size = int(np.prod(shape)) * dtype.itemsize
    if device != "cpu" or size <= _IN_MEMORY:
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(scratch((size,))).view(dtype).view(shape)


def scratch(shape: tuple[int, ...]) -> Array:
    """A uint8 array in an unnamed temporary file, which ends with its last reader."""
    size = int(np.prod(shape))
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error now, not a crash while writing
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        reason = error.strerror or error
        raise HarnessError(
            f"no scratch space for {size / 2**20:.0f} MiB: {reason}; set TMPDIR to a larger disk"
        ) from None
