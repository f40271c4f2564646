"""Recognition of a second attribute that the public label does not contain, by a network trained on rehearsals.

Reference: Raynal et al. 2020, section 2: a breach is anything learned beyond the label. The network is that of `cnn`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from harness.errors import Inapplicable
from harness.observation import Observation
from harness.plugins.attacks.common.classifier import Classifier, train_on_rehearsals
from harness.plugins.attacks.linking.link import average_over_tracks, tracks_of_targets
from harness.train.memo import memoised
from harness.types import Array, Generator, Guess, Labels, Release, Scores, Secret


def attribute(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """Scores of the dominant source's attribute: (n, A) over `observation.attributes`.

    arch, train_epochs  as for `cnn`
    """
    classifier, report = _trained(observation, arch, train_epochs)
    scores = classifier.predict(observation.images[observation.targets])
    return Guess(scores=scores * attribute_shares(observation, labels_of_targets(observation)), report=report)


def attribute_linked(observation: Observation, rng: Generator, *, arch: str, train_epochs: int) -> Guess:
    """The same network on every release that linking finds the same original in; log scores averaged over a track.

    arch, train_epochs  as for `cnn`
    """
    _attributes(observation)
    tracks = tracks_of_targets(observation)
    classifier, report = _trained(observation, arch, train_epochs)
    scores = average_over_tracks(tracks, observation.releases, classifier.predict)
    return Guess(scores=scores * attribute_shares(observation, labels_of_targets(observation)), report=report)


def _trained(observation: Observation, arch: str, train_epochs: int) -> tuple[Classifier, dict[str, Any]]:
    """A network that reads the dominant source's attribute from a release, and the facts of its training."""
    attributes = _attributes(observation)

    def answer(release: Release, secret: Secret, rows: Array) -> Labels:
        return torch.from_numpy(attributes[rows[secret.dominant_rows]])

    def train(key: bytes) -> tuple[Classifier, dict[str, Any]]:
        return train_on_rehearsals(observation, key, answer, len(observation.attributes), arch, train_epochs)

    return memoised(observation, "attribute", (arch, train_epochs), train)


def _attributes(observation: Observation) -> Array:
    attributes = observation.public.attributes
    if attributes is None:
        raise Inapplicable("the data set has no second attribute; use one with a coarse label, such as cifar10_coarse")
    return attributes


def labels_of_targets(observation: Observation) -> Labels:
    """The public labels of the targets, on the CPU."""
    return observation.labels[torch.from_numpy(observation.targets)].cpu()


def attribute_shares(observation: Observation, labels: Labels) -> Scores:
    """(n, A) for each public label the share of its classes in which an attribute occurs among the public images.

    labels  (n,) classes or (n, K) shares
    """
    public, classes = observation.public, len(observation.classes)
    occurs = torch.zeros(classes, len(observation.attributes))
    occurs[torch.from_numpy(public.labels), torch.from_numpy(public.attributes)] = 1
    shares = labels.float() if labels.ndim == 2 else functional.one_hot(labels, classes).float()
    return shares @ occurs
