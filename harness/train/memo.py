"""What several attacks would learn alike is learned once.

A network that is trained on rehearsals depends on the defense, the adversary's images and the settings of its training,
not on who asks. Its dice descend from exactly these, so that two attacks get the same network whichever comes first;
the last one of every name is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.observation import Observation

_Learned = TypeVar("_Learned")
_last: dict[str, tuple[bytes, Any]] = {}
_CHUNK = 256


def memoised(
    observation: Observation,
    name: str,
    settings: object,
    learn: Callable[[bytes], _Learned],
    seen: Iterable[Tensor] = (),
    rng_key: bytes = b"",
) -> _Learned:
    """learn(key), or what it returned the last time from the same.

    settings  whatever of the attack's knobs changes what is learned
    seen      images that it depends on beyond the defense and the adversary's own, which always count where granted
    dice      makes it depend on the attack's own dice, where nothing else of it varies with the seed
    """
    digest = hashlib.sha256(rng_key)
    digest.update(repr((name, settings, observation.classes, observation.attributes)).encode())
    digest.update(f"{observation.device} {torch.get_num_threads()}".encode())
    for images in (*_granted(observation), *seen):
        _add(digest, images)
    key = digest.digest()
    if name not in _last or _last[name][0] != key:
        _last.pop(name, None)  # the old one goes before the new one is made
        _last[name] = key, learn(key)
    found: _Learned = _last[name][1]
    return found


def forget() -> None:
    """Learn everything anew: for whoever asks whether an attack is a function of its dice."""
    _last.clear()


def _granted(observation: Observation) -> list[Tensor]:
    """All that may be learned from: its images and labels, what is known of the defense, and a rehearsal of it."""
    public = observation.public
    held = [public.images, torch.from_numpy(public.labels)]
    if public.attributes is not None:
        held.append(torch.from_numpy(public.attributes))
    if "defense" in observation.granted:
        known = observation.defense
        held.append(_as_bytes(repr((sorted(known.traits), sorted(known.params.items()), sorted(known.mixing.items())))))
        with contextlib.suppress(HarnessError):  # too few to mix: whoever learns from them says so
            release, _ = observation.rehearse(public.images, public.labels, 0)
            held += [release.images, release.labels]
    return held


def _as_bytes(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def _add(digest: Any, images: Tensor) -> None:
    digest.update(f"{images.dtype} {tuple(images.shape)}".encode())
    for start in range(0, len(images), _CHUNK):
        digest.update(images[start : start + _CHUNK].contiguous().cpu().numpy().tobytes())
