"""Independent component analysis of releases of several epochs that mix the same two sources.

FastICA needs as many mixtures of the same sources as there are sources, which one epoch does not give; it applies where
pairs repeat (small classes, partners that never change). References: Hyvarinen and Oja 2000; Raynal et al. 2020,
section 4.4 (unmixing). Difference to the original: it runs on image gradients, and mixing shares fix sign and scale.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from harness.errors import HarnessError, Inapplicable
from harness.images import to_bytes
from harness.observation import Observation
from harness.plugins.attacks.linking.repeated_pairs import check_mixture, mixtures, published_shares, shared_pairs
from harness.randomness import key_from, numpy_generator
from harness.types import Array, Generator, Guess

_SLACK = 0.15  # how far a share may lie outside [0, 1] before the separation is rejected


def fastica(observation: Observation, rng: Generator, *, rounds: int, mixtures_used: int) -> Guess:
    """Two candidates a release: its sources where its pair repeats, else the release itself, twice.

    rounds         of FastICA, at most
    mixtures_used  of one pair, at most; 2 or more
    """
    if rounds < 1 or mixtures_used < 2:
        raise HarnessError(f"fastica: rounds {rounds}, mixtures_used {mixtures_used}; use 1 or more, and 2 or more")
    check_mixture(observation)
    releases, targets = observation.releases, observation.targets
    if len(releases) < 2:
        raise Inapplicable(
            "one mixture cannot be separated: FastICA needs as many mixtures of the same sources as there are "
            "sources; use --epochs 2 or more"
        )
    shares = published_shares(observation.defense.mixing)
    if not any(abs(share - other) > 0.05 for share in shares for other in (*shares, *(1 - own for own in shares))):
        raise Inapplicable("with these weights two mixtures of one pair are the same mixture, or their pairs unknown")
    pairs = shared_pairs(releases, targets, shares)
    repeated = sum(map(bool, pairs))
    if not repeated:
        raise Inapplicable(
            f"no two of the {len(releases)} releases mix the same two sources: FastICA needs as many mixtures of "
            "the same sources as there are sources"
        )
    seeds = numpy_generator(key_from(rng))
    candidates = observation.images[torch.from_numpy(targets)][:, None].repeat(1, 2, 1, 1, 1).cpu()
    separated = 0
    for row, matches in enumerate(pairs):
        if not matches:
            continue
        first, others = mixtures(releases, int(targets[row]), matches[: mixtures_used - 1])
        stack = torch.cat([first[None], others]).cpu().numpy().astype(np.float64)
        sources = separate(stack, rounds, int(seeds.integers(2**31)))
        if sources is not None:
            candidates[row] = to_bytes(torch.from_numpy(sources))
            separated += 1
    return Guess(
        candidates, report={"repeated": repeated, "separated": separated, "fallen_back": len(pairs) - separated}
    )


def separate(stack: Array, rounds: int, seed: int) -> Array | None:
    """(2, 3, H, W) the sources of (m, 3, H, W) mixtures, the larger share of the first mixture first; or None.

    The unmixing is estimated on gradients, which are sparse and independent in photographs. The sign and scale that ICA
    leaves open follow from shares that sum to 1. None where the estimated shares lie outside [0, 1].
    """
    across, down = np.diff(stack, axis=3), np.diff(stack, axis=2)
    samples = np.concatenate([part.reshape(len(stack), -1) for part in (across, down)], 1).T
    analysis = FastICA(2, whiten="unit-variance", max_iter=rounds, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the shares show whether it worked
        analysis.fit(samples - samples.mean(0))
    mixing = analysis.mixing_
    shares = mixing * np.linalg.lstsq(mixing, np.ones(len(stack)), rcond=None)[0]
    if not np.isfinite(shares).all() or shares.min() < -_SLACK or shares.max() > 1 + _SLACK:
        return None
    shares = shares[:, np.argsort(-shares[0])]
    sources: Array = np.einsum("sm,mchw->schw", np.linalg.pinv(shares), stack)
    return sources
