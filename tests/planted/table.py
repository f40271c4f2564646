"""What an entry of the planted set says, and helpers that its functions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from harness.images import average, to_bytes

LINEAR = frozenset({"linear"})
NOISY = LINEAR | {"additive_noise"}


@dataclass(frozen=True)
class Context:
    """What a decoder knows beside the release: public knowledge, nothing of the originals.

    releases  all R releases, each (N, 3, H, W) uint8, the one to decode first
    public    (P, 3, H, W) uint8, the adversary's own images
    """

    releases: Sequence[torch.Tensor]
    public: torch.Tensor

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.public.shape[2:]
        return int(height), int(width)


@dataclass(frozen=True)
class Planted:
    """A defense with a planted fault, and the decoder that shows it.

    function   the defense: function(sources, weights, rng, **params)
    kind       of fault; fault: in words
    decode     decode(released (N, 3, H, W) uint8, context) -> (N, 3, H, W) or (N, M, 3, H, W) uint8, M at most k
    broken_by  how it is broken, which is also what `limit` is a limit of:
               dssim         mean dSSIM of the decoded images to their dominant source
               any           the same to the nearest source
               aligned       the same to the dominant source after the best pose, inversion and recolouring
               exposed       1 - share of originals that are decoded to within .05 in some release
               reidentified  1 - share of originals that the colour histogram of the release finds
    limit      largest value that counts as broken; because: why not .1
    weights    of the sources: one vector, or several of which each mixture draws one
    releases   R: how many are made
    protocol   "" (as the harness makes releases), "partners" (pairs never change), "order" (position i always holds
               original i), "late" (the second half of the releases is verbatim): faults of the client's code, which
               an adversary's rehearsals do not have
    auto       largest mean dSSIM after `auto`; None: that of the decoder + .1
    """

    function: Callable[..., Any]
    kind: str
    fault: str
    decode: Callable[[torch.Tensor, Context], torch.Tensor]
    broken_by: str = "dssim"
    limit: float = 0.1
    because: str = ""
    weights: Any = (1.0,)
    releases: int = 1
    traits: frozenset[str] = frozenset()
    params: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = ""
    auto: float | None = None

    @property
    def mixing(self) -> dict[str, Any]:
        weights = [list(each) if isinstance(each, tuple) else each for each in self.weights]
        return {"weights": weights, "pairing": "permutation", "intra_class": False, "label": "dominant"}


def on_bytes(change: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A defense that rounds the mixture to bytes by itself and changes them in NumPy, without gradients.

    change  change(bytes (N, 3, H, W) uint8, rng of NumPy) -> numbers in 0..255 of that shape
    """

    def defense(sources: Any, weights: Any, rng: Any) -> Any:
        mixed = to_bytes(average(sources, weights)).cpu().numpy()
        changed = np.asarray(change(mixed, numpy_rng(rng)), np.float32)
        return torch.from_numpy(changed / 255).to(sources.device)

    return defense


def numpy_rng(rng: Any) -> np.random.Generator:
    """A NumPy generator keyed with one draw of a torch generator."""
    return np.random.default_rng(torch.randint(2**62, (1,), generator=rng, device=rng.device).item())


def fixed(key: int) -> np.random.Generator:
    """The generator of a key that never changes and that everybody knows."""
    return np.random.default_rng([20200101, key])


def decoder(change: Callable[..., Any]) -> Callable[[torch.Tensor, Context], torch.Tensor]:
    """A decoder from change(bytes (N, 3, H, W) of NumPy) -> numbers in 0..255, clipped and rounded here."""

    def decode(released: torch.Tensor, context: Context) -> torch.Tensor:
        return as_bytes(change(released.cpu().numpy()))

    return decode


def as_bytes(values: Any) -> torch.Tensor:
    """Numbers in 0..255 -> uint8 tensor, clipped and rounded."""
    return torch.from_numpy(np.clip(np.rint(np.asarray(values, np.float64)), 0, 255).astype(np.uint8))


def as_released(released: torch.Tensor, context: Context) -> torch.Tensor:
    """The decoder of what is there to be seen."""
    return released


def per_image(change: Callable[..., Any], released: torch.Tensor) -> torch.Tensor:
    """Decode image by image: change((3, H, W) uint8) -> numbers in 0..255."""
    return as_bytes(np.stack([change(image) for image in released.cpu().numpy()]))


def roughness(images: Any) -> Any:
    """(...,) sum of squared differences of neighbouring pixels, of (..., H, W) images; not across the border."""
    images = np.asarray(images, np.float64)
    down, across = np.diff(images, axis=-2), np.diff(images, axis=-1)
    return (down**2).sum((-2, -1)) + (across**2).sum((-2, -1))
