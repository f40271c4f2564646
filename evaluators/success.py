"""Success of an attack: classes and attributes recognised, and the distance of reconstructions to the originals.

Every function returns one number per scored release; means and intervals are made in harness.statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from harness.errors import NotConverged
from harness.types import Array, Images, Scores


def recognition(
    scores: Scores, source_classes: Array, dominant: Array, released: Array
) -> tuple[dict[str, Array], dict[str, float]]:
    """Hits of the highest-scored class (Raynal et al. 2020, section 4.4), and the hit rate of the best constant guess.

    scores          (n, K) class scores; a row with no positive score is "no answer" and never a hit
    source_classes  (n, k) classes of the sources of each release
    dominant        (n,) column of the dominant source
    released        (n,) public labels
    returns         top1 (dominant source's class), any_source, released: (n,) of 0 or 1; and the chance of each
    """
    if not torch.isfinite(scores).all():
        raise NotConverged("the attack's scores hold NaN or infinity")
    best = scores.max(1)
    answer = np.where((best.values > 0).cpu().numpy(), best.indices.cpu().numpy(), -1)
    truths = {
        "top1": source_classes[np.arange(len(answer)), dominant][:, None],
        "any_source": source_classes,
        "released": released[:, None],
    }
    hits = {name: (answer[:, None] == truth).any(1).astype(np.float64) for name, truth in truths.items()}
    constant = np.arange(scores.shape[1])[:, None, None]
    chance = {name: float((constant == truth).any(2).mean(1).max()) for name, truth in truths.items()}
    return hits, chance


def attribute(scores: Scores, truth: Array, labels: Array) -> tuple[dict[str, Array], dict[str, float]]:
    """Hits of the highest-scored attribute, and the hit rate without the release.

    scores   (n, A) scores of the attributes; a row with no positive score is "no answer" and never a hit
    truth    (n,) the dominant source's attribute
    labels   (n,) public labels
    returns  attribute: (n,) of 0 or 1; and two chances: `attribute`, the best guess from the public label alone
             (the label is public, so using it is no breach), and `constant`, the best single answer
    """
    if not torch.isfinite(scores).all():
        raise NotConverged("the attack's scores hold NaN or infinity")
    best = scores.max(1)
    answer = np.where((best.values > 0).cpu().numpy(), best.indices.cpu().numpy(), -1)
    commonest = [np.bincount(truth[labels == label]).max() for label in np.unique(labels)]
    chance = {"attribute": sum(commonest) / len(truth), "constant": np.bincount(truth).max() / len(truth)}
    hits = {"attribute": (answer == truth).astype(np.float64)}
    return hits, {name: float(share) for name, share in chance.items()}


def reconstruction(
    candidates: Images,
    originals: Images,
    metrics: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]],
) -> dict[str, Array]:
    """Distance of every candidate to every original of its row, by every metric.

    candidates  (n, M, 3, H, W) in [0, 1]
    originals   (n, C, 3, H, W) in [0, 1], on the same device
    returns     (n, M, C) float64 for each metric
    """
    return {name: distances(candidates, originals, metric).double().cpu().numpy() for name, metric in metrics.items()}


def distances(
    guesses: torch.Tensor, truth: torch.Tensor, metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """(n, M, ...) images against (n, k, ...) originals -> (n, M, k)."""
    n, m, *shape = guesses.shape
    k = truth.shape[1]
    left = guesses.unsqueeze(2).expand(n, m, k, *shape).reshape(-1, *shape)
    right = truth.unsqueeze(1).expand(n, m, k, *shape).reshape(-1, *shape)
    return metric(left, right).view(n, m, k)
