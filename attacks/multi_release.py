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
    """Candidates (targets, k, 3, H, W) from the releases of all epochs and their pairing.

    solver   attacks.linking.solve.solve (regression) or pool (mean)
    network  train_epochs, width and batch of the network
    """
    restoration = learn_restoration(observation, solver, **network)
    originals = 1 + max(int(pairing.sources.max()) for pairing in pairings)
    solution = solver(observation, observation.releases, pairings, originals)
    candidates = pick(observation, pairings[0], restoration.of(solution))
    facts = {
        "originals": originals,
        "unexplained": float(np.mean([(pairing.sources < 0).any(1).mean() for pairing in pairings])),
        "restored": restoration.restorer is not None,
    }
    return Guess(candidates=candidates, report={**facts, **restoration.report})


def pick(observation: Observation, pairing: Pairing, solved: Bytes) -> Bytes:
    """The solved originals of every target; an unknown one is the release less the known ones.

    solved   (K, 3, H, W) uint8
    returns  (targets, k, 3, H, W) uint8
    """
    rows = observation.targets
    sources, shares = pairing.sources[rows], pairing.shares[rows]
    candidates = empty((*sources.shape, *solved.shape[1:]), "cpu")
    for start in range(0, len(rows), _CHUNK):
        some = slice(start, start + _CHUNK)
        candidates[some] = _with_rest(observation.images[rows[some]], sources[some], shares[some], solved)
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
