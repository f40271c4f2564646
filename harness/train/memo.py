"""A memo of trained networks, so that several attacks share what they would train alike.

A network that is trained on rehearsals depends on the defense, the adversary's images and the settings of its training,
not on the attack that needs it. Its random generators are derived from exactly these, so that two attacks get the same
network whichever comes first. The last network of every name is kept.
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
_memo: dict[str, tuple[bytes, Any]] = {}
_CHUNK = 256


def memoised(
    observation: Observation,
    name: str,
    settings: object,
    learn: Callable[[bytes], _Learned],
    seen: Iterable[Tensor] = (),
    rng_key: bytes = b"",
) -> _Learned:
    """learn(key), or its last result where nothing that it depends on has changed.

    name      of the network; one result is kept for each
    settings  the attack's knobs that change the result
    learn     learn(key) -> the result; key is a hash of everything that the result depends on
    seen      images that it depends on beyond the defense and the adversary's own, which always count where granted
    rng_key   makes it depend on the attack's own random generator, where nothing else of it varies with the seed
    """
    digest = hashlib.sha256(rng_key)
    digest.update(repr((name, settings, observation.classes, observation.attributes)).encode())
    digest.update(f"{observation.device} {torch.get_num_threads()}".encode())
    for images in (*_granted(observation), *seen):
        _add(digest, images)
    key = digest.digest()
    if name not in _memo or _memo[name][0] != key:
        _memo.pop(name, None)  # frees the old one before the new one is trained
        _memo[name] = key, learn(key)
    result: _Learned = _memo[name][1]
    return result


def forget() -> None:
    """Empty the memo, to test whether an attack depends on its random generator alone."""
    _memo.clear()


def _granted(observation: Observation) -> list[Tensor]:
    """All that training may depend on: public images and labels, the known defense, and a rehearsal of it."""
    public = observation.public
    inputs = [public.images, torch.from_numpy(public.labels)]
    if public.attributes is not None:
        inputs.append(torch.from_numpy(public.attributes))
    if "defense" in observation.granted:
        known = observation.defense
        inputs.append(
            _as_bytes(repr((sorted(known.traits), sorted(known.params.items()), sorted(known.mixing.items()))))
        )
        with contextlib.suppress(HarnessError):  # too few to mix: the attack itself reports that
            release, _ = observation.rehearse(public.images, public.labels, 0)
            inputs += [release.images, release.labels]
    return inputs


def _as_bytes(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def _add(digest: Any, images: Tensor) -> None:
    digest.update(f"{images.dtype} {tuple(images.shape)}".encode())
    for start in range(0, len(images), _CHUNK):
        digest.update(images[start : start + _CHUNK].contiguous().cpu().numpy().tobytes())
