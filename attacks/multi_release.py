"""Reconstruction from the releases of several epochs: link, regress, restore.

Every epoch mixes the same originals anew, and the service sees them all. Linking finds who was mixed with whom
(attacks.linking.link), regression solves for the originals (attacks.linking.solve), and a network trained on rehearsals
undoes noise, blur, cells and the order in blocks (attacks.restoration.linked).
Reference: Carlini et al. 2021, "Is private learning possible with instance encoding?" Differences to the original: no
sign flips, as these defenses have none; the last step is a network instead of descent on a nonlinear model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.images import to_bytes, to_images
from harness.observation import Observation, Pairing
from harness.plugins.attacks.linking.answered import answered_images
from harness.plugins.attacks.linking.link import link
from harness.plugins.attacks.linking.solve import pool, solve
from harness.plugins.attacks.restoration.linked import Solver, learn_restoration
from harness.release import empty
from harness.types import Array, Bytes, Generator, Guess

_CHUNK = 64


def multi_release(observation: Observation, rng: Generator, *, train_epochs: int, width: int, batch: int) -> Guess:
    """The originals of every target, from T epochs whose pairing is not known. With T = 1 it is `look`, and reports so.

    train_epochs, width, batch  of the network: as for `inversion`
    """
    if len(observation.releases) == 1:
        return Guess(candidates=observation.images[observation.targets][:, None], report={"is": "look"})
    return reconstruct(observation, link(observation), solve, train_epochs=train_epochs, width=width, batch=batch)


def oracle(observation: Observation, rng: Generator, *, train_epochs: int, width: int, batch: int) -> Guess:
    """The same from the true pairing and shares: an upper bound for any linking. A control, never ranked.

    train_epochs, width, batch  as for `multi_release`
    """
    return reconstruct(observation, observation.plans, solve, train_epochs=train_epochs, width=width, batch=batch)


def inversion_linked(observation: Observation, rng: Generator, *, train_epochs: int, width: int, batch: int) -> Guess:
    """The same with the releases of a track averaged instead of regression: also for defenses that are not linear.

    train_epochs, width, batch  as for `multi_release`
    """
    return reconstruct(observation, link(observation), pool, train_epochs=train_epochs, width=width, batch=batch)


def reconstruct(observation: Observation, pairings: Sequence[Pairing], solver: Solver, **network: int) -> Guess:
    """Candidates (P, k, 3, H, W) from the releases of all epochs and their pairing.

    They answer the targets of release 0, and a later image for every original that may dominate none of these.

    solver   attacks.linking.solve.solve (regression) or pool (mean)
    network  train_epochs, width and batch of the network
    """
    restoration = learn_restoration(observation, solver, **network)
    originals = 1 + max(int(pairing.sources.max()) for pairing in pairings)
    solution = solver(observation, observation.releases, pairings, originals)
    images = answered_images(observation, pairings, originals)
    candidates = pick(observation, pairings, images, restoration.of(solution))
    facts = {
        "originals": originals,
        "unexplained": float(np.mean([(pairing.sources < 0).any(1).mean() for pairing in pairings])),
        "restored": restoration.restorer is not None,
    }
    named = images if len(images) > len(observation.targets) else None
    return Guess(candidates=candidates, releases=named, report={**facts, **restoration.report})


def pick(observation: Observation, pairings: Sequence[Pairing], images: Array, solved: Bytes) -> Bytes:
    """The solved originals of some released images; an unknown one is the image less the known ones.

    images   (P, 2) integers: release and image
    solved   (K, 3, H, W) uint8
    returns  (P, k, 3, H, W) uint8
    """
    candidates = empty((len(images), pairings[0].sources.shape[1], *solved.shape[1:]), "cpu")
    for epoch in np.unique(images[:, 0]):
        places = np.flatnonzero(images[:, 0] == epoch)
        pairing, released = pairings[epoch], observation.releases[epoch].images
        for start in range(0, len(places), _CHUNK):
            some = places[start : start + _CHUNK]
            rows = images[some, 1]
            released_rows = released[torch.from_numpy(rows)]
            candidates[some] = _with_rest(released_rows, pairing.sources[rows], pairing.shares[rows], solved)
    return candidates


def _with_rest(released: Bytes, sources: Array, shares: Array, solved: Bytes) -> Bytes:
    known = torch.from_numpy(sources >= 0)
    candidates = solved[torch.from_numpy(np.maximum(sources, 0)).to(solved.device)].cpu()
    if bool(known.all()):
        return candidates
    weights = torch.from_numpy(shares)
    explained = torch.einsum("nk,nkchw->nchw", weights * known, to_images(candidates))
    share = 1 - (weights * known).sum(1)
    rest = (to_images(released.cpu()) - explained) / share.clamp(min=0.05).view(-1, 1, 1, 1)
    return torch.where(known[:, :, None, None, None], candidates, to_bytes(rest)[:, None])
