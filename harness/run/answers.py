"""Which released images a guess answers, and what those mix; wrong guesses are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import torch

from harness.client.client import Client
from harness.errors import HarnessError
from harness.registry import Entry
from harness.types import Array, Bytes, Guess, Release, Secret

Epoch: TypeAlias = "tuple[Release, Secret]"


@dataclass(frozen=True)
class Answers:
    """Images that answer releases: the releases as they are (M is 1), or an attack's candidates.

    images    (P, M, 3, H, W) uint8
    sources   (P, k) private rows that the release of each row mixes
    dominant  (P,) column of the source that gave the label
    """

    images: Bytes
    sources: Array
    dominant: Array

    def __len__(self) -> int:
        return len(self.dominant)

    @property
    def dominant_rows(self) -> Array:
        """(P,) the private row that dominates what each row answers."""
        rows: Array = self.sources[np.arange(len(self.sources)), self.dominant]
        return rows

    def take(self, rows: Array) -> Answers:
        return Answers(self.images[torch.from_numpy(rows)], self.sources[rows], self.dominant[rows])

    def not_in(self, seen: set[tuple[bytes, bytes]]) -> Answers:
        """Those whose images have not answered the same sources before; `seen` takes them in."""
        images, kept = self.images.cpu().numpy(), []
        for row in range(len(self)):
            shown = self.sources[row].tobytes() + bytes([self.dominant[row]]), blake2b(images[row].tobytes()).digest()
            if shown not in seen:
                seen.add(shown)
                kept.append(row)
        return self if len(kept) == len(self) else self.take(np.array(kept, np.int64))

    def of_targets(self, client: Client) -> Answers:
        """Those that answer a release of some target."""
        rows = np.flatnonzero(client.is_target[self.sources].any(1))
        return self if len(rows) == len(self) else self.take(rows)


def of_release(client: Client, release: Release, secret: Secret) -> Answers:
    """The release itself, as if it were an attack's only candidate."""
    return Answers(release.images[:, None], secret.sources, secret.dominant).of_targets(client)


def of_guess(
    client: Client,
    attack: Entry,
    guess: Guess,
    release: Release,
    secret: Secret,
    later: Callable[[int], Epoch] | None,
) -> Answers:
    """What the rows of a guess answer: the scored rows of release 0, or the releases that the guess names.

    later  later(r) -> release r and its secret; None: there is release 0 alone
    """
    if guess.releases is None:
        rows, _ = client.scored(secret)
        candidates = rows_of(guess.candidates, rows, len(release), attack)
        answers = Answers(candidates, secret.sources[rows], secret.dominant[rows])
    else:
        answers = _of_named(attack, guess, secret, later, client.releases)
    _check_candidates(answers.images, secret.sources.shape[1], tuple(release.images.shape[1:]), attack)
    return answers.of_targets(client)


def _of_named(
    attack: Entry, guess: Guess, secret: Secret, later: Callable[[int], Epoch] | None, releases: int
) -> Answers:
    named = np.asarray(guess.releases)
    if named.ndim != 2 or named.shape[1] != 2 or not np.issubdtype(named.dtype, np.integer):
        raise HarnessError(
            f"{attack.name}: releases are {named.dtype} {named.shape}; give (P, 2) integers: which release, which image"
        )
    candidates = 0 if guess.candidates is None else len(guess.candidates)
    if not len(named) or len(named) != candidates:
        raise HarnessError(f"{attack.name}: names {len(named)} releases for {candidates} rows; name one for each row")
    if len(np.unique(named, axis=0)) < len(named):
        raise HarnessError(f"{attack.name}: an image is answered by several rows; put the candidates in one row")
    sources = np.empty((len(named), secret.sources.shape[1]), np.int64)
    dominant = np.empty(len(named), np.int64)
    count = releases if later and attack.sees_all_releases else 1
    for number in np.unique(named[:, 0]).tolist():
        if not 0 <= number < count:
            seen = "is granted" if count < releases else "there are"
            raise HarnessError(f"{attack.name}: answers release {number}; {seen} {count}, and the first is 0")
        its = secret if number == 0 or later is None else later(number)[1]
        rows = np.flatnonzero(named[:, 0] == number)
        places = named[rows, 1]
        wrong = places[(places < 0) | (places >= len(its.dominant))]
        if len(wrong):
            raise HarnessError(
                f"{attack.name}: answers image {wrong[0]} of release {number}, which has {len(its.dominant)}"
            )
        sources[rows], dominant[rows] = its.sources[places], its.dominant[places]
    return Answers(as_tensor(guess.candidates), sources, dominant)


def rows_of(guessed: Any, rows: Array, releases: int, attack: Entry) -> Any:
    """The scored rows of a guess that has a row per target, or one per release."""
    if guessed is None:
        raise HarnessError(f"{attack.name}: an attack of kind {attack.kind} returned a guess of another kind")
    tensor = as_tensor(guessed)
    if len(tensor) == len(rows):
        return tensor
    if len(tensor) == releases:
        return tensor[torch.from_numpy(rows)]
    raise HarnessError(f"{attack.name}: a guess of {len(tensor)} rows for {len(rows)} targets of {releases} releases")


def as_tensor(guessed: Any) -> torch.Tensor:
    """A guess as a tensor; an array is copied only where it cannot be written to."""
    return guessed if isinstance(guessed, torch.Tensor) else torch.from_numpy(np.require(guessed, requirements="W"))


def _check_candidates(candidates: Bytes, sources: int, shape: tuple[int, ...], attack: Entry) -> None:
    if candidates.ndim != 5 or candidates.dtype != torch.uint8 or tuple(candidates.shape[2:]) != shape:
        raise HarnessError(
            f"{attack.name}: candidates are {candidates.dtype} {tuple(candidates.shape)}; "
            f"expected torch.uint8 (N, M, {', '.join(map(str, shape))})"
        )
    if not 1 <= candidates.shape[1] <= sources:
        raise HarnessError(
            f"{attack.name}: {candidates.shape[1]} candidates for releases of {sources} sources; "
            "best of many guesses is an oracle, offer at most as many"
        )
